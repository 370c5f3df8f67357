"""`rezoo predict`: the most likely classes of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rezoo.cli.options import (
    devices_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.errors import IntegrityError
from rezoo.utils.names import printable

if TYPE_CHECKING:
    from rezoo.evaluation.predict import Prediction


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--top-k", type=int, help="Classes to show [5; if multi-label, those above 0.5].")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@pretrained_option
@require_pinned_option
@devices_options
@json_option
@click.pass_context
def predict(
    context: click.Context,
    model: str,
    images: tuple[str, ...],
    top_k: int | None,
    batch_size: int,
    image_size: int | None,
    devices: int | str | None,
    hosts: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, folders, patterns) with MODEL, which has weights.

    A multi-label network gives an independent probability for each class.

    The exit code is 5 if some file cannot be decoded; the others are still classified.
    """
    from rezoo.cli.console import counter, load
    from rezoo.data.finding import find_images
    from rezoo.sources.references import resolve_weights

    # wrong names are errors before TensorFlow is imported
    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    found = find_images(images)
    prediction = load("rezoo.evaluation.predict")
    with counter("classifying") as progress:
        results = prediction.predict(
            source,
            found,
            top_k=top_k,
            batch_size=batch_size,
            image_size=image_size,
            devices=devices,
            hosts=hosts,
            progress=progress,
        )
    print_json([result.to_dict() for result in results]) if as_json else _print(results)
    failed = [f"{r.path}: {r.error}" for r in results if r.error]
    if failed:
        for line in failed:
            click.echo(f"Error: {printable(line)}", err=True)
        context.exit(IntegrityError.exit_code)


def _print(results: Sequence[Prediction]) -> None:
    from rezoo.cli.console import escaped, new_grid, open_console

    console = open_console()
    grid = new_grid(console)
    grid.add_column("image", overflow="fold")
    grid.add_column("class", overflow="fold")
    grid.add_column("probability", justify="right")
    for result in results:
        first = escaped(result.path)
        if result.error:
            grid.add_row(first, escaped(result.error), "")
        if result.unknown:
            grid.add_row(first, escaped("unknown", "bold"), "")
            first = escaped("")
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            grid.add_row(first, escaped(label), f"{probability:.1%}")
            first = escaped("")
    console.print(grid)
