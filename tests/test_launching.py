"""The supervisors of a run on several hosts, with toy workers: every way in which one can fail."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import psutil
import pytest

from conftest import fails, start
from rezoo.cli.main import cli as group
from rezoo.errors import Interrupted, LostHostError, WorkerError
from rezoo.launching.endings import end_of
from rezoo.launching.messages import Clocks, free_port
from rezoo.launching.supervisor import launch, supervise
from rezoo.utils.hosts import Hosts, Worker
from rezoo.utils.memory import oom_kills
from toy_worker import STOPPED

pytestmark = pytest.mark.skipif(os.name != "posix", reason="supervisors need POSIX")

CLOCKS = Clocks(
    start=60, silence=10, stopped=0.2, doubt=0.4, patience=0.1, saving=60, meeting=0.5, notice=60,
    tick=0.02,
)  # fmt: skip
TOY = (sys.executable, str(Path(__file__).with_name("toy_worker.py")))
SUPERVISOR = """
import json, sys
from rezoo.errors import RezooError
from rezoo.launching.messages import Clocks
from rezoo.launching.supervisor import supervise
from rezoo.utils.hosts import Hosts
hosts, restarts, clocks, *command = sys.argv[1:]
say = lambda line: print(line, file=sys.stderr, flush=True)
try:
    supervise(Hosts.parse(hosts), command[2:], int(restarts), say=say, program=command[:2],
              clocks=Clocks(**json.loads(clocks)))
except RezooError as error:
    say(f"Error: {error}\\nHint: {error.hint}")
    sys.exit(error.exit_code)
finally:
    assert not {"numpy", "keras", "rich", "click"} & set(sys.modules)
"""


class Run:
    """A plan for toy workers, and where they say that they have begun."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, []

    def here(self, plan, count=2, restarts=0, **clocks):
        """Supervise all hosts in this process."""
        clocks = dataclasses.replace(CLOCKS, **clocks)
        arguments = [json.dumps(plan), str(self.folder)]
        options = {"program": TOY, "clocks": clocks, "say": self.said.append}
        launch(count, arguments, restarts, **options)

    def fails(self, plan, **options):
        """Supervise all hosts in this process; return the error."""
        begin = time.monotonic()
        with pytest.raises((WorkerError, Interrupted)) as caught:
            self.here(plan, **options)
        self.took = time.monotonic() - begin
        assert self.alive() == []
        return caught.value

    def begun(self, name):
        """Wait for a worker, `host-hosts` or `host-hosts-again`; return its process id."""
        end = time.monotonic() + 20
        while not (self.folder / name).exists():
            assert time.monotonic() < end, f"worker {name} did not begin: {self.started()}"
            time.sleep(0.01)
        return int((self.folder / name).read_text().split()[0])

    def worker(self, name):
        """Wait for a worker; return its process."""
        return psutil.Process(self.begun(name))

    def started(self):
        return sorted(p.name for p in self.folder.iterdir() if not p.name.endswith(".new"))

    def alive(self):
        """Return the workers that have not ended."""
        found = [int((self.folder / name).read_text().split()[0]) for name in self.started()]
        return [pid for pid in found if psutil.pid_exists(pid)]

    @contextlib.contextmanager
    def soon(self, act, *names):
        """Do something inside the block when workers have begun."""

        def wait():
            pids = [self.begun(name) for name in names]
            act(pids[0])

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "workers"
    folder.mkdir()
    return Run(folder)


