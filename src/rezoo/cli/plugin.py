"""`rezoo plugin`: write a plugin, list the installed ones, check one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import lines, starting, status, table
from rezoo.cli.options import examples, json_option, print_json

if TYPE_CHECKING:
    from rezoo.testing.contract import Result

_MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


@click.group()
def plugin() -> None:
    """Write, list and check packages that add names to rezoo."""


@plugin.command(
    epilog=examples("rezoo plugin new tinynet", "rezoo plugin new birds --kind dataset")
)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["architecture", "dataset", "recipe"]),
    default="architecture",
    show_default=True,
    help="What the package adds.",
)
@json_option
def new(name: str, kind: str, as_json: bool) -> None:
    """Write a package that adds NAME: with tests, README and a workflow for GitHub.

    The folder is rezoo-NAME in the current one. The package works as it is: its network, data or
    recipe is a small one that you replace.
    """
    from rezoo.testing.new_package import write_package

    made = write_package(name, kind)
    if as_json:
        document = {"folder": str(made.folder), "files": list(made.files)}
        print_json(document)
        return
    click.echo("\n".join(f"{made.folder}/{path}" for path in made.files))
    click.echo(
        f"\nNow:\n  pip install -e {made.folder}\n  rezoo plugin check {name}\n  {made.command}"
    )


@plugin.command("list", epilog=examples("rezoo plugin list", "rezoo plugin list --json"))
@json_option
def list_plugins(as_json: bool) -> None:
    """List what installed packages add to rezoo, and what of it does not load."""
    from rezoo import registry
    from rezoo.testing.installed import installed

    rows = [dataclasses.asdict(found) for found in installed()]
    if as_json:
        print_json({"disabled": registry.plugins_disabled(), "plugins": rows})
        return

    if registry.plugins_disabled():
        lines(f"{registry.DISABLE_VARIABLE} is set: no plugin is loaded.")
    elif not rows:
        lines("no plugins; rezoo plugin new NAME writes one")
    else:
        table("plugins", [_row(row) for row in rows])


def _row(row: dict[str, Any]) -> dict[str, str]:
    return {
        "name": row["name"],
        "kind": row["kind"],
        "package": f"{row['distribution']} {row['version']}",
        "state": f"{row['state']}: {row['reason']}" if row["reason"] else row["state"],
    }


@plugin.command(epilog=examples("rezoo plugin check tinynet", "rezoo plugin check rezoo-tinynet"))
@click.argument("name")
@json_option
def check(name: str, as_json: bool) -> None:
    """Check that NAME, or all that the package NAME adds, keeps the contract of rezoo.

    Prints one line a check. The exit code is 7 if a check fails, and 6 if Keras runs on a backend
    that rezoo does not support. A dataset is opened, which may download it: without a network, the
    exit code is 4.
    """
    from rezoo.testing.contract import require
    from rezoo.testing.subjects import named, subject_at

    entries = named(name)
    with starting():
        import keras  # noqa: F401 - the checks use it
    found: dict[str, list[Result]] = {}
    with TemporaryDirectory() as scratch:
        for number, (kind, entry) in enumerate(entries):
            folder = Path(scratch, str(number))
            folder.mkdir()
            subject = subject_at(kind, entry, folder)
            title = f"{entry.name}, {subject.origin}"
            found[title] = _run(title, subject, quiet=as_json)
    if as_json:
        rows = {title: [dataclasses.asdict(r) for r in results] for title, results in found.items()}
        print_json({"checked": rows})
    require(found, reasons=False)
    if not as_json:
        lines(_counted(found))


def _counted(found: dict[str, list[Result]]) -> str:
    """Return how many checks passed and were skipped, in words."""
    outcomes = [result.outcome for results in found.values() for result in results]
    skipped = outcomes.count("skipped")
    passed = f"{outcomes.count('passed')} checks passed"
    return f"{passed}, {skipped} skipped" if skipped else passed


def _run(title: str, subject: Any, *, quiet: bool) -> list[Result]:
    """Run the checks of a subject and print each result."""
    from rezoo.testing.subjects import results

    found = []
    if not quiet:
        lines(title)
    with status(f"checking {title}"):
        for result in results(subject):
            found.append(result)
            if not quiet:
                lines(f"  {_MARKS[result.outcome]:8}{result.check:18}{result.text}")
            if result.trace:
                lines(result.trace, stderr=True)
    return found
