"""`rezoo export`: a network as a file of another runtime, with its passport."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rezoo.cli.options import import_quietly, json_option, pretrained_option, print_json
from rezoo.errors import SpecError
from rezoo.exporters.formats import FORMATS, INPUTS, OUTPUTS, QUANTIZATIONS, get_format

_AUTO = "auto"


@click.command()
@click.argument("model", required=False)
@click.option("--to", help=f"{', '.join(FORMATS)}, or auto: the fastest here.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the export.")
@click.option(
    "--quantize",
    type=click.Choice(QUANTIZATIONS),
    default="none",
    show_default=True,
    help="float16: weights; dynamic: weights in int8; int8: all.",
)
@click.option(
    "--input",
    "takes",
    type=click.Choice(INPUTS),
    default="tensor",
    show_default=True,
    help="Prepared float32 images, or raw uint8 ones of any size.",
)
@click.option(
    "--values",
    "gives",
    type=click.Choice(OUTPUTS),
    default="logits",
    show_default=True,
    help="What the network gives.",
)
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@click.option("--dataset", help="Images to compare on; a run folder's own data if not given.")
@click.option("--images", type=int, default=256, show_default=True, help="So many at most.")
@click.option("--calibrate", help="Data whose training images calibrate int8; as --dataset.")
@click.option(
    "--calibration-images", type=int, default=500, show_default=True, help="So many at most."
)
@click.option("--tolerance", type=float, help="Largest relative difference, instead of ours.")
@click.option(
    "--aim",
    type=click.Choice(["latency", "throughput"]),
    default="latency",
    show_default=True,
    help="Of --to auto: one image, or 16.",
)
@click.option("--threads", type=int, help="Of the runtime, for the figures.")
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@click.option("--list", "as_list", is_flag=True, help="Show the formats, and what is installed.")
@pretrained_option
@json_option
def export(
    model: str | None,
    to: str | None,
    output: Path | None,
    pretrained: bool,
    as_list: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write MODEL, which has weights, in another format, and prove that it is the same.

    The file is opened in its own runtime and compared with its source on real images: the
    reference batch of a run, and images of --dataset. What was found stands in passport.json
    beside it. An export that differs by more than its tolerance is not kept: exit code 6, and
    the first layer that differs.

    Batch normalization is folded into the convolutions; class names, preprocessing, licence and
    origin are in the file. Tensors are (N, height, width, channels).
    """
    from rezoo.cli import render, render_export
    from rezoo.sources.references import resolve_weights

    if as_list:
        rows = [_row(name) for name in FORMATS]
        print_json(rows) if as_json else render_export.formats(rows)
        return
    if model is None or to is None:
        raise SpecError("MODEL and --to are needed", hint="rezoo export runs/a --to onnx")
    _check(options)
    aim = options.pop("aim")
    if to != _AUTO:
        kind = get_format(to)
        kind.check(quantize=options["quantize"], takes=options["takes"])
        kind.require()
    # wrong names are answered before TensorFlow is loaded
    source = resolve_weights(model, pretrained=pretrained)
    options["dataset"] = options["dataset"] or _own_dataset(source)
    with render.status("starting TensorFlow"):
        module = import_quietly("rezoo.exporters.export")
        choosing = import_quietly("rezoo.exporters.choosing")
    with render.status("exporting") as say:
        if to == _AUTO:
            passport, rows = choosing.export_fastest(
                source, output=output, aim=aim, say=say, **options
            )
        else:
            passport, rows = module.export(source, to, output=output, say=say, **options), []
    if as_json:
        print_json({**passport.to_dict(), **({"tried": rows} if rows else {})})
    else:
        render_export.passport(passport, rows)


def _check(options: dict[str, Any]) -> None:
    for name in ("images", "calibration_images", "threads", "image_size"):
        value = options[name]
        if value is not None and value < 1:
            raise SpecError(f"--{name.replace('_', '-')} {value}; allowed is 1 or more")
    if options["tolerance"] is not None and not options["tolerance"] >= 0:
        raise SpecError(f"--tolerance {options['tolerance']}; allowed is 0 or more")


def _own_dataset(source: Any) -> str | None:
    from rezoo.artifacts.config import local_facts

    return local_facts(source.folder).get("dataset") if source.folder else None


def _row(name: str) -> dict[str, Any]:
    kind = FORMATS[name]
    return {
        "name": kind.name,
        "summary": kind.summary,
        "file": kind.file,
        "quantize": list(kind.quantizations),
        "input": list(kind.inputs),
        "installed": not kind.missing,
        "install": kind.install if kind.missing else "",
    }
