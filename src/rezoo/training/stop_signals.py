"""Ctrl-C and SIGTERM while a run trains: the step is finished, and the state saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rezoo.utils.signals import handling


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
