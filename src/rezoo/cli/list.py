"""`rezoo list`: registered architectures, datasets and recipes, and published weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from rezoo.cli.console import lines, table
from rezoo.cli.options import examples, json_option, print_json
from rezoo.cli.values import LargeNumber
from rezoo.errors import NotFoundError, UnknownNameError
from rezoo.utils.names import natural_key, near


@click.command(
    "list",
    epilog=examples(
        "rezoo list 'resnet*d' --sort params", "rezoo list --weights --max-params 30M --sort top1"
    ),
)
@click.argument("pattern", required=False)
@click.option("--models", "kinds", flag_value="models", help="Only architectures.")
@click.option("--datasets", "kinds", flag_value="datasets", help="Only datasets.")
@click.option("--recipes", "kinds", flag_value="recipes", help="Only recipes.")
@click.option("--records", "kinds", flag_value="records", help="Accuracies that recipes claim.")
@click.option("--weights", "kinds", flag_value="weights", help="Published weights.")
@click.option("--max-params", type=LargeNumber(), help="Largest number of parameters: 30M.")
@click.option("--max-macs", type=LargeNumber(), help="Largest number of MACs for an image: 4.1G.")
@click.option(
    "--licence",
    help="Licence of --weights, such as apache-2.0, or permissive: Apache, BSD, MIT and the like.",
)
@click.option(
    "--sort",
    type=click.Choice(["name", "params", "macs", "top1"]),
    help="Order of architectures or --weights; top1 (--weights only) is descending.",
)
@json_option
def list_command(
    pattern: str | None,
    kinds: str | None,
    max_params: float | None,
    max_macs: float | None,
    licence: str | None,
    sort: str | None,
    as_json: bool,
) -> None:
    """List architectures, datasets and recipes, with the package that each is from.

    PATTERN chooses names, such as 'resnet*d': of architectures if no option names another table.
    With --weights, it matches the architecture, or the whole name as '*.a1_in1k' does. Quote it,
    or the shell puts names of files in its place. The exit code is 2 for a pattern without a match,
    and 3 for limits that leave nothing.

    With --records: the accuracies that recipes claim, also those of plugins, the best of each
    dataset first. With --weights: the published weights of all catalogues. MACs are multiply-adds
    for one image of px pixels; one MAC is two FLOPs.
    """
    limits = {"max_params": max_params, "max_macs": max_macs, "licence": licence}
    limits = {key: value for key, value in limits.items() if value is not None}
    if pattern is not None or limits or sort:
        kinds = kinds or "models"  # the others lack these columns
    _check(kinds, pattern, limits, sort)
    if kinds == "records":
        _show_records(as_json)
        return
    names = [kinds] if kinds else ["models", "datasets", "recipes"]
    tables = {name: _chosen(name, pattern, limits, sort) for name in names}
    if as_json:
        print_json(tables)
        return

    for name, rows in tables.items():
        table(*_without_one_origin(name, [_SHOWN[name](row) for row in rows]))
    if kinds in _NOTES:
        lines(*_NOTES[kinds])


def _check(
    kinds: str | None, pattern: str | None, limits: dict[str, Any], sort: str | None
) -> None:
    if sort and kinds not in ("models", "weights"):
        raise click.UsageError(f"--sort {sort} is for architectures and --weights.")
    if sort == "top1" and kinds != "weights":
        raise click.UsageError("--sort top1 is for --weights: architectures have no accuracy.")
    if "licence" in limits and kinds != "weights":
        raise click.UsageError("--licence is for --weights: add it.")
    if limits and kinds not in ("models", "weights"):
        option = next(iter(limits)).replace("_", "-")
        raise click.UsageError(f"--{option} is for architectures and --weights.")
    if pattern is not None and kinds == "records":
        raise click.UsageError("a pattern is for names: --records has none.")


def _chosen(
    name: str, pattern: str | None, limits: dict[str, Any], sort: str | None
) -> list[dict[str, Any]]:
    """Return the rows of a table that match, in order."""
    from rezoo.sources import selection

    own = {"datasets": _datasets, "recipes": _recipes}
    rows = {**own, "models": selection.model_records, "weights": selection.weights_records}[name]()
    words = "architectures" if name == "models" else name
    if pattern is not None:
        found = selection.matching(rows, pattern)
        if not found:
            known = [key for row in rows for key in (row["name"], row.get("architecture"))]
            close = near(pattern.translate(str.maketrans("", "", "*?[]")), filter(None, known))
            hint = f"Did you mean {' or '.join(close)}?" if close else f"all: rezoo list --{name}."
            raise UnknownNameError(f"no {words} match {pattern!r}", hint=hint)
        rows = found
    found = selection.within(rows, **limits)
    if rows and not found:
        asked = ", ".join(f"--{key.replace('_', '-')} {_written(limits[key])}" for key in limits)
        raise NotFoundError(
            f"none of {len(rows)} {words} is within {asked}", hint="raise a limit, or drop it."
        )
    return selection.in_order(found, sort) if sort else found


def _written(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:,.0f}"


def _model_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "family": row["family"],
        "params": _millions(row["params"]),
        "MACs": _billions(row["macs"]),
        "px": row["image_size"],
        "summary": row["summary"],
        "from": row["from"],
    }


def _datasets() -> list[dict[str, Any]]:
    from rezoo.registry import datasets

    rows = [
        {
            "name": entry.name,
            "classes": spec.classes if spec else None,
            "summary": spec.summary if spec else "does not load",
            "licence": spec.licence if spec else "",
            "from": f"{entry.distribution} {entry.version}",
        }
        for entry, spec in datasets.describe()
    ]
    for name, summary in (
        ("folder:PATH", "your photographs, one folder per class"),
        ("csv:PATH", "your photographs, listed in a table of paths and labels"),
        ("tfds:NAME", "any image classification dataset of TensorFlow Datasets"),
        ("hf:OWNER/NAME", "any image classification dataset of the Hugging Face Hub"),
    ):
        rows.append({"name": name, "classes": None, "summary": summary, "licence": "", "from": ""})
    return rows


def _without_one_origin(title: str, rows: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Move the column `from` to the title if all rows with a package have the same."""
    origins = {row["from"] for row in rows if row.get("from")}
    if len(origins) != 1:
        return title, rows
    kept = [{key: value for key, value in row.items() if key != "from"} for row in rows]
    return f"{title} of {origins.pop()}", kept


