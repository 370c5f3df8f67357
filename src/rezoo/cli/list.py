"""`rezoo list`: what is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import json_option, print_json

if TYPE_CHECKING:
    from rezoo.specs import WeightsSpec


@click.command("list")
@click.option("--models", "kinds", flag_value="models", help="Only architectures.")
@click.option("--datasets", "kinds", flag_value="datasets", help="Only datasets.")
@click.option("--recipes", "kinds", flag_value="recipes", help="Only recipes.")
@click.option("--weights", "kinds", flag_value="weights", help="Published weights.")
@json_option
def list_command(kinds: str | None, as_json: bool) -> None:
    """List architectures, datasets and recipes, with the distribution that brings each.

    With --weights: the published weights of all catalogues.
    """
    if kinds == "weights":
        _show_weights(as_json)
        return
    tables = {name: rows() for name, rows in _TABLES.items() if kinds in (None, name)}
    if as_json:
        print_json(tables)
        return
    from rezoo.cli import render

    for row in tables.get("models", ()):
        row["params"] = _millions(row["params"])
    if "recipes" in tables:
        tables["recipes"] = [_recipe_row(row) for row in tables["recipes"]]
    for name, rows in tables.items():
        render.table(name, rows)
    if kinds == "recipes":
        render.lines("top-1: as published, not rezoo's unless rezoo info NAME says so")


def _models() -> list[dict[str, Any]]:
    from rezoo.registry import architectures

    return [
        {
            "name": entry.name,
            "family": spec.family if spec else "",
            "params": spec.params if spec else None,
            "summary": spec.summary if spec else "does not load",
            "from": f"{entry.distribution} {entry.version}",
        }
        for entry, spec in architectures.describe()
    ]


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
        ("folder:PATH", "photographs of yours, one folder a class"),
        ("csv:PATH", "photographs of yours, a table of paths and labels"),
        ("tfds:NAME", "any image classification dataset of TensorFlow Datasets"),
    ):
        rows.append({"name": name, "classes": None, "summary": summary, "licence": "", "from": ""})
    return rows


def _recipes() -> list[dict[str, Any]]:
    from rezoo.recipes import list_recipes, read_with_claim
    from rezoo.recipes.recipe import Recipe

    rows = []
    for name in list_recipes():
        values, claim = read_with_claim(name)
        recipe = Recipe.from_dict(values, origin=name)
        rows.append(
            {
                "name": name,
                "summary": recipe.summary,
                "expected": dict([claim.expected] if claim and claim.expected else ()),
                "epochs": recipe.epochs if recipe.steps is None else None,
                "steps": recipe.steps,
                "cost": claim.short_cost if claim else "",
            }
        )
    return rows


def _recipe_row(row: dict[str, Any]) -> dict[str, Any]:
    figures = [f"{100 * part + 1e-9:.1f} %" for part in row["expected"].values()]  # 78.35: 78.4
    return {
        "name": row["name"],
        "summary": row["summary"],
        "top-1": "".join(figures),
        "epochs": row["epochs"],
        "cost": row["cost"],
    }


def _show_weights(as_json: bool) -> None:
    from rezoo import catalogue

    specs = catalogue.describe()
    if as_json:
        print_json({"weights": [catalogue.to_record(spec) for spec in specs]})
        return
    from rezoo.cli import render

    render.table("weights", [_weights_row(spec) for spec in specs])
    render.lines(
        "* what --pretrained means; - without a pinned SHA-256 yet: not loaded by name",
        "top-1: ImageNet-1k validation as published, at px; rezoo info NAME says more",
    )


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f}M"


def _weights_row(spec: WeightsSpec) -> dict[str, Any]:
    from rezoo import catalogue

    mark = "*" if spec.default else "" if spec.sha256 else "-"
    return {
        "": mark,
        "name": spec.name,
        "top-1": f"{spec.top1:.2%}" if spec.top1 is not None else "",
        "px": spec.preprocessing.for_test().size[0],
        "params": _millions(catalogue.params(spec)),
        "licence": spec.licence,
    }


_TABLES = {"models": _models, "datasets": _datasets, "recipes": _recipes}