@pytest.fixture
def supervisors(run):
    """Start a supervisor in a process of its own; all are killed at the end."""
    found = []

    def start(place, plan, restarts=0, prefix=(), stderr=subprocess.PIPE, **clocks):
        values = json.dumps({**vars(CLOCKS), **clocks})
        command = [sys.executable, "-c", SUPERVISOR, place, str(restarts), values, *TOY]
        found.append(
            subprocess.Popen(
                [*prefix, *command, json.dumps(plan), str(run.folder)],
                env={**os.environ, "TMPDIR": str(run.folder.parent)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        )
        return found[-1]

    yield start
    for process in found:
        process.kill()
        process.communicate()


def ended(process, seconds=20):
    """Return exit code, stdout and stderr of a supervisor."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def gone(process, seconds=3):
    """Wait until a process is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process.pid).wait(seconds)
    return True


def kill(number):
    """Send a signal to a process."""
    return lambda pid: os.kill(pid, number)


def signal_here(*numbers):
    """Send signals to this process, the supervisor."""

    def act(pid=None):
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    return act


# in this process


def test_a_run_ends_when_all_workers_have_ended(run, capfd):
    run.here({"0": "done", "1": "done"})
    out, err = capfd.readouterr()
    assert (out, err) == ("answer of 0\n", "host 0 is shown\n")
    first, second = (tuple((run.folder / n).read_text().split()[1:]) for n in ("0-2", "1-2"))
    assert first[0] == second[0]  # the coordinator
    assert not Path(first[1]).exists()
    assert not Path(second[1]).exists()


def test_the_message_of_a_failed_worker_ends_all_with_its_code(run, capfd):
    error = run.fails({"0": "deaf", "1": "exit 5 bad.jpg is damaged"})
    assert error.exit_code == 5
    assert error.message.startswith("host 1 (")
    assert error.message.endswith("): bad.jpg is damaged")
    assert error.hint == "look there."
    assert run.took < 15
    assert "noise" not in capfd.readouterr().err


def test_a_killed_worker_is_named_and_what_is_kept(run):
    with run.soon(kill(signal.SIGKILL), "1-2", "0-2"):
        error = run.fails({"0": "sleep keep", "1": "sleep"})
    assert error.exit_code == 1
    assert error.message.startswith("host 1 (")
    assert error.message.endswith("): the worker was ended by SIGKILL")
    assert error.hint == "the last checkpoint is kept."


@pytest.mark.ci
def test_a_stopped_worker_ends_all(run):
    with run.soon(kill(signal.SIGSTOP), "0-2", "1-2"):
        error = run.fails({"0": "sleep", "1": "sleep"})
    assert (error.exit_code, error.hint) == (1, "continue stopped processes with SIGCONT.")
    assert error.message.endswith("the worker was stopped (SIGSTOP) for 0.2 s")


def test_who_lost_its_peers_waits_for_the_cause(run):
    """The exit code 75 comes first, the cause a moment later."""
    with run.soon(kill(signal.SIGSEGV), "1-3", "0-3", "2-3"):
        error = run.fails({"0": "exit 75", "1": "sleep", "2": "exit 75"}, count=3, doubt=5.0)
    assert error.exit_code == 1
    assert error.message.startswith("host 1 (")
    assert "SIGSEGV" in error.message


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.ci)],
)
def test_a_signal_stops_all_workers_in_order(run, number, code):
    with run.soon(signal_here(number), "0-2", "1-2"):
        error = run.fails({"0": "sleep", "1": "sleep"}, restarts=1)
    assert isinstance(error, Interrupted)
    assert f"Error: {error}\nHint: {error.hint}" == STOPPED
    assert error.exit_code == code
    assert run.started() == ["0-2", "1-2"]


def test_a_second_signal_ends_all_at_once(run):
    with run.soon(signal_here(signal.SIGTERM, signal.SIGTERM), "0-2", "1-2"):
        error = run.fails({"0": "deaf keep", "1": "deaf"})
    assert (error.exit_code, str(error)) == (143, "Interrupted.")
    assert error.hint == "the last checkpoint is kept."


def test_a_run_is_started_again_as_often_as_asked(run):
    plan = {"0": "sleep", "1": "signal 11", "again": {"0": "done", "1": "exit 75"}}
    error = run.fails(plan, restarts=1)
    assert error.exit_code == 4
    assert "the worker lost the connection to the others" in error.message
    assert run.started() == ["0-2", "0-2-again", "1-2", "1-2-again"]
    (note,) = run.said
    assert note.startswith("Warning: host 1 (")
    assert "): the worker was ended by SIGSEGV: malloc(): corrupted top size; " in note
    assert note.endswith("; restart 1 of 1, with 2 of 2 hosts")


