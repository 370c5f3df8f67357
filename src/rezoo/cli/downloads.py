"""Progress of downloads: bars on a terminal, a line for each finished file elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rezoo.sources.hub_fetch import reporting_to

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_WORTH_A_LINE = 1_000_000  # bytes


@contextmanager
def shown_downloads() -> Iterator[None]:
    """Show downloads from the Hub inside the block; loads Rich with the first one."""
    downloads = _Downloads()
    try:
        with reporting_to(downloads.update):
            yield
    finally:
        downloads.close()


class _Downloads:
    """The bars of the downloads in progress."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def update(self, name: str, received: int, total: int | None) -> None:
        """Show the progress of one file, in bytes; `total` is None if it is not known."""
        from rezoo.cli.console import escaped, is_live, open_console

        console = open_console(stderr=True)
        if not is_live(console):
            if received == total and received >= _WORTH_A_LINE:
                console.print(escaped(f"downloaded {name}, {received:,} bytes"))
            return
        if self._bars is None:
            self._bars = _new_bars(console)
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=received, total=total)
        if all(task.finished for task in self._bars.tasks):
            self.close()

    def close(self) -> None:
        """Remove the bars."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}


def _new_bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
