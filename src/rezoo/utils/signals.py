"""Ctrl-C and SIGTERM, handled for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handling(
    handler: Callable[[int, object], None], numbers: Iterable[int] = STOPPING
) -> Iterator[None]:
    """Let a function handle signals inside the block; the handlers before are restored.

    Only the main thread may install handlers: in others, the block runs without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM inside the block; the second signal interrupts at once."""
    received: list[int] = []

    def receive(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt(number)
        received.append(number)

    with handling(receive):
        yield received
