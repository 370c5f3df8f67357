"""A lock on a folder: one process at a time changes its files. Loads without NumPy.

A process that holds the lock has `.rezoo.lock` open in the folder, under a lock of the operating
system, which ends with the process in whatever way it ends. The file records the process, for
messages. On another host, and on file systems without locks, the record decides.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rezoo.errors import RunLockedError, RunWarning, SpecError, writing

LOCK = ".rezoo.lock"
_MAX_BYTES = 4096
_POLL_S = 0.1
_WRITTEN_S = 1.0  # an owner writes its record right after it takes the lock
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that holds a lock, or held it until it was killed.

    Attributes:
        what: What it does: "training".
        pid: Process number on its host.
        host: Name of its host.
        started_utc: When it took the lock, ISO 8601.
        boot: Identifies the start of its kernel; containers on one machine share it. May be empty.
    """

    what: str
    pid: int
    host: str
    started_utc: str
    boot: str = ""

    def __str__(self) -> str:
        return f"{self.what} by process {self.pid} on host {self.host} since {self.started_utc}"

    @classmethod
    def this(cls, what: str) -> Owner:
        """Return this process as an owner from now on."""
        boot = _BOOT.read_text("ascii").strip() if _BOOT.is_file() else ""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(what=what, pid=os.getpid(), host=platform.node(), started_utc=now, boot=boot)

    def is_on(self, machine: Owner) -> bool:
        """Return whether this process is, or was, on the machine of another owner."""
        return self.host == machine.host or (bool(self.boot) and self.boot == machine.boot)

    def is_alive(self) -> bool:
        """Return whether the process, which is on this machine, has not ended."""
        import psutil

        try:
            began = psutil.Process(self.pid).create_time()
            return began <= datetime.fromisoformat(self.started_utc).timestamp() + 1
        except (psutil.NoSuchProcess, ValueError):
            return False
        except psutil.AccessDenied:
            return True


@contextmanager
def locked(folder: Path, *, what: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a folder.

    The folder is created if it does not exist, and removed afterwards if it is still empty. A
    lock that a killed process has left is taken over with a `RunWarning`.

    Args:
        folder: The folder.
        what: What this process does there, for the messages of others: "training".
        wait: Called once with the owner in words, before waiting for it. None for an error.

    Raises:
        RunLockedError: Another process holds the lock. With `wait`, only if it is on another
            host and its end could not be noticed.
        ResourceError: The folder cannot be written.
        SpecError: The lock file is a link or not a file.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        handle = _acquire(folder, what, wait)
        try:
            yield
        finally:
            _release(folder / LOCK, handle)
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty
            for path in missing:
                path.rmdir()


def _acquire(folder: Path, what: str, wait: Callable[[str], None] | None) -> int:
    """Return the open lock file, locked and with this process as its owner."""
    path, this, waits = folder / LOCK, Owner.this(what), False
    patience = time.monotonic() + _WRITTEN_S
    while True:
        handle = _open(path)
        held = _try_lock(handle)
        if held is not False and not _is_at(handle, path):  # its last owner has removed it
            os.close(handle)
            continue
        owner = _read(handle)
        here = owner is None or owner.is_on(this)
        if held is not False and (owner is None or (here and (held or not owner.is_alive()))):
            return _claim(handle, path, this, owner)
        os.close(handle)
        if owner is None and time.monotonic() < patience:
            time.sleep(_POLL_S)
            continue
        sure = held is False or here  # its end will be noticed
        if wait is None or not sure:
            raise _refusal(path, owner, sure=sure)
        if not waits:
            wait(f"{folder} is in use: {owner or 'another process'}; waiting for it.")
            waits = True
        time.sleep(_POLL_S)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
                raise SpecError(f"{path} is not a regular file", hint="remove it.")
            return os.open(path, flags, 0o666)
        except FileNotFoundError:  # its last owner has removed the empty folder
            continue
        except PermissionError as error:
            if path.exists():  # of another user
                raise _refusal(path, None, sure=False) from error
            with writing(path.parent):
                raise


def _claim(handle: int, path: Path, this: Owner, before: Owner | None) -> int:
    """Write the record of a new owner into the lock file."""
    try:
        with writing(path.parent):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(asdict(this)).encode())
    except BaseException:
        _release(path, handle)
        raise
    if before is not None:
        text = f"{path.parent} was left by a process that was killed: {before}. It is taken over."
        warnings.warn(RunWarning(text), stacklevel=5)
    return handle


def _release(path: Path, handle: int) -> None:
    """Remove the lock file while it is locked; Windows removes it once it is closed."""
    ours = _is_at(handle, path)
    with contextlib.suppress(OSError):
        if ours and os.name == "posix":
            path.unlink()
    os.close(handle)
    with contextlib.suppress(OSError):
        if ours and os.name != "posix":
            path.unlink()


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one that a path names now."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _read(handle: int) -> Owner | None:
    """Return the recorded owner; None if there is no whole record."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        owner = Owner(**json.loads(os.read(handle, _MAX_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (owner.what, owner.host, owner.started_utc, owner.boot)
    valid = all(isinstance(text, str) for text in texts) and type(owner.pid) is int
    return owner if valid and 0 < owner.pid < 2**31 else None


def _refusal(path: Path, owner: Owner | None, *, sure: bool) -> RunLockedError:
    hint = "wait until it ends, or stop that process."
    if not sure:
        hint = f"if that process has ended, remove {path}."
    return RunLockedError(f"{path.parent} is in use: {owner or 'another process'}", hint=hint)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool | None:
        """Lock an open file; False if another process holds it, None without such locks."""
        os.lseek(handle, _MAX_BYTES, os.SEEK_SET)  # a locked byte cannot be read by others
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool | None:
        """Lock an open file; False if another process holds it, None without such locks."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise
        return True
