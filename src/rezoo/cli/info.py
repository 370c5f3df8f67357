"""`rezoo info`: details of an architecture, weights, a dataset or a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import import_quietly, json_option, print_json

if TYPE_CHECKING:
    from rezoo.errors import UnknownNameError
    from rezoo.models.profile import Profile


@click.command()
@click.argument("name")
@click.option("--image-size", type=int, help="Height and width in pixels for the counts.")
@click.option("--num-classes", type=int, help="Width of the head for the counts.")
@json_option
def info(name: str, image_size: int | None, num_classes: int | None, as_json: bool) -> None:
    """Show details of NAME: an architecture, weights, a dataset or a recipe.

    Weights are a folder, hf://owner/name, or published ones (resnet50.a1_in1k), whose entry in
    the catalogue is shown. A recipe is one of rezoo's or a .toml file; the keys that differ from
    the defaults are shown, and the results of its source.

    For an architecture: the layer table of the paper, parameters and multiply-adds (MACs),
    counted from the built network. One MAC is two FLOPs; the paper calls a MAC a FLOP.
    """
    from rezoo import recipes, registry
    from rezoo.errors import UnknownNameError
    from rezoo.sources import catalogue

    if name in registry.datasets.names():
        spec = registry.datasets.get(name)
        content = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
        _show({k: v for k, v in content.items() if k != "open"}, as_json)
    elif name.endswith(".toml") or name in recipes.list_recipes():
        _show_recipe(name, as_json)
    elif name in catalogue.list_weights():
        _show(catalogue.to_record(catalogue.get(name)), as_json)
    else:
        try:
            _show_network(name, image_size, num_classes, as_json)
        except UnknownNameError as error:
            raise _with_more_names(error, name) from None


def _show(content: Mapping[str, Any], as_json: bool) -> None:
    from rezoo.cli.console import fields

    print_json(content) if as_json else fields(content)


def _show_recipe(name: str, as_json: bool) -> None:
    from rezoo.recipes import read_with_claim
    from rezoo.recipes.describe import explain, explain_claim
    from rezoo.recipes.recipe import Recipe

    values, claim = read_with_claim(name)
    recipe = Recipe.from_dict(values, origin=f"recipe {name}")
    if as_json:
        print_json({**recipe.to_dict(), "claim": claim.to_dict() if claim else None})
        return
    from rezoo.cli.console import fields, lines

    summary = f": {recipe.summary}" if recipe.summary else ""
    lines(f"{recipe.name}{summary}", style="bold")
    fields(dict([*explain(recipe), *explain_claim(claim, recipe.source)]))


def _show_network(
    name: str, image_size: int | None, num_classes: int | None, as_json: bool
) -> None:
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
        document |= {
            "licence": source.licence,
            "repository": str(source.address) if source.address else None,
            "sealed": bool(config.files),
            "class_names": list(config.class_names),
            **({"multi_label": True} if config.multi_label else {}),
            "preprocessing": dataclasses.asdict(config.preprocessing),
        }
    print_json(document) if as_json else _print_network(document, counted)


def _print_network(document: Mapping[str, Any], profile: Profile) -> None:
    """Print the layer table of an architecture and its counts."""
    from rezoo.cli.console import escaped, lines, new_grid, open_console

    console = open_console()
    lines(f"{document['name']}: {document['summary']}", style="bold")
    lines(document["source"])
    grid = new_grid(console)
    for column in ("stage", "output", "layers"):
        grid.add_column(column, no_wrap=column != "layers")
    for column in ("weighted layers", "parameters", "MACs"):
        grid.add_column(column, justify="right")
    for stage in profile.stages():
        grid.add_row(
            stage.name,
            "×".join(map(str, stage.output_shape)),
            escaped(stage.contents),
            str(stage.weighted_layers or ""),
            f"{stage.params:,}" if stage.params else "",
            f"{stage.macs:,}" if stage.macs else "",
        )
    grid.add_section()
    grid.add_row(
        "all", "", "", str(profile.weighted_layers), f"{profile.params:,}", f"{profile.macs:,}"
    )
    console.print(grid)
    lines(*_notes(document, profile))


def _notes(document: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    height, width, channels = profile.input_shape
    yield (
        f"for one image of {height}×{width}×{channels}: {profile.macs / 1e9:.2f} GMACs = "
        f"{profile.flops / 1e9:.2f} GFLOPs (1 MAC, a multiply-add, is 2 FLOPs; the paper's "
        '"FLOPs" are MACs)'
    )
    yield (
        f"{profile.params:,} trainable parameters, {profile.statistics:,} running statistics; "
        f"{profile.activations:,} activations, the outputs of convolutions and fc"
    )
    yield "weighted layers are convolutions and fc, without projection shortcuts"
    if "licence" in document:
        where = document["repository"] or "a local folder"
        state = "with a manifest" if document["sealed"] else "without a manifest"
        yield f"weights: {where}, licence {document['licence'] or 'not stated'}, {state}"


def _with_more_names(error: UnknownNameError, name: str) -> UnknownNameError:
    """Return the error with near names of every kind."""
    from rezoo import recipes, registry
    from rezoo.sources import catalogue
    from rezoo.utils.names import near

    known = (
        *registry.architectures.names(),
        *registry.datasets.names(),
        *recipes.list_recipes(),
        *catalogue.list_weights(),
    )
    close = near(name, known)
    hint = f"Did you mean {' or '.join(close)}?" if close else error.hint
    return type(error)(f"no architecture, dataset, recipe or folder is called {name!r}", hint=hint)
