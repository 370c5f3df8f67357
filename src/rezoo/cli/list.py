"""`rezoo list`: registered architectures, datasets and recipes, and published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import examples, json_option, print_json
from rezoo.utils.names import natural_key

if TYPE_CHECKING:
    from rezoo.specs import WeightsSpec


@click.command("list", epilog=examples("rezoo list --models", "rezoo list --recipes --json"))
@click.option("--models", "kinds", flag_value="models", help="Only architectures.")
@click.option("--datasets", "kinds", flag_value="datasets", help="Only datasets.")
@click.option("--recipes", "kinds", flag_value="recipes", help="Only recipes.")
@click.option("--records", "kinds", flag_value="records", help="Accuracies that recipes claim.")
@click.option("--weights", "kinds", flag_value="weights", help="Published weights.")
@click.option(
    "--sort",
    type=click.Choice(["name", "params", "macs", "top1"]),
    help="Order of architectures or --weights; top1 (--weights only) is descending.",
)
@json_option
def list_command(kinds: str | None, sort: str | None, as_json: bool) -> None:
    """List architectures, datasets and recipes, with the package that each is from.

    With --records: the accuracies that recipes claim, also those of plugins, the best of each
    dataset first. With --weights: the published weights of all catalogues. MACs are multiply-adds
    for one image of px pixels; one MAC is two FLOPs.
    """
    kinds = kinds or ("models" if sort else None)  # the others lack these columns
    _check_sort(kinds, sort)
    if kinds == "weights":
        _show_weights(sort, as_json)
        return
    if kinds == "records":
        _show_records(as_json)
        return
    tables = {name: rows() for name, rows in _TABLES.items() if kinds in (None, name)}
    if sort:
        tables["models"] = _sorted(tables["models"], sort)
    if as_json:
        print_json(tables)
        return
    from rezoo.cli.console import lines, table

    if "models" in tables:
        tables["models"] = [_model_row(row) for row in tables["models"]]
    if "recipes" in tables:
        tables["recipes"] = [_recipe_row(row) for row in tables["recipes"]]
    for name, rows in tables.items():
        table(*_without_one_origin(name, rows))
    if kinds == "recipes":
        lines(
            "top-1: as published by the source; rezoo info NAME shows whether rezoo reproduced it"
        )


def _check_sort(kinds: str | None, sort: str | None) -> None:
    if sort and kinds not in ("models", "weights"):
        raise click.UsageError(f"--sort {sort} is for architectures and --weights.")
    if sort == "top1" and kinds != "weights":
        raise click.UsageError("--sort top1 is for --weights: architectures have no accuracy.")


def _sorted(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return rows in ascending order, descending for top1; rows without the value come last."""
    if key == "name":
        return sorted(rows, key=lambda row: natural_key(row["name"]))
    sign = -1 if key == "top1" else 1
    return sorted(rows, key=lambda row: (row[key] is None, sign * (row[key] or 0)))


def _models() -> list[dict[str, Any]]:
    from rezoo.registry import architectures

    return [
        {
            "name": entry.name,
            "family": spec.family if spec else "",
            "params": spec.params if spec else None,
            "macs": spec.macs if spec else None,
            "image_size": spec.image_size if spec else None,
            "num_classes": spec.num_classes if spec else None,
            "summary": spec.summary if spec else "does not load",
            "from": f"{entry.distribution} {entry.version}",
        }
        for entry, spec in architectures.describe()
    ]


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
    from rezoo.cli.console import lines, table

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


def _show_weights(sort: str | None, as_json: bool) -> None:
    from rezoo.sources import catalogue

    records = [{**catalogue.to_record(spec), "macs": _macs(spec)} for spec in catalogue.describe()]
    if sort:
        records = _sorted(records, sort)
    if as_json:
        print_json({"weights": records})
        return
    from rezoo.cli.console import lines, table

    table("weights", [_weights_row(record) for record in records])
    lines(
        "* used by --pretrained; - without a pinned SHA-256: checked against the Hub's",
        "top-1: ImageNet-1k validation as published, at px; see rezoo info NAME",
    )


def _macs(spec: WeightsSpec) -> int | None:
    """Return the MACs that the entry states, or those of its architecture at the same size."""
    from rezoo.registry import architectures

    if spec.macs is not None or spec.architecture not in architectures.names():
        return spec.macs
    network = architectures.get(spec.architecture)
    size = (network.image_size, network.image_size)
    same = spec.preprocessing.for_test().size == size and spec.num_classes == network.num_classes
    return network.macs if same else None


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f}M"


def _billions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.3f}G"


def _weights_row(record: dict[str, Any]) -> dict[str, Any]:
    mark = "*" if record["default"] else "" if record["sha256"] else "-"
    return {
        "": mark,
        "name": record["name"],
        "top-1": f"{record['top1']:.2%}" if record["top1"] is not None else "",
        "px": record["image_size"],
        "params": _millions(record["params"]),
        "MACs": _billions(record["macs"]),
        "licence": record["licence"],
    }


_TABLES = {"models": _models, "datasets": _datasets, "recipes": _recipes}
