"""`rezoo info`: what an architecture, weights, a dataset or a recipe is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import import_quietly, json_option, print_json

if TYPE_CHECKING:
    from rezoo.models.profile import Profile


@click.command()
@click.argument("name")
@click.option("--image-size", type=int, help="Height and width in pixels for the counts.")
@click.option("--num-classes", type=int, help="Width of the head for the counts.")
@json_option
def info(name: str, image_size: int | None, num_classes: int | None, as_json: bool) -> None:
    """Explain NAME: an architecture, weights, a dataset or a recipe.

    Weights are a folder, hf://owner/name, or published ones (resnet50.a1_in1k), of which the
    catalogue's entry is shown without a network. A recipe is one of rezoo's or a .toml file: it is
    told in words, and what its source reached with it.

    For an architecture: the layer table of the paper, parameters and multiply-adds (MACs),
    counted from the built network. One MAC is two FLOPs; the paper calls a MAC a FLOP.
    """
    from rezoo import recipes, registry
    from rezoo.errors import UnknownNameError
    from rezoo.sources import catalogue

    if name in registry.datasets.names():
        spec = registry.datasets.get(name)
        fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
        _show({k: v for k, v in fields.items() if k != "open"}, as_json)
    elif name.endswith(".toml") or name in recipes.list_recipes():
        _show_recipe(name, as_json)
    elif name in catalogue.list_weights():
        _show(catalogue.to_record(catalogue.get(name)), as_json)
    else:
        try:
            document, profile = _network(name, image_size, num_classes)
        except UnknownNameError as error:
            known = [
                *registry.datasets.names(),
                *recipes.list_recipes(),
                *catalogue.list_weights(),
            ]
            raise _with_more_names(error, name, known) from None
        if as_json:
            print_json(document)
            return
        from rezoo.cli import render

        render.network(document, profile)


def _network(
    name: str, image_size: int | None, num_classes: int | None
) -> tuple[dict[str, Any], Profile]:
    from rezoo.models.factory import create_model
    from rezoo.registry import architectures
    from rezoo.sources.references import resolve

    source = resolve(name)
    profile = import_quietly("rezoo.models.profile").profile
    config = source.config
    classes = config.num_classes if num_classes is None else num_classes
    pre = config.preprocessing.at(image_size)
    shape = (*pre.size, pre.channels)
    model = create_model(config.architecture, num_classes=classes, input_shape=shape)
    counted = profile(model, input_shape=shape)
    spec = architectures.get(config.architecture)
    document = {
        "name": name,
        "architecture": config.architecture,
        "family": spec.family,
        "summary": spec.summary,
        "source": spec.source,
        "input_shape": list(shape),
        "num_classes": classes,
        "weighted_layers": counted.weighted_layers,
        "params": counted.params,
        "statistics": counted.statistics,
        "macs": counted.macs,
        "flops": counted.flops,
        "activations": counted.activations,
        "stages": [dataclasses.asdict(stage) for stage in counted.stages()],
    }
    if source.has_weights:
        document["licence"] = source.licence
        document["repository"] = str(source.address) if source.address else None
        document["sealed"] = bool(config.files)
        document["class_names"] = list(config.class_names)
        document |= {"multi_label": True} if config.multi_label else {}
        document["preprocessing"] = dataclasses.asdict(config.preprocessing)
    return document, counted


def _show_recipe(name: str, as_json: bool) -> None:
    from rezoo.recipes import read_with_claim
    from rezoo.recipes.describe import explain, explain_claim
    from rezoo.recipes.recipe import Recipe

    values, claim = read_with_claim(name)
    recipe = Recipe.from_dict(values, origin=f"recipe {name}")
    if as_json:
        print_json({**recipe.to_dict(), "claim": claim.to_dict() if claim else None})
        return
    from rezoo.cli import render

    render.recipe(recipe, [*explain(recipe), *explain_claim(claim, recipe.source)])


def _show(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(fields)
        return
    from rezoo.cli import render

    render.fields(fields)


def _with_more_names(error: Exception, name: str, known: list[str]) -> Exception:
    from rezoo.errors import UnknownNameError
    from rezoo.registry import architectures
    from rezoo.utils.names import near

    close = near(name, [*architectures.names(), *known])
    hint = f"Did you mean {' or '.join(close)}?" if close else getattr(error, "hint", "")
    return UnknownNameError(
        f"no architecture, dataset, recipe or folder is called {name!r}", hint=hint
    )
