"""Printing with Rich: answers on stdout, progress on stderr.

Text from files and plugins is never read as markup. Without a terminal there are no colours
and no progress bars. Rich is imported by the functions that need it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import TYPE_CHECKING, Any

from rezoo.cli.quiet import quietly
from rezoo.utils.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as RichText

    from rezoo.utils.live_line import Show

_WIDE = 160  # columns without a terminal
_SHORT = 14  # columns of a text that is not broken
_GAP = 3  # columns between two of a table
_RIGHT = ("params", "MACs", "top-1")  # columns of numbers that are given as text


def escaped(content: str, style: str = "") -> RichText:
    """Return text without markup and without control characters."""
    from rich.text import Text as RichText

    return RichText(printable(content), style)


def open_console(stderr: bool = False) -> Console:
    """Return a console on stdout or stderr, as wide as the terminal, or wide without one."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _WIDE,
    )


def is_live(console: Console) -> bool:
    """Return whether a console on stderr can overwrite lines, for spinners and bars.

    `FORCE_COLOR` and `TTY_COMPATIBLE` make Rich take a pipe for a terminal, but only for colours.
    """
    return sys.stderr.isatty() and console.is_interactive


def new_grid(console: Console, title: str = "") -> Table:
    """Return an empty table, with borders in ASCII if the stream is not in Unicode."""
    from rich import box
    from rich.table import Table

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


def table(title: str, rows: Sequence[Mapping[str, Any]], right: Iterable[str] = ()) -> None:
    """Print records as a table; the keys of the first are the columns.

    Columns in `right` are numbers that are given as text.

    Names and numbers are never cut: a narrow terminal cuts the column `summary`, breaks other long
    texts, and leaves out columns that still do not fit, with a line that says so.
    """
    console = open_console()
    if not rows:
        console.print(escaped(f"{title}: none"))
        return
    texts = {key: [_cell(row[key]) for row in rows] for key in rows[0]}
    widths = {key: max(map(len, (key, *cells))) for key, cells in texts.items()}
    numeric = {
        key
        for key in texts
        if key in (*_RIGHT, *right)
        or all(isinstance(row[key], (int, float, NoneType)) for row in rows)
    }
    rigid = {k for k in texts if k in numeric or k == "name" or widths[k] <= _SHORT}
    least = {key: widths[key] if key in rigid else _SHORT for key in texts}
    shown = _columns_that_fit(least, rigid, console.width)
    free = console.width - sum(least[key] + _GAP for key in shown if key != "summary")
    grid = new_grid(console, title)
    for key in shown:
        grid.add_column(
            key,
            justify="right" if key in numeric else "left",
            no_wrap=key in rigid or key == "summary",
            overflow="ellipsis" if key == "summary" else "fold",
            min_width=least[key],
            max_width=max(free, least[key]) if key == "summary" else None,
            style="bold" if key == "name" else "",
        )
    for cells in zip(*(texts[key] for key in shown), strict=True):
        grid.add_row(*map(escaped, cells))
    console.print(grid)
    if left_out := [key for key in texts if key not in shown]:
        console.print(escaped(f"a wider terminal also shows: {', '.join(left_out)}"))


def _columns_that_fit(least: Mapping[str, int], rigid: Container[str], room: int) -> list[str]:
    """Return the columns that a table of some width has room for, in their order.

    Long texts are left out first, and the rightmost before the others; the first column stays.
    """
    shown = list(least)
    order = sorted(shown[:0:-1], key=lambda key: key in rigid)
    for key in order:
        if sum(least[k] + _GAP for k in shown) <= room:
            break
        shown.remove(key)
    return shown


def fields(content: Mapping[str, Any]) -> None:
    """Print one key and its value per line; the entries of a mapping below each other."""
    from rich.table import Table

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
    if not is_live(console):
        yield lambda text: None
        return
    with console.status(escaped(text)) as shown:
        yield lambda text: shown.update(escaped(text))


@contextmanager
def starting() -> Iterator[None]:
    """Show a spinner on a terminal while TensorFlow is imported inside the block; see `quietly`."""
    with status("starting TensorFlow"), quietly():
        yield


@contextmanager
def counter(text: str) -> Iterator[Show]:
    """Show a progress bar on a terminal; yields a function of the number done and the total."""
    from rich import progress

    console = open_console(stderr=True)
    if not is_live(console):
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
