"""The supervisor of a host: it starts the worker, and ends with the run.

The supervisor of the first host also conducts the run, in a thread (`Hub`).
"""

from __future__ import annotations

import dataclasses
import platform
import queue
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rezoo.errors import IncompatibleError, Interrupted, LostHostError, WorkerError
from rezoo.launching.child import Child
from rezoo.launching.endings import ASKED, INTERRUPTED, End
from rezoo.launching.hub import Hub
from rezoo.launching.messages import Clocks, Connection, free_port, wait
from rezoo.utils.hosts import Hosts, Worker, join
from rezoo.utils.signals import STOPPING, handling

_RETRY_S = 0.3
_PROGRAM = (sys.executable, "-P", "-m", "rezoo")
_CLOCKS = Clocks()


def supervise(
    hosts: Hosts,
    arguments: Sequence[str],
    restarts: int = 0,
    *,
    say: Callable[[str], None] = lambda line: None,
    program: Sequence[str] = _PROGRAM,
    clocks: Clocks = _CLOCKS,
) -> None:
    """Run a command on all hosts, of which this process supervises one.

    It returns when the workers of all hosts have ended without a failure. After a failure all
    workers are ended, and each supervisor raises the same error.

    Args:
        hosts: All hosts, and which of them this one is.
        arguments: The command line of the worker, behind `rezoo`.
        restarts: How often the workers are started again after a failure that may not happen
            again, on the hosts that are there.
        say: Prints a line while the run goes on.
        program: What is started with the arguments.
        clocks: Durations.

    Raises:
        SpecError: The port is in use.
        LostHostError: The first host is not reached.
        WorkerError: A worker has failed or a host is lost; its code is that of the failure.
        Interrupted: A supervisor has received SIGINT or SIGTERM.
        IncompatibleError: This is Windows.
    """
    if sys.platform == "win32":
        raise IncompatibleError("--hosts is not supported on Windows", hint="use Linux or WSL.")
    command = [*program, *arguments]
    with _signals() as signals:
        if hosts.index:
            connection = _connect(hosts, clocks, signals, say)
            _Member(hosts, command, connection, clocks, signals, say).run()
            return
        ours, theirs = socket.socketpair()
        hub = Hub(hosts, theirs, restarts=restarts, clocks=clocks)
        conducting = threading.Thread(target=hub.run, daemon=True)
        conducting.start()
        member = _Member(hosts, command, Connection(ours), clocks, signals, say)
        try:
            member.run()
        finally:
            # the other hosts end first; after a second signal nobody waits
            conducting.join(0.3 if len(signals) > 1 else clocks.patience + clocks.silence)


def launch(count: int, arguments: Sequence[str], restarts: int = 0, **options: Any) -> None:
    """Run a command in `count` processes of this machine, as on so many hosts.

    Args:
        count: Number of workers.
        arguments: As of `supervise`, which also names the errors.
        restarts: As of `supervise`.
        **options: As of `supervise`.
    """
    hosts = Hosts(address="127.0.0.1", port=free_port(), count=count, index=0)
    others = [
        threading.Thread(
            target=_quietly,
            args=(dataclasses.replace(hosts, index=index), arguments),
            kwargs={**options, "say": lambda line: None},
            daemon=True,
        )
        for index in range(1, count)
    ]
    for other in others:
        other.start()
    try:
        supervise(hosts, arguments, restarts, **options)
    finally:
        for other in others:  # they remove their temporary folders
            other.join(0.5)


def _quietly(hosts: Hosts, arguments: Sequence[str], **options: Any) -> None:
    with suppress(WorkerError, Interrupted, LostHostError):  # the first one raises it, too
        supervise(hosts, arguments, **options)


