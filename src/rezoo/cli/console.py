"""Printing with Rich: answers on stdout, progress on stderr.

Text from files and plugins is never read as markup. Without a terminal there are no colours
and no progress bars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from rezoo.cli.quiet import import_quietly
from rezoo.utils.names import printable

_WIDE = 160  # columns without a terminal
_RIGHT = ("params", "MACs", "top-1")  # columns of numbers that are given as text


def escaped(content: str, style: str = "") -> RichText:
    """Return text without markup and without control characters."""
    return RichText(printable(content), style)


def open_console(stderr: bool = False) -> Console:
    """Return a console on stdout or stderr, as wide as the terminal, or wide without one."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _WIDE,
    )


def new_grid(console: Console, title: str = "") -> Table:
    """Return an empty table, with borders in ASCII if the stream is not in Unicode."""
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


def lines(*texts: str, stderr: bool = False, style: str = "") -> None:
    """Print lines of text."""
    console = open_console(stderr)
    for text in texts:
        console.print(escaped(text, style))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records as a table; the keys of the first are the columns."""
    console = open_console()
    if not rows:
        console.print(escaped(f"{title}: none"))
        return
    grid = new_grid(console, title)
    for key in rows[0]:
        numeric = key in _RIGHT or all(isinstance(row[key], (int, float, NoneType)) for row in rows)
        grid.add_column(
            key,
            justify="right" if numeric else "left",
            no_wrap=numeric or key == "name",
            overflow="fold",  # a long word is broken, not cut off
            style="bold" if key == "name" else "",
        )
    for row in rows:
        grid.add_row(*(escaped(_cell(value)) for value in row.values()))
    console.print(grid)


def fields(content: Mapping[str, Any]) -> None:
    """Print one key and its value per line; the entries of a mapping below each other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for key, value in content.items():
        if isinstance(value, Mapping):
            text = "\n".join(f"{k}: {_cell(v)}" for k, v in value.items()) or "none"
        else:
            text = _cell(value)
        grid.add_row(key, escaped(text))
    open_console().print(grid)


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Show a text with a spinner on a terminal; yields a function that replaces the text."""
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(escaped(text)) as shown:
        yield lambda text: shown.update(escaped(text))


def load(module: str) -> Any:
    """Import a module that imports TensorFlow, with a spinner on a terminal."""
    with status("starting TensorFlow"):
        return import_quietly(module)


@contextmanager
def counter(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal; yields a function of the number done and the total."""
    from rich import progress

    console = open_console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[count]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(text, total=None, count="")
        yield lambda done, total: bars.update(
            task, completed=done, total=total, count=f"{done:,}/{total:,}" if total else ""
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {_cell(v)}" for k, v in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
