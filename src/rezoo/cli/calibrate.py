"""`rezoo calibrate`: what the confidence of a run means, from its validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rezoo.cli.console import counter, fields, lines, starting
from rezoo.cli.options import (
    batch_size_option,
    columns_option,
    data_options,
    dataset_option,
    device_option,
    examples,
    json_option,
    print_json,
)
from rezoo.data.datasets import DataOptions
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.evaluation.calibrating.calibration import Calibrated


@click.command(
    epilog=examples(
        "rezoo calibrate runs/resnet50-photos",
        "rezoo calibrate runs/resnet50-photos --false-alarms 0.01",
    )
)
@click.argument("run")
@dataset_option
@click.option(
    "--false-alarms",
    type=float,
    default=0.05,
    show_default=True,
    help="Part of the validation images that may be refused as unknown.",
)
@batch_size_option
@device_option
@columns_option
@data_options
@json_option
def calibrate(
    run: str,
    dataset: str | None,
    false_alarms: float,
    batch_size: int,
    as_json: bool,
    options: DataOptions,
) -> None:
    """Measure the temperature of RUN's probabilities, and a threshold for "unknown".

    Both come from the validation split, and are written to config.json. predict, push, and
    exports that give probabilities use them. A multi-label network gets a temperature only.

    The test split is not used, so rezoo eval measures on it how good the calibration is.
    """
    from rezoo.data.dataset_references import dataset_spec
    from rezoo.sources.references import resolve_weights

    # wrong names are errors before TensorFlow is imported
    source = resolve_weights(run)
    if dataset:
        dataset_spec(dataset)
    with starting():
        from rezoo.evaluation.calibrating import calibration

    with counter("calibrating") as progress:
        result = calibration.calibrate(
            source,
            dataset,
            false_alarms=false_alarms,
            batch_size=batch_size,
            options=options,
            progress=progress,
        )
    print_json(result.to_dict()) if as_json else _print(result)


def _print(result: Calibrated) -> None:
    found = result.calibration
    loss = f"{result.loss_before:.4f} before, {result.loss_after:.4f} after"
    images = count_of(found.images, "validation image")
    lines(f"{result.model} on {result.dataset}, {images}", style="bold")
    fields({**found.in_words(), "loss": loss})
    lines(f"Measure it on the test split: rezoo eval {result.model}", stderr=True)
    lines(*(f"Note: {note}." for note in result.notes), stderr=True)
