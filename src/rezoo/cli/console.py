"""The console that commands print on: no markup from texts, no colours where none are wanted."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from rezoo.utils.names import printable

_WIDE = 160  # columns of a table that no terminal limits


def escaped(content: str, style: str = "") -> RichText:
    """Return text without markup and without control characters."""
    return RichText(printable(content), style)


def open_console(stderr: bool = False) -> Console:
    """Return a console on stdout or stderr: as wide as the terminal, wide where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _WIDE,
    )


def new_grid(console: Console, title: str = "") -> Table:
    """Return an empty table, drawn in ASCII where the stream takes nothing else."""
    unicode = console.encoding.startswith("utf")
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD if unicode else box.ASCII,
        pad_edge=False,
    )


def size(count: float) -> str:
    """Return a number of bytes with its unit."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
