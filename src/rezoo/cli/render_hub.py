"""What `verify`, `push` and downloads look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rezoo.cli.console import escaped, new_grid, open_console

if TYPE_CHECKING:
    from rezoo.publishing.plan import PushPlan
    from rezoo.publishing.push import Pushed
    from rezoo.publishing.verify import Verification


def verification(result: Verification) -> None:
    """Print what was compared, and whether all of it holds."""
    console = open_console()
    grid = new_grid(console)
    grid.add_column("what", no_wrap=True, style="bold")
    grid.add_column("holds", no_wrap=True)
    grid.add_column("found", overflow="fold")
    words = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "dim")}
    for check in result.checks:
        grid.add_row(escaped(check.what), escaped(*words[check.holds]), escaped(check.found))
    console.print(escaped(result.reference, "bold"))
    console.print(grid)
    if result.origin:
        console.print(escaped(f"weights: {result.origin}"))
    console.print(escaped(f"computed on {result.backend}"))
    failed = [check.what for check in result.checks if check.holds is False]
    if failed:
        console.print(escaped(f"Does not hold: {', '.join(failed)}.", "bold red"))
    else:
        console.print(escaped("Everything that is recorded holds.", "bold"))


def push_plan(plan: PushPlan, *, with_card: bool = False, to_stderr: bool = False) -> None:
    """Print what a push is about to do."""
    console = open_console(stderr=to_stderr)
    where = {True: "is there", False: "will be created", None: "was not reached"}[plan.exists]
    kind = "private" if plan.private else "public"
    console.print(escaped(f"{plan.folder} to hf://{plan.repo} ({kind}), which {where}", "bold"))
    if plan.note:
        console.print(escaped(f"Note: {plan.note}."))
    grid = new_grid(console)
    grid.add_column("file", style="bold")
    grid.add_column("bytes", justify="right")
    grid.add_column("")
    for upload in plan.uploads:
        grid.add_row(escaped(upload.name), f"{upload.size:,}", upload.state)
    grid.add_section()
    grid.add_row("all", f"{sum(upload.size for upload in plan.uploads):,}", "")
    console.print(grid)
    if with_card:
        console.print(escaped("README.md", "bold"))
        console.print(escaped(plan.card), soft_wrap=True)


def pushed(result: Pushed) -> None:
    """Print what is on the Hub now, and how others use it."""
    console = open_console()
    if not result.changed:
        console.print(escaped(f"{result.url} has all of it already, at {result.commit}"))
        return
    console.print(escaped(f"pushed to {result.url}", "bold"))
    console.print(escaped(f"commit {result.commit}"))
    console.print(escaped("for everyone who may read it"))
    console.print(escaped(f'  rezoo.load("{result.reference}")'))
    console.print(escaped(f"  rezoo verify {result.reference}"))


_WORTH_A_LINE = 1_000_000  # bytes


class Downloads:
    """Bars on a terminal, one a file; a line for each finished file elsewhere.

    Called with the file's name, the bytes that have come and, where known, the bytes in all.
    """

    def __init__(self) -> None:
        self._console = open_console(stderr=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Show how far a download is."""
        if not self._console.is_terminal:
            if done == total and done >= _WORTH_A_LINE:
                self._console.print(escaped(f"downloaded {name}, {done:,} bytes"))
            return
        if self._bars is None:
            self._bars = _bars(self._console)
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
        if all(task.finished for task in self._bars.tasks):
            self.close()

    def close(self) -> None:
        """Give the terminal back, whatever has become of the downloads."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