@pytest.mark.ci
def test_wrong_use_is_not_started_again(run):
    error = run.fails({"0": "exit 2 batch_size is 10", "1": "sleep"}, restarts=3)
    assert error.exit_code == 2
    assert run.started() == ["0-2", "1-2"]


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.ci)])
def test_a_signal_is_obeyed_while_hosts_are_waited_for(run, index):
    hosts = Hosts(address="127.0.0.1", port=free_port(), count=3, index=index)
    timer = threading.Timer(0.4, signal_here(signal.SIGTERM))
    timer.start()
    begin = time.monotonic()
    clocks = dataclasses.replace(CLOCKS, notice=0.2)
    with pytest.raises(Interrupted, match="Interrupted") as caught:
        supervise(hosts, [], say=run.said.append, program=TOY, clocks=clocks)
    assert caught.value.exit_code == 143
    assert time.monotonic() - begin < 3
    (note,) = run.said
    expected = "waiting for host 0 at 127.0.0.1:" if index else "waiting for hosts at 127.0.0.1:"
    assert note.startswith(expected)
    assert note.endswith("Connection refused" if index else ": 1, 2")
    end = time.monotonic() + 10
    while any("_try" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < end, "the host is still looked for"
        time.sleep(0.02)


def test_hosts_that_never_come_are_named(run):
    hosts = Hosts(address="127.0.0.1", port=free_port(), count=3, index=0, names=("a", "b", "c"))
    clocks = dataclasses.replace(CLOCKS, start=0.3)
    with pytest.raises(WorkerError) as caught:
        supervise(hosts, [], program=TOY, clocks=clocks)
    assert caught.value.exit_code == 4
    assert str(caught.value) == "2 of 3 hosts did not come within 0.3 s: 1 (b), 2 (c)"
    other = Hosts(address="127.0.0.1", port=hosts.port, count=3, index=1)
    with pytest.raises(LostHostError) as caught:
        supervise(other, [], program=TOY, clocks=clocks)
    assert caught.value.exit_code == 4
    assert "host 0 was not reached at 127.0.0.1:" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "output", "given", "expected"),
    [
        (0, "Error: of before", {}, "done 0 "),
        (9, "Error: out of memory: x\nHint: less.\nE1129 noise", {}, "failed 9 out of memory: x"),
        (3, "Error: a\nb\n*** stack", {}, "failed 3 a\nb"),
        (77, "ValueError: x", {}, "failed 1 the worker ended with exit code 77: ValueError: x"),
        (75, "gloo", {}, "doubtful 4 the worker lost the connection to the others"),
        (143, "", {}, "asked 143 Interrupted."),
        (-15, "", {"asked": 15}, "asked 143 Interrupted."),
        (-15, "epoch 1", {}, "killed 1 the worker was ended by SIGTERM"),
        (
            -9,
            "",
            {"out_of_memory": True},
            "killed 9 out of memory: the worker was ended by SIGKILL",
        ),
        (-6, "std::bad_alloc", {}, "killed 9 out of memory: the worker was ended by SIGABRT"),
        (-6, "Check failed", {}, "doubtful 1 the worker was ended by SIGABRT: Check failed"),
        (-34, "", {}, "killed 1 the worker was ended by SIGRTMIN"),
        (-35, "", {}, "killed 1 the worker was ended by signal 35"),
    ],
)
def test_the_end_of_a_worker_is_named(code, output, given, expected):
    end = end_of(code, output, **given)
    assert f"{end.kind} {end.code} {end.text}" == expected


