"""A last line that is overwritten: the progress of a function of Python, without a library."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import TextIO, TypeAlias

Show: TypeAlias = Callable[[int, int], None]
"""Called with the number done and the total."""
Progress: TypeAlias = Show | bool | None
"""A function to call with them; True shows them, False and None do not."""

_WIDTH = 100  # characters, at most
_EVERY_S = 0.1


def fitting(parts: Iterable[str], room: int) -> str:
    """Return parts of a line, separated by two blanks; one that does not fit is left out whole."""
    text = ""
    for part in parts:
        longer = f"{text}  {part}" if text else part
        text = longer if len(longer) <= room else text
    return text


class LiveLine:
    """Lines of text, below which one is overwritten on a terminal and in a notebook.

    Args:
        stream: Where they go. By default stderr, or stdout in a notebook, where text on stderr is
            displayed as an error.
        live: Whether the last line is written at all; None for a terminal or a notebook.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        notebook = "ipykernel" in sys.modules
        self._stream = stream or (sys.stdout if notebook else sys.stderr)
        self.live = (notebook or self._stream.isatty()) if live is None else live
        self._shown = 0  # characters of the line that is overwritten

    def show(self, *parts: str) -> None:
        """Overwrite the line; parts that do not fit into the terminal are left out whole."""
        if not self.live:
            return
        text = fitting(parts, min(_WIDTH, shutil.get_terminal_size().columns - 1))
        self._write(f"\r{text}{' ' * (self._shown - len(text))}")
        self._shown = len(text)

    def print(self, text: str) -> None:
        """Print a line in place of the one that is overwritten."""
        self.clear()
        self._write(f"{text}\n")

    def clear(self) -> None:
        """Remove the line that is overwritten."""
        if self._shown:
            self._write(f"\r{' ' * self._shown}\r")
            self._shown = 0

    def keep(self) -> None:
        """End the line that is overwritten; it stays."""
        if self._shown:
            self._write("\n")
            self._shown = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class CountedLine:
    """Shows the number done, the total and the time left; the line goes when all are done."""

    def __init__(self, what: str) -> None:
        self._what, self._line = what, LiveLine()
        self._began, self._shown_s = time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show a number of those done."""
        now = time.monotonic()
        if done >= total:
            self._line.clear()
        elif now - self._shown_s >= _EVERY_S:
            self._shown_s = now
            left_s = (now - self._began) / max(done, 1) * (total - done)
            self._line.show(f"{self._what} {done:,} of {total:,}", f"{left_s:.0f} s left")


def counted(progress: Progress, what: str) -> Show:
    """Return the function to call with the number done and the total; `what` names the work."""
    if callable(progress):
        return progress
    return CountedLine(what) if progress else lambda done, total: None
