"""The worker of a supervisor: start, look, stop, kill."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from rezoo.launching.endings import End, end_of, kept_words, stopped
from rezoo.utils.hosts import Worker
from rezoo.utils.memory import oom_kills
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on

_TAIL = 256 * 1024  # bytes of the output in which a message is looked for


class Child:
    """A worker process, in a session of its own: Ctrl-C reaches it through the supervisor alone.

    What it writes on the file descriptors 1 and 2 goes to a file: also the lines of libraries in
    C++. If it is `shown`, the worker prints on copies of this process's stdout and stderr. With
    `REZOO_DEBUG=1` nothing is redirected.
    """

    def __init__(
        self, command: Sequence[str], worker: Worker, folder: Path, *, shown: bool, stopped_s: float
    ) -> None:
        self._output = folder / "output.txt"
        self._stopped_s, self._stopped_at = stopped_s, 0.0
        self._asked, self._kills = 0, oom_kills()
        ours, self._alive = os.pipe()  # the worker reads its end when this process has ended
        passed: dict[str, Any] = {"supervisor": ours}
        direct = switched_on(DEBUG_VARIABLE)
        if shown and not direct:
            for name, descriptor in (("stdout", 1), ("stderr", 2)):
                with contextlib.suppress(OSError):  # it is closed
                    passed[name] = os.dup(descriptor)
        variables = dataclasses.replace(worker, **passed).to_environment() | _columns()
        try:
            with self._output.open("wb") as output:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=(None if shown else subprocess.DEVNULL) if direct else output,
                    stderr=None if direct else output,
                    env={**os.environ, **variables, "TMPDIR": str(folder)},
                    pass_fds=[*passed.values()],
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            for descriptor in passed.values():
                os.close(descriptor)

    def poll(self) -> End | None:
        """Return how the worker has ended; None if it is running."""
        code = self.process.poll()
        if code is None:
            return self._poll_stopped()
        self._clear()
        more = oom_kills() > self._kills
        return end_of(code, self.output(), asked=self._asked, out_of_memory=more)

    def stop(self, number: int) -> None:
        """Send SIGINT or SIGTERM, once."""
        if not self._asked:
            self._asked = number
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the worker and its processes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def output(self) -> str:
        """Return the end of what the worker wrote on its file descriptors."""
        with contextlib.suppress(OSError), self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
        return ""

    def kept(self) -> str:
        """Return what the worker has said to be kept; see `Worker.keeps`."""
        return kept_words(self.output())

    def _poll_stopped(self) -> End | None:
        """Kill the worker if it is stopped for too long."""
        try:
            is_stopped = psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:  # it has just ended
            return None
        now = time.monotonic()
        self._stopped_at = (self._stopped_at or now) if is_stopped else 0.0
        if not is_stopped or now - self._stopped_at < self._stopped_s:
            return None
        self._clear()
        self.process.wait()
        return stopped(self._stopped_s)

    def _clear(self) -> None:
        self.kill()  # with what it has started
        os.close(self._alive)


def _columns() -> dict[str, str]:
    """Return the width of the terminal for the worker, which has none of its own."""
    if "COLUMNS" not in os.environ:
        with contextlib.suppress(OSError):
            return {"COLUMNS": str(os.get_terminal_size(2).columns)}
    return {}