def _recipes() -> list[dict[str, Any]]:
    from rezoo.recipes import read_all

    return [
        {
            "name": recipe.name,
            "summary": recipe.summary,
            "expected": dict([claim.expected] if claim and claim.expected else ()),
            "epochs": recipe.epochs if recipe.steps is None else None,
            "steps": recipe.steps,
            "cost": claim.short_cost if claim else "",
        }
        for recipe, claim in read_all()
    ]


def _recipe_row(row: dict[str, Any]) -> dict[str, Any]:
    figures = [f"{100 * part + 1e-9:.1f} %" for part in row["expected"].values()]  # 78.35: 78.4
    return {
        "name": row["name"],
        "summary": row["summary"],
        "top-1": "".join(figures),
        "epochs": row["epochs"],
        "cost": row["cost"],
    }


def _show_records(as_json: bool) -> None:
    from rezoo.recipes import read_all

    records: list[dict[str, Any]] = [
        {
            "dataset": claim.dataset,
            "network": network,
            "top1": top1,
            "tta": claim.tta,
            "tolerance": claim.tolerance,
            "recipe": recipe.name,
            "pflop": claim.pflop or None,
            "cost": claim.cost,
            "hardware": claim.hardware,
            "reproduced": claim.reproduced,
        }
        for recipe, claim in read_all()
        if claim
        for network, top1 in claim.top1.items()
    ]
    records.sort(key=lambda row: (natural_key(row["dataset"]), -row["top1"]))
    if as_json:
        print_json({"records": records})
        return

    table("records", [_record_row(record) for record in records])
    lines(
        "top-1: as the recipe claims it; rezoo info RECIPE shows its source and all of its cost",
        "a plugin's recipe with a claim is in this table, too",
    )


def _record_row(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": record["dataset"],
        "network": record["network"],
        "top-1": f"{record['top1']:.2%} ± {100 * record['tolerance']:g}",
        "--tta": record["tta"],
        "recipe": record["recipe"],
        "PFLOP": f"{record['pflop']:.3g}" if record["pflop"] else "",
        "cost": record["cost"].partition(" (")[0],
        "hardware": record["hardware"],
        "reproduced": record["reproduced"].partition(":")[0] or "not yet",
    }


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f}M"


def _billions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.3f}G"


def _weights_row(record: dict[str, Any]) -> dict[str, Any]:
    marks = {
        "*": record["default"],
        "-": not record["sha256"],
        "+": record["extra_data"],
        "!": record["non_commercial"],
    }
    return {
        "": "".join(mark for mark, holds in marks.items() if holds),
        "name": record["name"],
        "top-1": f"{record['top1']:.2%}" if record["top1"] is not None else "",
        "px": record["image_size"],
        "params": _millions(record["params"]),
        "MACs": _billions(record["macs"]),
        "licence": record["licence"],
    }


_SHOWN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "models": _model_row,
    "datasets": dict,
    "recipes": _recipe_row,
    "weights": _weights_row,
}
_NOTES = {
    "recipes": (
        "top-1: as published by the source; rezoo info NAME shows whether rezoo reproduced it",
    ),
    "weights": (
        "* used by --pretrained; - without a pinned SHA-256: checked against the Hub's",
        "+ trained on more data than ImageNet-1k; ! the licence forbids commercial use",
        "top-1: ImageNet-1k validation as published, at px; see rezoo info NAME",
    ),
}