class _Member:
    """The supervisor of one host, in the run that the first host conducts."""

    def __init__(
        self,
        hosts: Hosts,
        command: Sequence[str],
        connection: Connection,
        clocks: Clocks,
        signals: list[int],
        say: Callable[[str], None],
    ) -> None:
        self._hosts, self._command, self._clocks, self._say = hosts, command, clocks, say
        self._connection, self._signals = connection, signals
        self._seen = 0  # signals
        self._child: Child | None = None
        self._end: End | None = None  # of the last worker
        self._over: dict[str, Any] | None = None
        self._kill_at = float("inf")
        self._kept = ""
        if hosts.index == 0:
            connection.send(**_hello(hosts))

    def run(self) -> None:
        """Take part until the run is over."""
        name = f"rezoo-host-{self._hosts.index}-"
        with tempfile.TemporaryDirectory(prefix=name, ignore_cleanup_errors=True) as folder:
            try:
                while self._over is None or self._child:
                    self._turn(Path(folder))
            finally:
                if self._child:
                    self._child.kill()
                self._connection.close()
        self._conclude(self._over)

    def _turn(self, folder: Path) -> None:
        wait([self._connection], self._clocks.tick)
        for message in self._connection.receive():
            self._take(message, folder)
        self._obey()
        self._look()
        silent = time.monotonic() - self._connection.heard > self._clocks.silence
        if self._over is None and (silent or self._connection.closed):
            self._over = self._first_is_lost()
            self._kill_at = time.monotonic() + self._clocks.patience
        self._connection.beat(self._clocks.silence / 5)

    def _take(self, message: dict[str, Any], folder: Path) -> None:
        what, now = message.pop("message"), time.monotonic()
        if what == "start" and self._child is None:
            self._kill_at = float("inf")
            self._child = Child(
                self._command,
                Worker(**message),
                Path(tempfile.mkdtemp(dir=folder)),
                shown=self._hosts.index == 0,
                stopped_s=self._clocks.stopped,
            )
        elif what == "stop" and self._child:
            self._child.stop(message["signal"])
        elif what == "kill":
            self._kill_at = now + self._clocks.patience
        elif what == "over":
            self._over = message
            self._kill_at = now + (0 if message["now"] else self._clocks.patience)
        elif what == "note":
            self._say(message["text"])

    def _obey(self) -> None:
        """Pass a first signal on to the worker; end all at the second, or without a worker."""
        for number in self._signals[self._seen :]:
            self._seen += 1
            again = self._seen > 1
            self._connection.send("asked", signal=number, again=again)
            if again or self._child is None:
                self._over = dataclasses.asdict(End.asked(number))
                self._kill_at = 0.0
            else:
                self._child.stop(number)

    def _look(self) -> None:
        """Find whether the worker has ended; kill it when its time is over."""
        if self._child is None:
            return
        if time.monotonic() >= self._kill_at:
            self._child.kill()
        if end := self._child.poll():
            self._kept = self._child.kept() or self._kept
            self._child, self._end = None, end
            self._connection.send("ended", **dataclasses.asdict(end))

    def _first_is_lost(self) -> dict[str, Any]:
        if self._end and self._end.kind == ASKED:
            return dataclasses.asdict(self._end)
        place = join(self._hosts.address, self._hosts.port)
        words = "has ended" if self._connection.closed else "is not reached any more"
        end = End.lost(f"host 0 ({place}): its supervisor {words}")
        self._connection.close()
        return dataclasses.asdict(end)

    def _conclude(self, over: dict[str, Any] | None) -> None:
        """Raise the error of a run that is over."""
        if over is None or over["code"] == 0:
            return
        code, text, hint = over["code"], over["text"], over["hint"]
        if self._kept and "--resume" not in hint:
            hint = f"{hint} {self._kept}".strip()
        if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            raise Interrupted(text, hint=hint, exit_code=code)
        raise WorkerError(text, hint=hint, exit_code=code)


def _hello(hosts: Hosts) -> dict[str, Any]:
    name = platform.node()[:255]
    who = {"host": hosts.index, "hosts": hosts.count, "name": name}
    return {"what": "hello", "version": version("rezoo"), **who}


def _connect(
    hosts: Hosts, clocks: Clocks, signals: Sequence[int], say: Callable[[str], None]
) -> Connection:
    """Return the connection to the first host, which may start later than this one."""
    found: queue.SimpleQueue[Connection] = queue.SimpleQueue()
    faults: list[str] = ["no answer"]
    over = threading.Event()
    threading.Thread(target=_try, args=(hosts, clocks, found, faults, over), daemon=True).start()
    begin, noted = time.monotonic(), False
    place = join(hosts.address, hosts.port)
    try:
        while True:
            with suppress(queue.Empty):
                return found.get(timeout=clocks.tick)
            if signals:
                raise Interrupted(INTERRUPTED, exit_code=128 + signals[0])
            elapsed = time.monotonic() - begin
            if elapsed > clocks.start:
                raise LostHostError(
                    f"host 0 was not reached at {place} within {clocks.start:g} s: {faults[-1]}",
                    hint="start the same command there, with INDEX 0; check address, port, "
                    "firewall.",
                )
            if elapsed > clocks.notice and not noted:
                say(f"waiting for host 0 at {place}: {faults[-1]}")
                noted = True
    finally:
        over.set()


def _try(
    hosts: Hosts,
    clocks: Clocks,
    found: queue.SimpleQueue[Connection],
    faults: list[str],
    over: threading.Event,
) -> None:
    """Connect to the first host until it answers or nobody waits; names may take seconds."""
    while not over.is_set():
        try:
            end = socket.create_connection((hosts.address, hosts.port), timeout=clocks.silence)
            connection = Connection(end)
            connection.send(**_hello(hosts))
            if connection.answers(clocks.silence):
                found.put(connection)
                return
            connection.close()
            faults[:] = ["it does not answer as rezoo"]
        except OSError as error:
            faults[:] = [error.strerror or str(error)]
        over.wait(min(_RETRY_S, clocks.silence))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the numbers of SIGINT and SIGTERM inside the block, but for ignored ones."""
    found: list[int] = []
    caught = [n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN]
    with handling(lambda number, frame: found.append(number), caught):
        yield found
