"""`rezoo predict`: predict the classes of images."""

from __future__ import annotations

import click

from rezoo.cli.options import import_quietly, json_option, pretrained_option, print_json
from rezoo.errors import IntegrityError
from rezoo.utils.names import printable


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top-k",
    type=int,
    help="Classes to show [5; multi-label: those above 0.5].",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@pretrained_option
@json_option
@click.pass_context
def predict(
    context: click.Context,
    model: str,
    images: tuple[str, ...],
    top_k: int | None,
    batch_size: int,
    image_size: int | None,
    pretrained: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, folders, patterns) with MODEL, which has weights.

    A multi-label network gives each class a probability of its own.

    Ends with exit code 5 if a file cannot be decoded; the other files are classified.
    """
    from rezoo.cli import render
    from rezoo.sources.references import resolve_weights

    # before TensorFlow is loaded, so that the error for a wrong name comes at once
    source = resolve_weights(model, pretrained=pretrained)
    with render.status("starting TensorFlow"):
        prediction = import_quietly("rezoo.evaluation.predict")
    with render.counter("classifying") as progress:
        results = prediction.predict(
            source,
            images,
            top_k=top_k,
            batch_size=batch_size,
            image_size=image_size,
            progress=progress,
        )
    if as_json:
        print_json([result.to_dict() for result in results])
    else:
        render.predictions(results)
    failed = [f"{r.path}: {r.error}" for r in results if r.error]
    if failed:
        for line in failed:
            click.echo(f"Error: {printable(line)}", err=True)
        context.exit(IntegrityError.exit_code)
