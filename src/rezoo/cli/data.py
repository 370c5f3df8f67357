"""`rezoo data`: get a dataset ready, check it, and look at what a network sees of it."""

from __future__ import annotations

from typing import Any

import click

from rezoo.cli.options import import_quietly, json_option, parse_settings, print_json
from rezoo.errors import IntegrityError


@click.group()
def data() -> None:
    """Prepare, check and look at a dataset.

    A DATASET is a name (digits), folder:PATH, csv:PATH, tfds:NAME or hf:OWNER/NAME.
    """


@data.command()
@click.argument("dataset")
@json_option
def prepare(dataset: str, as_json: bool) -> None:
    """Do now what the first use of DATASET takes: download, convert, decode once.

    Later commands then need no network. Says where it lies and how large it is.
    """
    from rezoo.cli import render, render_data
    from rezoo.data.datasets import dataset_spec

    # a wrong name is answered before TensorFlow is loaded
    dataset_spec(dataset)
    with render.status("starting TensorFlow"):
        import_quietly("tensorflow")
        preparing = import_quietly("rezoo.data.audit.preparing")
    result = preparing.prepare(dataset)
    if as_json:
        print_json(result.to_dict())
    else:
        render_data.prepared(result)


@data.command()
@click.argument("dataset")
@click.option("--output", type=click.Path(), help="Folder for the report [data-check-<name>].")
@click.option("--overwrite", is_flag=True, help="Replace files there that are not the report's.")
@click.option("--strict", is_flag=True, help="End with exit code 5 if there is any problem.")
@json_option
@click.pass_context
def check(
    context: click.Context,
    dataset: str,
    output: str | None,
    overwrite: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Read every example of DATASET once and report what is wrong with it.

    Files that cannot be decoded, pictures that stand twice (also resized, encoded again or
    mirrored), within a split and across splits, labels that contradict each other, classes that
    a split lacks, formats and sizes. Nothing in the data is changed.

    Writes data-report.html, data-report.json and ignore.txt, the list of examples that the
    data are better without.
    """
    from rezoo.cli import render, render_data
    from rezoo.data.datasets import dataset_spec

    dataset_spec(dataset)
    with render.status("starting TensorFlow"):
        checking = import_quietly("rezoo.data.audit.checking")
    with render.counter("reading") as progress:
        findings, document = checking.check(
            dataset, output=output, overwrite=overwrite, progress=progress
        )
    if as_json:
        print_json(document)
    else:
        render_data.checked(findings, document)
    if strict and any(findings.problems().values()):
        context.exit(IntegrityError.exit_code)


@data.command()
@click.argument("dataset")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="train",
    show_default=True,
    help="Part of the data; only train is augmented.",
)
@click.option("--recipe", help="Name or .toml file; the dataset's own if not given.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any recipe key.")
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option("--seed", type=int, help="Of order and augmentation.")
@click.option("--classes", help="Only these classes, separated by commas.")
@click.option("--count", type=int, default=32, show_default=True, help="Examples on the sheet.")
@click.option("--epoch", type=int, default=0, show_default=True, help="The first to draw from.")
@click.option("--draws", type=int, default=3, show_default=True, help="Epochs side by side.")
@click.option("--no-augment", is_flag=True, help="Show the test transform.")
@click.option("--output", type=click.Path(), help="The PNG file [data-sheet-<name>.png].")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@json_option
def show(
    dataset: str,
    split: str,
    recipe: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    image_size: int | None,
    seed: int | None,
    **wanted: Any,
) -> None:
    """Draw what a network sees of DATASET, as one PNG file.

    Each example whole, and as training with the recipe gets it in the epochs from --epoch on.
    """
    changes: dict[str, Any] = {"image_size": image_size, "seed": seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    changes.update(parse_settings(settings, changes))
    from rezoo.cli import render, render_data
    from rezoo.data.audit.request import SheetRequest

    request = SheetRequest.of(dataset, split=split, recipe=recipe, changes=changes, **wanted)
    with render.status("starting TensorFlow"):
        sheet = import_quietly("rezoo.data.audit.sheet")
    with render.counter("drawing") as progress:
        result = sheet.draw_sheet(request, progress=progress)
    if as_json:
        print_json(result.to_dict())
    else:
        render_data.drawn(result)
