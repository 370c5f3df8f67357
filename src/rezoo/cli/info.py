"""`rezoo info`: details of an architecture, weights, a dataset or a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import escaped, fields, lines, new_grid, open_console, starting
from rezoo.cli.options import (
    examples,
    json_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import complete_models

if TYPE_CHECKING:
    from rezoo.errors import UnknownNameError
    from rezoo.models.profile import Profile
    from rezoo.sources.references import Source
    from rezoo.specs import ModelSpec, WeightsSpec


@click.command(
    epilog=examples("rezoo info resnet50", "rezoo info finetune", "rezoo info runs/resnet18-digits")
)
@click.argument("name", shell_complete=complete_models)
@click.option("--image-size", type=int, help="Height and width in pixels for the counts.")
@click.option("--num-classes", type=int, help="Width of the head for the counts.")
@click.option("--layers", is_flag=True, help="Build the network, and show its layer table.")
@require_pinned_option
@json_option
def info(
    name: str,
    image_size: int | None,
    num_classes: int | None,
    layers: bool,
    require_pinned: bool,
    as_json: bool,
) -> None:
    """Show details of NAME: an architecture, weights, a dataset or a recipe.

    Weights are a folder, hf://owner/name, or published ones (resnet50.a1_in1k), whose entry in
    the catalogue is shown. A recipe is one of rezoo's or a .toml file; the keys that differ from
    the defaults are shown, and the results of its source.

    For an architecture: parameters and multiply-adds (MACs). Those of another size, another
    head and each layer (--layers, the table of the paper) are counted from the built network.
    One MAC is two FLOPs; the paper calls a MAC a FLOP.
    """
    from rezoo import recipes, registry
    from rezoo.errors import UnknownNameError
    from rezoo.sources import catalogue
    from rezoo.sources.references import resolve

    if name in registry.datasets.names():
        spec = registry.datasets.get(name)
        content = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
        _show({k: v for k, v in content.items() if k != "open"}, as_json)
    elif name.endswith(".toml") or name in recipes.list_recipes():
        _show_recipe(name, as_json)
    elif name in catalogue.list_weights():
        _show_weights(catalogue.get(name), require_pinned, as_json)
    else:
        try:
            source = resolve(name, require_pinned=require_pinned)
            _show_network(source, image_size, num_classes, layers, as_json)
        except UnknownNameError as error:
            raise _with_more_names(error, name) from None


def _show(content: Mapping[str, Any], as_json: bool) -> None:
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

    summary = f": {recipe.summary}" if recipe.summary else ""
    lines(f"{recipe.name}{summary}", style="bold")
    fields(dict([*explain(recipe), *explain_claim(claim, recipe.source)]))


def _show_weights(spec: WeightsSpec, require_pinned: bool, as_json: bool) -> None:
    from rezoo.registry import architectures
    from rezoo.sources.hub_address import MAIN, Address
    from rezoo.sources.refusals import check_pinned
    from rezoo.sources.selection import weights_record

    if require_pinned:
        check_pinned(spec.name, Address(spec.repo, spec.commit or MAIN), spec)
    registered = spec.architecture in architectures.names()
    network = architectures.get(spec.architecture) if registered else None
    _show(weights_record(spec, network), as_json)


def _show_network(
    source: Source, image_size: int | None, num_classes: int | None, layers: bool, as_json: bool
) -> None:
    from rezoo.registry import architectures
    from rezoo.utils.licences import forbids_commercial_use

    config = source.config
    spec = architectures.get(config.architecture)
    classes = config.num_classes if num_classes is None else num_classes
    pre = config.preprocessing.at(image_size)
    shape = (*pre.size, pre.channels)
    # the counts of the spec hold for this size and this head; another one is built and counted
    stated = (spec.image_size, spec.image_size, 3) == shape and spec.num_classes == classes
    counted = None
    if layers or not (stated and spec.params and spec.macs):
        counted = _built(config.architecture, classes, shape)
    document = {
        "name": source.reference,
        "architecture": config.architecture,
        "family": spec.family,
        "summary": spec.summary,
        "source": spec.source,
        "input_shape": list(shape),
        "num_classes": classes,
        **_counts(spec, counted),
    }
    if source.has_weights:
        document |= {
            "licence": source.licence,
            "non_commercial": forbids_commercial_use(source.licence),
            "extra_data": source.published.extra_data if source.published else "",
            "repository": str(source.address) if source.address else None,
            "sealed": bool(config.files),
            "class_names": list(config.class_names),
            **({"multi_label": True} if config.multi_label else {}),
            "preprocessing": dataclasses.asdict(config.preprocessing),
            "calibration": config.calibration.to_json() if config.calibration else None,
        }
    if as_json:
        print_json(document)
        return
    _print_network(document, counted)
    if source.has_weights and config.calibration:
        fields(config.calibration.in_words())


def _built(architecture: str, classes: int, shape: tuple[int, int, int]) -> Profile:
    """Build a network, and count it; TensorFlow is loaded here."""
    with starting():
        from rezoo.models.factory import create_model
        from rezoo.models.profile import profile

    model = create_model(architecture, num_classes=classes, input_shape=shape)
    return profile(model, input_shape=shape)


def _counts(spec: ModelSpec, counted: Profile | None) -> dict[str, Any]:
    """Return the counts that the spec states, or those of the built network."""
    if counted is None:
        macs = spec.macs or 0
        return {"params": spec.params, "macs": macs, "flops": 2 * macs}
    return {
        "weighted_layers": counted.weighted_layers,
        "params": counted.params,
        "statistics": counted.statistics,
        "macs": counted.macs,
        "flops": counted.flops,
        "activations": counted.activations,
        "stages": [dataclasses.asdict(stage) for stage in counted.stages()],
    }


def _print_network(document: Mapping[str, Any], counted: Profile | None) -> None:
    """Print the counts of a network, and its layer table if it was built."""
    lines(f"{document['name']}: {document['summary']}", style="bold")
    lines(document["source"])
    if counted is not None:
        _print_layers(counted)
    lines(*_notes(document, counted))


def _print_layers(counted: Profile) -> None:
    console = open_console()
    grid = new_grid(console)
    for column in ("stage", "output", "layers"):
        grid.add_column(column, no_wrap=column != "layers")
    for column in ("weighted layers", "parameters", "MACs"):
        grid.add_column(column, justify="right", no_wrap=column != "weighted layers")
    for stage in counted.stages():
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
        "all", "", "", str(counted.weighted_layers), f"{counted.params:,}", f"{counted.macs:,}"
    )
    console.print(grid)


def _notes(document: Mapping[str, Any], counted: Profile | None) -> Iterator[str]:
    height, width, channels = document["input_shape"]
    macs = document["macs"]
    yield (
        f"for one image of {height}×{width}×{channels}: {macs:,} MACs, that is {macs / 1e9:.2f} "
        f"GMACs = {2 * macs / 1e9:.2f} GFLOPs (1 MAC, a multiply-add, is 2 FLOPs; the paper's "
        '"FLOPs" are MACs)'
    )
    params = f"{document['params']:,} trainable parameters, {document['num_classes']:,} classes"
    if counted is None:
        yield params
        yield f"layer table: rezoo info {document['name']} --layers"
    else:
        yield (
            f"{params}; {counted.statistics:,} running statistics; {counted.activations:,} "
            "activations, the outputs of convolutions and fc"
        )
        yield "weighted layers are convolutions and fc, without projection shortcuts"
    if "licence" in document:
        where = document["repository"] or "a local folder"
        state = "with a manifest" if document["sealed"] else "without a manifest"
        licence = document["licence"] or "not stated"
        if document["non_commercial"]:
            licence = f"{licence}, which forbids commercial use"
        yield f"weights: {where}, licence {licence}, {state}"
        if document["extra_data"]:
            yield f"trained on {document['extra_data']}"


def _with_more_names(error: UnknownNameError, name: str) -> UnknownNameError:
    """Return the error with near names of every kind."""
    from rezoo import recipes, registry
    from rezoo.sources import catalogue
    from rezoo.utils.names import near
    from rezoo.utils.paths import expanded
    from rezoo.utils.timm_names import NOT_BUILT

    if "." in name or name in NOT_BUILT or expanded(name).is_dir():
        return error  # it names weights, the network of timm, or the folder
    known = (
        *registry.architectures.names(),
        *registry.datasets.names(),
        *recipes.list_recipes(),
        *catalogue.list_weights(),
    )
    close = near(name, known)
    hint = f"Did you mean {' or '.join(close)}?" if close else error.hint
    return type(error)(f"no architecture, dataset, recipe or folder is called {name!r}", hint=hint)
