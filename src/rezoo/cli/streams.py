"""Standard streams of a worker: what it prints is shown, what libraries in C++ print is not."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from rezoo.utils.hosts import PEERS_LOST, Worker


@contextlib.contextmanager
def worker_streams() -> Iterator[None]:
    """In the worker of a supervisor, print where the supervisor prints, inside the block.

    The file descriptors 1 and 2 are a file that the supervisor reads if the worker fails: the
    message of an error, which is printed behind the block, goes there. The process ends with its
    supervisor. Does nothing in other processes.
    """
    worker = Worker.of_environment()
    if worker is None:
        yield
        return
    if worker.supervisor is not None:
        threading.Thread(target=_end_with, args=(worker.supervisor,), daemon=True).start()
    with contextlib.ExitStack() as stack:
        if worker.stdout is not None:
            stdout = stack.enter_context(_copy(sys.stdout, worker.stdout))
            stack.enter_context(contextlib.redirect_stdout(stdout))
        if worker.stderr is not None:
            stderr = stack.enter_context(_copy(sys.stderr, worker.stderr))
            stack.enter_context(contextlib.redirect_stderr(stderr))
        yield


def _copy(stream: TextIO, descriptor: int) -> TextIO:
    encoding, errors = stream.encoding, stream.errors
    return open(descriptor, "w", buffering=1, encoding=encoding, errors=errors)


def _end_with(supervisor: int) -> None:
    """End this process when the other end of a pipe is closed, which nothing is written to."""
    os.read(supervisor, 1)
    os._exit(PEERS_LOST)