def test_processes_that_were_killed_for_memory_are_counted(tmp_path):
    assert oom_kills(tmp_path) == 0
    assert oom_kills() >= 0
    for name, content in {
        "proc/vmstat": "oom_kill 7\n",
        "proc/self/cgroup": "0::/job/step\n",
        "sys/fs/cgroup/job/step/memory.events": "oom 1\noom_kill 2\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        assert oom_kills(tmp_path) == (2 if "events" in name else 7)


# each supervisor in a process of its own


@pytest.fixture
def place():
    """Return the beginning of `--hosts`."""
    return f"127.0.0.1:{free_port()}"


@pytest.mark.ci
def test_all_supervisors_name_the_same_cause_and_code(run, supervisors, place):
    plan = {"0": "deaf", "1": "exit 9 out of memory: batch 256", "2": "deaf"}
    found = [ended(p) for p in [supervisors(f"{place},3,{i}", plan) for i in range(3)]]
    assert {code for code, _, _ in found} == {9}
    assert [out for _, out, _ in found] == ["answer of 0\n", "", ""]
    assert found[0][2].startswith("host 0 is shown\nError: host 1 (")
    for _, _, err in found:
        assert err.count("Error: ") == 1
        assert err.endswith("): out of memory: batch 256\nHint: look there.\n")
    assert run.alive() == []


@pytest.mark.ci
@pytest.mark.parametrize("killed", [0, 1])
def test_a_supervisor_that_is_killed_ends_the_run(run, supervisors, place, killed):
    plan = {"0": "deaf", "1": "deaf"}
    processes = [supervisors(f"{place},2,{i}", plan) for i in range(2)]
    workers = [run.worker(f"{i}-2") for i in range(2)]
    time.sleep(0.2)
    processes[killed].kill()
    gone(workers[killed])  # it ends with its supervisor
    code, _, err = ended(processes[1 - killed])
    assert code == 4
    assert f"Error: host {killed} (" in err
    assert "its supervisor has ended" in err
    assert run.alive() == []


@pytest.mark.ci
def test_a_supervisor_that_is_stopped_is_lost(run, supervisors, place):
    plan = {"0": "deaf", "1": "deaf"}
    first, second = (supervisors(f"{place},2,{i}", plan, silence=0.6) for i in range(2))
    run.worker("0-2"), run.worker("1-2")
    second.send_signal(signal.SIGSTOP)
    code, _, err = ended(first)
    assert code == 4
    assert "it is not reached any more" in err
    second.send_signal(signal.SIGCONT)
    code, _, err = ended(second)
    assert code == 4
    assert "Error: host 1 (" in err
    assert run.alive() == []


@pytest.mark.ci
def test_the_hosts_that_are_there_start_again(run, supervisors, place):
    """Host 1 is killed: hosts 0 and 2 go on as 0 and 1; a new host 1 is there at the next start."""
    sleeping = {"0": "sleep", "1": "sleep", "2": "sleep"}
    plan = {**sleeping, "again": sleeping}
    first, second, third = (supervisors(f"{place},3,{i}", plan, 2) for i in range(3))
    for name in ("0-3", "1-3", "2-3"):
        run.worker(name)
    second.kill()
    workers = [run.worker(f"{i}-2-again") for i in range(2)]
    second = supervisors(f"{place},3,1", plan, 2)
    time.sleep(1)  # until it has connected
    workers[1].kill()
    for name in ("0-3-again", "1-3-again", "2-3-again"):
        run.worker(name)
    time.sleep(0.2)
    third.send_signal(signal.SIGTERM)
    results = [ended(process) for process in (first, second, third)]
    assert [code for code, _, _ in results] == [143] * 3
    assert all(err.endswith(f"{STOPPED}\n") for _, _, err in results)
    notes = [line for line in results[0][2].splitlines() if line.startswith("Warning: ")]
    assert notes[0].endswith("its supervisor has ended; restart 1 of 2, with 2 of 3 hosts")
    assert notes[1].endswith("ended by SIGKILL; restart 2 of 2, with 3 of 3 hosts")
    assert run.alive() == []


@pytest.mark.ci
def test_a_host_that_does_not_belong_to_the_run_is_refused(run, supervisors, place):
    first = supervisors(f"{place},2,0", {})
    code, _, err = ended(supervisors(f"{place},3,2", {}))
    assert code == 2
    assert "this host was started with N = 3, and host 0 with N = 2" in err
    assert first.poll() is None
    assert ended(supervisors(f"{place},2,1", {}))[0] == 0
    assert ended(first)[0] == 0
    assert run.started() == ["0-2", "1-2"]


@pytest.mark.ci
def test_strangers_cannot_disturb_a_run(run, supervisors, place):
    first = supervisors(f"{place},2,0", {"0": "done"})
    host, _, port = place.partition(":")
    for content in (b"GET / HTTP/1.1\r\n\r\n", b"{" * 200_000, b'{"message": "over"}\n', b"\n"):
        end = time.monotonic() + 10
        while True:
            try:
                with (
                    socket.create_connection((host, int(port)), timeout=5) as stranger,
                    contextlib.suppress(ConnectionResetError, BrokenPipeError),
                ):
                    stranger.sendall(content)
                    assert stranger.recv(100) == b""
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.05)
    assert ended(supervisors(f"{place},2,1", {}))[0] == 0
    assert ended(first)[0] == 0


