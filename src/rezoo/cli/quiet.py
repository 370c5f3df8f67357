"""Start TensorFlow without its lines on stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rezoo.models.settings import require_backend
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on
from rezoo.utils.signals import STOPPING, handling
from rezoo.utils.silence import silent_stderr


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the start-up lines of TensorFlow, which is imported inside the block, off stderr.

    They are written by C++ before any setting is read, so the file descriptor is redirected.
    Exceptions of Python pass through. With `REZOO_DEBUG=1` nothing is redirected.

    Raises:
        IncompatibleError: Keras is set to a backend that rezoo does not support.
    """
    require_backend()
    with _late_interrupt():
        if switched_on(DEBUG_VARIABLE):
            yield
            return
        with silent_stderr():
            yield
            if "tensorflow" in sys.modules:
                sys.modules["tensorflow"].constant(0)  # the first operation logs once more


@contextmanager
def _late_interrupt() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block: libraries catch and replace them.

    SIGTERM still ends the process at once where Python has no handler for it.
    """
    asked: list[int] = []
    caught = [n for n in STOPPING if callable(signal.getsignal(n))]
    try:
        with handling(lambda number, frame: asked.append(number), caught):
            yield
    finally:
        if asked:
            raise KeyboardInterrupt(asked[0])
