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

    With --weights: the published weights of all catalogues. `*` marks what --pretrained means.
    Those without a pinned SHA-256 are not loaded by name.
    """
    if kinds == "weights":
        _show_weights(as_json)
        return
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


def _show_weights(as_json: bool) -> None:
    from rezoo import catalogue

    specs = catalogue.describe()
    if as_json:
        print_json({"weights": [_weights_record(spec) for spec in specs]})
        return
    from rezoo.cli import render

    render.table("weights", [_weights_row(spec) for spec in specs])


def _weights_record(spec: WeightsSpec) -> dict[str, Any]:
    pre = spec.preprocessing.for_test()
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "default": spec.default,
        "repo": spec.repo,
        "commit": spec.commit or None,
        "sha256": spec.sha256 or None,
        "bytes": spec.size,
        "licence": spec.licence,
        "num_classes": spec.num_classes,
        "image_size": pre.size[0],
        "top1": spec.top1,
        "top5": spec.top5,
        "train_image_size": spec.preprocessing.size[0],
        "top1_train_size": spec.top1_train_size,
        "top5_train_size": spec.top5_train_size,
        "note": spec.note,
        "catalogue": spec.catalogue,
    }


def _weights_row(spec: WeightsSpec) -> dict[str, Any]:
    pinned = "commit, hash" if spec.commit else "hash"
    return {
        "": "*" if spec.default else "",
        "name": spec.name,
        "top-1": f"{spec.top1:.2%}" if spec.top1 is not None else "",
        "px": spec.preprocessing.for_test().size[0],
        "MB": f"{spec.size / 1e6:.0f}" if spec.size else "",
        "licence": spec.licence,
        "pinned": pinned if spec.sha256 else "no",
        "note": spec.note,
    }


_TABLES = {"models": _models, "datasets": _datasets, "recipes": _recipes}
