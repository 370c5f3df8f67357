"""What the answers of `rezoo data` look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rezoo.cli.console import escaped, new_grid, open_console

if TYPE_CHECKING:
    from rezoo.data.audit.findings import Findings, Group
    from rezoo.data.audit.preparing import Prepared
    from rezoo.data.audit.sheet import Sheet

_SHOWN = 5


def prepared(result: Prepared) -> None:
    """Print where a dataset lies and what it has."""
    console = open_console()
    head = {True: "prepared now", False: "is there already", None: "is ready"}[result.new]
    console.print(escaped(f"{result.dataset}: {head}, {result.seconds:.1f} s", "bold"))
    sizes = ", ".join(f"{split} {count:,}" for split, count in result.examples.items())
    size = "unknown" if result.size is None else f"{result.size:,} bytes"
    for name, value in (
        ("examples", sizes),
        ("classes", f"{result.classes:,}"),
        ("folder", result.folder or "none: a part of a package, or unknown"),
        ("size", size),
        ("licence", result.licence),
        *(("note", note) for note in result.notes),
    ):
        console.print(escaped(f"  {name:<9} {value}"))


def checked(findings: Findings, document: Mapping[str, Any]) -> None:
    """Print what was found, the worst examples of it, and where the report is."""
    console = open_console()
    sizes = ", ".join(f"{split} {count:,}" for split, count in findings.sizes.items())
    console.print(
        escaped(f"{findings.dataset}: {sizes}; {len(findings.classes):,} classes", "bold")
    )
    grid = new_grid(console)
    grid.add_column("problem")
    grid.add_column("found", justify="right")
    grid.add_column("such as", overflow="fold")
    for name, number in findings.problems().items():
        style = "bold red" if number else "dim"
        grid.add_row(
            escaped(name), escaped(f"{number:,}", style), escaped(_such_as(findings, name))
        )
    console.print(grid)
    remarks = ", ".join(f"{n:,} {name}" for name, n in findings.remarks().items() if n)
    if remarks:
        console.print(escaped(f"worth knowing: {remarks}"))
    ratios = ", ".join(f"{split} {ratio:.1f}" for split, ratio in findings.imbalance.items())
    console.print(escaped(f"largest class / smallest: {ratios}"))
    for name, (low, median, high) in findings.spread.items():
        console.print(escaped(f"{name:<10} {low:,.6g} to {high:,.6g}, median {median:,.6g}"))
    console.print(escaped(f"{document['folder']}, {findings.seconds:.0f} s", "bold"))
    listed = f"{document['ignored']:,} examples that the data are better without"
    for name, what in (
        ("data-report.html", "all of it, with pictures"),
        ("data-report.json", "the same for programs"),
        ("ignore.txt", listed),
    ):
        console.print(escaped(f"  {name:<17} {what}"))


def _such_as(findings: Findings, problem: str) -> str:
    """Return a few of the examples that a line of the table counts."""
    examples = {
        "cannot be decoded": [f"{e.key} ({e.note})" for e in findings.undecodable],
        "labels that are no class": [f"{e.key} ({e.note})" for e in findings.bad_labels],
        "keys that stand twice": [e.key for e in findings.repeated_keys],
        "pictures in several splits": [_pair(g) for g in findings.groups if g.across],
        "pictures twice in one split": [_pair(g) for g in findings.groups if not g.across],
        "pictures with several labels": [
            f"{_pair(g)} ({', '.join(g.labels)})" for g in findings.groups if len(g.labels) > 1
        ],
        "classes that a split lacks": [
            f"{split}: {', '.join(names[:_SHOWN])}" for split, names in findings.missing.items()
        ],
    }[problem]
    return "; ".join(examples[:2])


def _pair(group: Group) -> str:
    return " = ".join(f"{m.key} ({m.split})" for m in group.members[:2])


def drawn(result: Sheet) -> None:
    """Print where the sheet is."""
    console = open_console()
    console.print(escaped(f"{result.path}, {result.width}×{result.height} pixels", "bold"))
    console.print(escaped(f"{result.examples} examples of {result.split}: {result.columns}"))
    for note in result.notes:
        console.print(escaped(f"note: {note}"))