@pytest.fixture
def namespaces():
    """Two network namespaces with one cable: 10.231.7.1 and 10.231.7.2."""
    names = [f"rezoo-{os.getpid()}-{i}" for i in range(2)]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        cable = ["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", names[1]]
        ip("-n", names[0], *cable)
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.231.7.{number}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"only root may make network namespaces: {error}")
    else:
        yield names
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.ci
def test_hosts_whose_network_is_cut_end(run, supervisors, namespaces):
    plan = {"0": "deaf", "1": "deaf"}
    first, second = (
        supervisors(
            f"10.231.7.1:29400,2,{i}", plan, prefix=("ip", "netns", "exec", name), silence=1
        )
        for i, name in enumerate(namespaces)
    )
    run.worker("0-2"), run.worker("1-2")
    cut = ["ip", "-n", namespaces[1], "link", "set", "cable", "down"]
    subprocess.run(cut, check=True)
    begin = time.monotonic()
    code, _, err = ended(first)
    assert (code, "): it is not reached any more" in err) == (4, True)
    code, _, err = ended(second)
    assert code == 4
    assert "host 0 (10.231.7.1:29400): its supervisor is not reached any more" in err
    assert time.monotonic() - begin < 15
    assert run.alive() == []


@pytest.mark.ci
def test_a_worker_that_is_killed_for_its_memory_is_named(run, supervisors, place):
    """The kernel kills it: its cgroup has 200 MB."""
    group = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes"
    if not (group / limit).exists():
        group, limit = Path("/sys/fs/cgroup"), "memory.max"
    group /= f"rezoo-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text("200000000")
    except OSError as error:
        pytest.skip(f"only root may limit the memory of a process: {error}")
    try:
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        processes = [
            supervisors(f"{place},2,{i}", {"0": "memory", "1": "sleep"}, prefix=prefix)
            for i, prefix in enumerate((enter, ()))
        ]
        for code, _, err in map(ended, processes):
            assert code == 9
            assert "Error: host 0 (" in err
            assert "): out of memory: the worker was ended by SIGKILL" in err
            assert "--batch-size" in err
    finally:
        group.rmdir()


def test_only_what_python_prints_reaches_the_terminal(run, supervisors, place, monkeypatch):
    """It is a terminal for the worker, too."""
    import termios  # not on Windows

    monkeypatch.delenv("COLUMNS", raising=False)
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (24, 91))
    process = supervisors(f"{place},1,0", {"0": "done"}, stderr=follower)
    assert ended(process)[:2] == (0, "answer of 0\n")
    os.close(follower)
    shown = os.read(leader, 1000)
    os.close(leader)
    assert shown == b"host 0 is shown in 91 columns\r\n"


# the command line


def test_a_worker_that_lost_its_peers_leaves_the_message_to_its_supervisor(call, monkeypatch):
    @click.command()
    def lost():
        raise LostHostError("Connection closed by peer")

    monkeypatch.setitem(group.commands, "list", lost)
    fails(call("list"), 4, "Connection closed by peer")
    worker = Worker(coordinator="a:1", hosts=2, host=1)
    for name, value in worker.to_environment().items():
        monkeypatch.setenv(name, value)
    answer = call("list")
    assert (answer.rc, answer.out, answer.err) == (75, "", "")


@pytest.mark.ci
def test_an_error_of_the_command_is_that_of_launch(cli):
    """Both workers name it, and it is printed once."""
    answer = cli("launch", 2, "--", "train", "nosuch")
    fails(answer, 2, "): unknown model 'nosuch'", "Hint: ")
    assert answer.err.count("Error: ") == 1


@pytest.mark.ci
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_obeys_a_signal_while_it_waits(place, tmp_path, number, code):
    with start("train", "resnet18", "--hosts", f"{place},2,0", cwd=tmp_path) as process:
        try:
            end = time.monotonic() + 20
            while not any(
                c.status == "LISTEN" for c in psutil.Process(process.pid).net_connections()
            ):
                assert time.monotonic() < end
                time.sleep(0.02)
            process.send_signal(number)
            out, err = process.communicate(timeout=2)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (code, "", "Interrupted.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ci
def test_the_command_refuses_a_port_that_is_in_use(cli, place):
    host, _, port = place.partition(":")
    with socket.create_server((host, int(port))):
        fails(cli("eval", "a", "--hosts", f"{place},2,0"), 2, f"cannot listen at {place}", "PORT")
