"""Ctrl-C and SIGTERM in a run: the step in progress ends first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a signal has asked to stop after the current step."""

    asked = False
    exit_code = 130

    def request(self, number: int, frame: Any) -> None:
        """Take a signal; the second one stops at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.exit_code = 128 + number


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Let the step in progress finish when Ctrl-C or SIGTERM comes; the handlers are put back."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may install handlers
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop.request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
