"""Standard streams of a worker: what it prints is shown, what libraries in C++ print is not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rezoo.utils.hosts import PEERS_LOST, Worker


@contextmanager
def worker_streams() -> Iterator[None]:
    """In the worker of a supervisor, print on the supervisor's terminal inside the block.

    File descriptor 2 is a file that the supervisor reads if the worker fails: the message of an
    error, which is printed behind the block, goes there. The process ends with its supervisor.
    Does nothing in other processes.
    """
    worker = Worker.of_environment()
    if worker is None:
        yield
        return
    if worker.supervisor is not None:
        threading.Thread(target=_end_with, args=(worker.supervisor,), daemon=True).start()
    if worker.terminal is None:
        yield
        return
    with _printed_on(worker.terminal):
        yield


@contextmanager
def _printed_on(terminal: int) -> Iterator[None]:
    """Let Python print on a terminal and on stdout, and libraries in C++ on descriptor 2 alone."""
    before = sys.stdout, sys.stderr
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    form: Any = {"encoding": before[1].encoding, "errors": before[1].errors, "buffering": 1}
    with open(output, "w", **form) as stdout, open(terminal, "w", **form) as stderr:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _end_with(supervisor: int) -> None:
    """End this process when the other end of a pipe is closed, which nothing is written to."""
    os.read(supervisor, 1)
    os._exit(PEERS_LOST)
