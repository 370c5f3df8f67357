"""`rezoo list`: what is registered."""

from __future__ import annotations

from typing import Any

import click

from rezoo.cli.options import json_option, print_json


@click.command("list")
@click.option("--models", "kinds", flag_value="models", help="Only architectures.")
@click.option("--datasets", "kinds", flag_value="datasets", help="Only datasets.")
@click.option("--recipes", "kinds", flag_value="recipes", help="Only recipes.")
@json_option
def list_command(kinds: str | None, as_json: bool) -> None:
    """List architectures, datasets and recipes, with the distribution that brings each."""
    tables = {name: rows() for name, rows in _TABLES.items() if kinds in (None, name)}
    if as_json:
        print_json(tables)
        return
    from rezoo.cli import render

    for name, rows in tables.items():
        render.table(name, rows)


def _models() -> list[dict[str, Any]]:
    from rezoo.registry import architectures

    return [
        {
            "name": entry.name,
            "family": spec.family if spec else "",
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
        ("tfds:NAME", "any image classification dataset of TensorFlow Datasets"),
    ):
        rows.append({"name": name, "classes": None, "summary": summary, "licence": "", "from": ""})
    return rows


def _recipes() -> list[dict[str, Any]]:
    from rezoo.recipes import list_recipes, read_recipe

    return [
        {"name": name, "summary": values["summary"], "epochs": values["epochs"]}
        for name in list_recipes()
        for values in [read_recipe(name)]
    ]


_TABLES = {"models": _models, "datasets": _datasets, "recipes": _recipes}
