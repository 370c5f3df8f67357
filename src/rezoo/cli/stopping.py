"""Ctrl-C and SIGTERM: the first ends a command in order, the second within a second."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rezoo.utils.signals import STOPPING

_PATIENCE_S = 0.6  # between the second signal and the end of the process


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `KeyboardInterrupt` inside the block for SIGTERM, too; end the process at the second.

    Python runs the handler of a signal between two instructions of the main thread, so not before
    a long step in C++ has ended. A thread counts the signals meanwhile. Files stay whole: each is
    written under another name first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may install handlers
        return
    ended = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGTERM, before)
        sender.close()


def number_of(error: BaseException | None) -> int:
    """Return the number of the signal that an error stands for; that of Ctrl-C if unknown."""
    if isinstance(error, KeyboardInterrupt) and error.args and type(error.args[0]) is int:
        return error.args[0]
    return signal.SIGINT


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _watch(receiver: socket.socket, ended: threading.Event) -> None:
    """Wait for two signals; end the process soon after, unless the block ends before."""
    count = 0
    with receiver:
        while content := receiver.recv(64):
            for number in content:
                count += number in STOPPING
                if number in STOPPING and count > 1 and not ended.wait(_PATIENCE_S):
                    os.write(2, b"\nInterrupted.\n")
                    os._exit(128 + number)
