"""Locks on folders: one process at a time, a killed one is taken over, the others say who."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rezoo.errors import RunLockedError, RunWarning, SpecError
from rezoo.utils import lock
from rezoo.utils.lock import LOCK, Owner, locked

HOLD = """
import sys, time
from pathlib import Path
from rezoo.utils.lock import locked
with locked(Path(sys.argv[1]), what="training"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Start processes that hold the lock of a folder until their stdin is closed."""
    started = []

    def hold(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def record(folder: Path, **changes) -> None:
    """Write a lock file as a process leaves it that was killed."""
    this = {**vars(Owner.this("training")), "pid": 4711, **changes}
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(json.dumps(this))


def take(folder: Path, **options) -> None:
    """Take the lock of a folder and give it back."""
    with locked(folder, what="training", **options):
        assert (folder / LOCK).is_file()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(tmp_path, holder):
    process = holder(tmp_path)
    owner = Owner.this("training")
    with pytest.raises(RunLockedError) as caught, locked(tmp_path, what="pushing"):
        pass
    for text in (str(tmp_path), "training", f"process {process.pid}", owner.host, "since 20"):
        assert text in str(caught.value)
    assert caught.value.exit_code == 1
    assert "wait" in caught.value.hint
    process.communicate()
    with locked(tmp_path, what="pushing"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_taken_over_with_a_warning(tmp_path, holder):
    process = holder(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / LOCK).exists()
    with pytest.warns(RunWarning, match=f"killed: training by process {process.pid} on host"):
        take(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_a_second_lock_in_one_process_is_refused(tmp_path):
    with locked(tmp_path, what="training"):
        with pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
            take(tmp_path)
        assert (tmp_path / LOCK).exists()


def test_of_many_at_once_one_holds_the_lock(tmp_path):
    """The file is removed and made again all the time; nobody holds a removed one."""
    inside, most, refused = [], [], []
    (tmp_path / "run").mkdir()

    def work() -> None:
        for _ in range(30):
            try:
                with locked(tmp_path / "run", what="training"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except RunLockedError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) + len(refused) == 180
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_made_for_the_lock_stays_only_with_content(tmp_path):
    take(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    with locked(tmp_path / "a" / "b", what="training"):
        (tmp_path / "a" / "b" / "recipe.toml").write_text("")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["recipe.toml"]


def test_waiting_says_for_whom_and_goes_on(tmp_path, holder):
    process, said = holder(tmp_path), []

    def wait(text: str) -> None:
        said.append(text)
        process.communicate()

    with locked(tmp_path, what="preparing", wait=wait):
        pass
    assert len(said) == 1
    assert f"training by process {process.pid}" in said[0]
    assert "waiting" in said[0]


def test_the_record_decides_for_another_host(tmp_path):
    """The lock of the operating system may not reach other hosts on a shared disk."""
    record(tmp_path, host="elsewhere", boot="another")
    for wait in (None, print):
        with pytest.raises(RunLockedError, match="process 4711 on host elsewhere") as caught:
            take(tmp_path, wait=wait)
        assert str(tmp_path / LOCK) in caught.value.hint
    (tmp_path / LOCK).unlink()
    take(tmp_path)


@pytest.mark.skipif(not lock._BOOT.is_file(), reason="the kernel has no id of its start")
def test_a_container_of_this_machine_with_another_name_is_taken_over(tmp_path):
    record(tmp_path, host="0ff1ce")
    with pytest.warns(RunWarning, match="0ff1ce"):
        take(tmp_path)


def test_without_locks_of_the_file_system_the_record_decides(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(handle, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path, what="training"), pytest.raises(RunLockedError, match="process"):
        take(tmp_path)
    record(tmp_path, pid=os.getpid(), started_utc="2020-01-01T00:00:00+00:00")  # pid used again
    with pytest.warns(RunWarning):
        take(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1e999}'])
def test_a_damaged_record_of_nobody_is_ignored(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    take(tmp_path)


def test_links_and_other_files_in_place_of_a_lock_are_refused(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / LOCK).symlink_to(mine)
    with pytest.raises(SpecError, match="not a regular file"):
        take(tmp_path)
    assert mine.read_text() == "mine"
    (tmp_path / LOCK).unlink()
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(SpecError, match="not a regular file"):
        take(tmp_path)
