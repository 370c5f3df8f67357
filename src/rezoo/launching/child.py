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

import psutil

from rezoo.launching.endings import End, end_of, kept_words, stopped
from rezoo.utils.hosts import Worker
from rezoo.utils.memory import oom_kills
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on

_TAIL = 256 * 1024  # bytes of the output in which a message is looked for


class Child:
    """A worker process, in a session of its own: Ctrl-C reaches it through the supervisor alone.

    What it writes on file descriptor 2 goes to a file: also the last lines of libraries in C++. If
    it is `shown`, the worker prints on a copy of this process's stderr. With `REZOO_DEBUG=1`
    nothing is redirected.
    """

    def __init__(
        self, command: Sequence[str], worker: Worker, folder: Path, *, shown: bool, stopped_s: float
    ) -> None:
        self._output = folder / "output.txt"
        self._stopped_s, self._stopped_at = stopped_s, 0.0
        self._asked, self._kills = 0, oom_kills()
        ours, self._alive = os.pipe()  # the worker reads its end when this process has ended
        passed = [ours]
        debug = switched_on(DEBUG_VARIABLE)
        if shown and not debug:
            with contextlib.suppress(OSError):  # no stderr at all
                passed.append(os.dup(2))
        terminal = passed[1] if len(passed) > 1 else None
        worker = dataclasses.replace(worker, supervisor=ours, terminal=terminal)
        try:
            with self._output.open("wb") as output:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=None if shown else subprocess.DEVNULL,
                    stderr=None if debug else output,
                    env={**os.environ, **worker.to_environment(), "TMPDIR": str(folder)},
                    pass_fds=passed,
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            for descriptor in passed:
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
        """Return the end of what the worker wrote on file descriptor 2."""
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
