"""Save a run while it goes on: its state is copied at once, and the copy written in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from rezoo.errors import DivergedError
from rezoo.training.checkpoints import Progress, snapshot
from rezoo.training.generations import Content, Generations


class Saver:
    """Writes one checkpoint at a time, so there is at most one copy of the state in memory.

    An error of the thread, such as a full disk, is raised by the next call of `check`, `save` or
    `wait`; the checkpoints that were there before are kept.

    Attributes:
        save_s: Seconds that the last save took, in both threads; 0 before the first.
        copy_s: Seconds of it in which training waited.
    """

    def __init__(self, files: Generations) -> None:
        self.save_s = self.copy_s = 0.0
        self._files = files
        self._began = time.perf_counter()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._cancelled = threading.Event()

    def __enter__(self) -> Self:
        """Return the saver."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait until the last checkpoint is on the disk; on `KeyboardInterrupt`, stop writing."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._cancelled.set()
        self.wait()

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def since_s(self) -> float:
        """Seconds since the last save began, or since the start."""
        return time.perf_counter() - self._began

    def save(self, state: Iterable[tuple[str, Any]], progress: Progress, signature: str) -> None:
        """Copy the state of a run and begin to write it; waits if the last one is not written.

        Arguments are those of `snapshot`.

        Raises:
            ResourceError: The last one could not be written.
            DivergedError: It was not finite, and has not been written.
        """
        self.wait()
        self._began = time.perf_counter()
        content = snapshot(state, progress, signature)
        self.copy_s = self.since_s
        # a daemon: the process need not wait for it, since a file that is not complete is ignored
        self._thread = threading.Thread(target=self._write, args=(content,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise the error of a save that has failed; waits for none."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until the checkpoint is on the disk; raises as `check`."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, content: Content) -> None:
        try:
            _check_finite(content)
            self._files.write(content, proceed=self._proceed)
        except _Cancelled:
            return
        except BaseException as error:  # whatever it is, it ends the training thread
            self._error = error
        self.save_s = self.since_s

    def _proceed(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled


def _check_finite(content: Content) -> None:
    """Raise `DivergedError` for a state that would not be worth going on from."""
    for name, value in content.values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DivergedError(
                f"the state of the run is not finite ({name}): it is not saved",
                hint="lower --lr or lengthen the warm-up (--set warmup_epochs=5); "
                "checkpoints that were saved before are kept.",
            )


class _Cancelled(Exception):  # noqa: N818 - not an error
    """The process ends at once."""
