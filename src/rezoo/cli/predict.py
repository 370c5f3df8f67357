"""`rezoo predict`: the most likely classes of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    devices_options,
    geometry_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.errors import IntegrityError, SpecError
from rezoo.utils.names import printable

if TYPE_CHECKING:
    from rezoo.evaluation.predict import Prediction


def _explain_options(command: Any) -> Any:
    """Add --explain and its options; refuse them before hosts are waited for, if they conflict."""

    @wraps(command)
    def run(**given: Any) -> Any:
        if given["explain"] is None and (given["wanted"] or given["overwrite"]):
            raise SpecError(
                f"--{'class' if given['wanted'] else 'overwrite'} has no effect without --explain",
                hint="add --explain FOLDER.",
            )
        several = given["devices"] not in (None, 1) or given["hosts"]
        if given["explain"] is not None and several:
            raise SpecError(
                "--explain computes on one device", hint="leave --devices and --hosts out."
            )
        return command(**given)

    for option in (
        click.option("--overwrite", is_flag=True, help="Replace pictures of --explain."),
        click.option("--class", "wanted", metavar="NAME", help="Class to draw [the likeliest]."),
        click.option("--explain", metavar="FOLDER", help="Draw where the class is found, as PNGs."),
    ):
        run = option(run)
    return run


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--top-k", type=int, help="Classes to show [5; if multi-label, those above 0.5].")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@geometry_options
@_explain_options
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
    crop_mode: str | None,
    explain: str | None,
    wanted: str | None,
    overwrite: bool,
    devices: int | str | None,
    hosts: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, folders, patterns) with MODEL, which has weights.

    A multi-label network gives an independent probability for each class.

    --explain FOLDER also writes a picture of each image: what the network sees of it, and its class
    activation map.

    The exit code is 5 if some file cannot be decoded; the others are still classified.
    """
    from rezoo.cli.console import counter, load
    from rezoo.data.finding import find_images
    from rezoo.evaluation.explaining.picture_files import picture_paths
    from rezoo.sources.references import resolve_weights

    # wrong names are errors before TensorFlow is imported
    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    found = find_images(images)
    options: dict[str, Any] = {
        "top_k": top_k,
        "batch_size": batch_size,
        "image_size": image_size,
        "crop_mode": crop_mode,
    }
    if explain is None:
        function = load("rezoo.evaluation.predict").predict
        options |= {"devices": devices, "hosts": hosts}
    else:
        paths = picture_paths(found, explain, images, overwrite=overwrite)
        function = load("rezoo.evaluation.explaining.explanations").explain
        options |= {"paths": paths, "wanted": wanted}
    with counter("classifying") as progress:
        answers: Sequence[Prediction] = function(source, found, progress=progress, **options)
    print_json([answer.to_dict() for answer in answers]) if as_json else _print(answers)
    failed = [f"{a.path}: {a.error}" for a in answers if a.error]
    if failed:
        for line in failed:
            click.echo(f"Error: {printable(line)}", err=True)
        context.exit(IntegrityError.exit_code)


def _print(results: Sequence[Prediction]) -> None:
    from rezoo.cli.console import escaped, lines, new_grid, open_console

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
    pictures = [picture for result in results if (picture := getattr(result, "picture", ""))]
    if pictures:
        count = "1 picture" if len(pictures) == 1 else f"{len(pictures):,} pictures"
        lines(f"{count} of activation maps, such as {pictures[0]}")
