"""`rezoo draw`: networks as a picture, from their graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rezoo.cli.console import lines, starting, status
from rezoo.cli.options import examples, models_argument
from rezoo.cli.values import Drawing
from rezoo.utils.files import refuse_unwritable, write_bytes

if TYPE_CHECKING:
    from rezoo.drawing.picture import Part


@click.command(
    epilog=examples(
        "rezoo draw resnet18 resnet50 -o networks.svg",
        "rezoo draw resnet34 --part blocks -o blocks.svg",
    )
)
@models_argument
@click.option(
    "-o",
    "--output",
    type=Drawing(),
    required=True,
    help="The .svg file; an existing one is replaced.",
)
@click.option(
    "--part",
    type=click.Choice(["network", "ruler", "blocks"]),
    help="Draw only this.  [default: all of one MODEL, the network of several]",
)
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the MODEL's.")
def draw(models: tuple[str, ...], output: Path, part: Part | None, image_size: int | None) -> None:
    """Draw each MODEL from its graph: layers, channels, maps and multiply-adds.

    network: a column of layers for each MODEL, as wide as they have channels, side by side.
    ruler: the layers that the name counts, in stages. blocks: weights and multiply-adds of the
    layers of a block; those of several networks have the same number of channels, if possible.
    """
    from rezoo.sources.references import resolve

    refuse_unwritable(output.parent)
    configs = [resolve(model).config for model in models]  # wrong names first
    with starting():
        from rezoo.drawing.picture import draw_networks, outline_of

    outlines = []
    for config in configs:
        with status(f"building {config.architecture}"):
            pre = config.preprocessing.at(image_size)
            outlines.append(
                outline_of(
                    config.architecture,
                    input_shape=(*pre.size, pre.channels),
                    num_classes=config.num_classes,
                )
            )
    write_bytes(output, draw_networks(outlines, part).encode())
    lines(str(output))
