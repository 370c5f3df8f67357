"""`rezoo examine`: what the parts of a network contribute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rezoo.cli.console import counter, lines, starting, table
from rezoo.cli.options import (
    columns_option,
    data_options,
    device_option,
    examples,
    images_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
    resolve_with_dataset,
)
from rezoo.cli.values import Drawing, complete_models
from rezoo.data.datasets import DataOptions
from rezoo.errors import SpecError
from rezoo.utils.files import write_bytes
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.evaluation.damage.lesions import Lesions


@click.command(epilog=examples("rezoo examine runs/resnet18-digits --lesion --output lesions.svg"))
@click.argument("model", shell_complete=complete_models)
@click.option("--lesion", is_flag=True, help="Replace each block by its shortcut.")
@images_options
@click.option("--output", type=Drawing(), help="Draw the result into this .svg file.")
@device_option
@columns_option
@data_options
@pretrained_option
@require_pinned_option
@json_option
def examine(
    model: str,
    lesion: bool,
    dataset: str | None,
    split: str,
    batch_size: int,
    image_size: int | None,
    crop_mode: str | None,
    output: Path | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    options: DataOptions,
) -> None:
    """Measure what the blocks of MODEL, which has weights, contribute.

    With --lesion: top-1 with each block replaced by its shortcut, and with 95 % intervals. In a
    plain network, which has no shortcuts, the layers of the block are removed.
    """
    if not lesion:
        raise SpecError("nothing to examine is given", hint="give --lesion.")
    source, dataset = resolve_with_dataset(
        model, dataset, pretrained=pretrained, require_pinned=require_pinned
    )
    with starting():
        from rezoo.evaluation.damage.lesions import measure_lesions

    with counter("measuring") as progress:
        result = measure_lesions(
            source,
            dataset,
            split=split,
            batch_size=batch_size,
            image_size=image_size,
            crop_mode=crop_mode,
            options=options,
            progress=progress,
        )
    if output is not None:
        write_bytes(output, result.svg().encode())
    print_json(result.to_dict()) if as_json else _print(result)


def _print(result: Lesions) -> None:
    lines(f"{result.model} on {result.dataset}, {result.split} split", style="bold")
    low, high = result.intact_interval
    table("", result.rows())
    whole = f"whole network: top-1 {result.intact:.2%} ({low:.2%} to {high:.2%})"
    lines(f"{whole}, {count_of(result.count, 'image')}")
    lines(*(f"Note: {note}." for note in result.notes), stderr=True)
