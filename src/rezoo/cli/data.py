"""`rezoo data`: get a dataset ready, check it, and look at what a network sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import counter, escaped, lines, new_grid, open_console, starting
from rezoo.cli.options import (
    SPLITS,
    columns_option,
    examples,
    json_option,
    parse_settings,
    print_json,
)
from rezoo.cli.values import DatasetReference
from rezoo.errors import IntegrityError
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.data.audit.findings import Findings
    from rezoo.data.audit.sheet import Sheet
    from rezoo.data.prepare import PreparedDataset


@click.group()
def data() -> None:
    """Prepare, check and look at a dataset.

    A DATASET is a name (digits), folder:PATH, csv:PATH, tfds:NAME or hf:OWNER/NAME.
    """


@data.command(epilog=examples("rezoo data prepare oxford_iiit_pet"))
@click.argument("dataset", type=DatasetReference())
@columns_option
@json_option
def prepare(dataset: str, as_json: bool) -> None:
    """Download and convert DATASET now, not at its first use.

    Later commands need no network. Prints the folder and its size.
    """
    from rezoo.data.dataset_references import dataset_spec

    dataset_spec(dataset)  # a wrong name is an error before TensorFlow is loaded
    with starting():
        import tensorflow  # noqa: F401 - opening uses it
    from rezoo.data.prepare import prepare_dataset

    result = prepare_dataset(dataset)
    print_json(result.to_dict()) if as_json else _print_prepared(result)


@data.command(epilog=examples("rezoo data check folder:photos --strict"))
@click.argument("dataset", type=DatasetReference())
@columns_option
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
    """Read every example of DATASET once and report its faults.

    Files that cannot be decoded, duplicate images (also resized, encoded again or mirrored)
    within a split and across splits, labels that contradict each other, classes missing from
    a split, formats and sizes. The data are not changed.

    Writes data-report.html, data-report.json and ignore.txt, the list of examples to leave out.
    """
    from rezoo.data.dataset_references import dataset_spec

    dataset_spec(dataset)
    with starting():
        from rezoo.data.audit import check as audit

    with counter("reading") as progress:
        findings, document = audit.check(
            dataset, output=output, overwrite=overwrite, progress=progress
        )
    print_json(document) if as_json else _print_findings(findings, document)
    if strict and any(findings.problems().values()):
        context.exit(IntegrityError.exit_code)


@data.command(epilog=examples("rezoo data show folder:photos --recipe finetune"))
@click.argument("dataset", type=DatasetReference())
@columns_option
@click.option(
    "--split",
    type=SPLITS,
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
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@json_option
def show(
    dataset: str,
    settings: tuple[str, ...],
    as_json: bool,
    image_size: int | None,
    seed: int | None,
    **wanted: Any,
) -> None:
    """Draw images of DATASET as the network receives them, as one PNG file.

    Each example is drawn whole, and as training receives it in the epochs from --epoch on.
    """
    changes: dict[str, Any] = {"image_size": image_size, "seed": seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    changes.update(parse_settings(settings, changes))
    from rezoo.data.audit.sheet import SheetRequest, draw_sheet

    request = SheetRequest.of(dataset, changes=changes, **wanted)
    with starting():
        import tensorflow  # noqa: F401 - drawing uses it
    with counter("drawing") as progress:
        sheet = draw_sheet(request, progress=progress)
    print_json(sheet.to_dict()) if as_json else _print_sheet(sheet)


def _print_prepared(result: PreparedDataset) -> None:
    state = {True: "prepared now", False: "already prepared", None: "ready"}[result.new]
    size = "unknown" if result.size is None else f"{result.size:,} bytes"
    lines(f"{result.dataset}: {state}, {result.elapsed_s:.1f} s", style="bold")
    lines(
        f"  examples  {_sizes(result.examples)}",
        f"  classes   {result.classes:,}",
        f"  folder    {result.folder or 'none: part of a package, or unknown'}",
        f"  size      {size}",
        f"  licence   {result.licence}",
        *(f"  note      {note}" for note in result.notes),
    )


def _print_findings(findings: Findings, document: Mapping[str, Any]) -> None:
    """Print the findings, the first cases of each problem, and the files of the report."""
    console = open_console()
    classes = count_of(len(findings.classes), "class")
    lines(f"{findings.dataset}: {_sizes(findings.examples)}; {classes}", style="bold")
    grid = new_grid(console)
    grid.add_column("problem")
    grid.add_column("found", justify="right")
    grid.add_column("such as", overflow="fold")
    for name, cases in findings.problems().items():
        number = escaped(f"{len(cases):,}", "bold red" if cases else "dim")
        grid.add_row(escaped(name), number, escaped("; ".join(cases[:2])))
    console.print(grid)
    lines(*(f"note: {note}" for note in findings.notes))
    remarks = ", ".join(f"{n:,} {name}" for name, n in findings.remarks.items() if n)
    if remarks:
        lines(f"worth knowing: {remarks}")
    ratios = ", ".join(f"{split} {ratio:.1f}" for split, ratio in findings.imbalance.items())
    lines(f"largest class / smallest: {ratios}")
    for name, spread in findings.spread.items():
        low, median, high = (f"{value:,.6g}" for value in spread.values())
        lines(f"{name:<10} {low} to {high}, median {median}")
    lines(f"{document['folder']}, {findings.elapsed_s:.0f} s", style="bold")
    lines(
        "  data-report.html  all findings, with images",
        "  data-report.json  the same for programs",
        f"  ignore.txt        {count_of(document['ignored'], 'example')} to leave out",
    )


def _print_sheet(sheet: Sheet) -> None:
    lines(f"{sheet.path}, {sheet.width}×{sheet.height} pixels", style="bold")
    lines(f"{count_of(sheet.examples, 'example')} of {sheet.split}: {sheet.columns}")
    lines(*(f"note: {note}" for note in sheet.notes))


def _sizes(examples: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in examples.items())
