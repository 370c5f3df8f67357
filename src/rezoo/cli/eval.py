"""`rezoo eval`: how good the predictions of a network are on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import counter, lines, starting, table
from rezoo.cli.distributed import devices_options, is_first_host
from rezoo.cli.options import (
    columns_option,
    data_options,
    device_option,
    examples,
    images_options,
    json_option,
    new_file,
    pretrained_option,
    print_json,
    require_pinned_option,
    resolve_with_dataset,
)
from rezoo.cli.values import DatasetReference, complete_models
from rezoo.data.dataset_references import dataset_spec
from rezoo.data.datasets import DataOptions
from rezoo.errors import SpecError
from rezoo.utils.files import refuse_inside_dataset
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.data.unreadable import Faults
    from rezoo.evaluation.calibrating.separation import UnknownImages
    from rezoo.evaluation.damage.drops import Robustness
    from rezoo.evaluation.result import Evaluation
    from rezoo.sources.references import Source


@click.command(
    "eval",
    epilog=examples(
        "rezoo eval runs/resnet50-photos --record",
        "rezoo eval resnet50.a1_in1k --dataset imagenet2012 --csv answers.csv",
    ),
)
@click.argument("model", shell_complete=complete_models)
@images_options
@click.option(
    "--tta",
    type=click.Choice(["flip", "shift", "ten-crop"]),
    help="Mean probability with the mirror image; with shifts by a pixel, too; or of four corners "
    "and the centre. The last two with their mirror images.",
)
@click.option(
    "--unknown",
    type=DatasetReference(),
    metavar="DATASET",
    help="Images of none of the classes, such as folder:PATH: measure how many are recognized.",
)
@click.option(
    "--corruptions",
    metavar="KIND,…|all",
    help="Also measure on corrupted images at five severities: noise, blur, colour, digital, or "
    "single kinds such as jpeg.",
)
@click.option("--classes", is_flag=True, help="Print a row for each class, too.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write a table with a row for each image.")
@click.option("--predictions", metavar="FILE", help="Write logits and truth of each image (npz).")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--record", is_flag=True, help="Keep the result in the run folder MODEL.")
@devices_options
@device_option
@columns_option
@data_options
@pretrained_option
@require_pinned_option
@json_option
def eval_command(
    model: str,
    dataset: str | None,
    tta: str | None,
    unknown: str | None,
    corruptions: str | None,
    classes: bool,
    csv_file: str | None,
    predictions: str | None,
    overwrite: bool,
    record: bool,
    devices: int | str | None,
    hosts: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    options: DataOptions,
    **images: Any,
) -> None:
    """Measure MODEL, which has weights: accuracy, F1, calibration, with 95 % intervals.

    For multi-label data: mean average precision, F1 and exact match.

    Images are preprocessed as the weights require. The folder of a run stays as it is; with
    --record it gets the predictions, a new report and, for its own test split, scores and card.
    """
    source, dataset = resolve_with_dataset(
        model, dataset, pretrained=pretrained, require_pinned=require_pinned
    )
    if unknown:
        dataset_spec(unknown)
    kinds = _kinds(corruptions, source, tta)
    wanted = (("--csv", csv_file), ("--predictions", predictions))
    files = [_checked(name, option, dataset, overwrite=overwrite) for option, name in wanted]
    where: dict[str, Any] = {"devices": devices, "hosts": hosts}
    with starting():
        from rezoo.evaluation.calibrating.unknown_images import unknown_for
        from rezoo.evaluation.evaluate import evaluate_setting
        from rezoo.evaluation.recording import record_evaluation, require_run
        from rezoo.evaluation.setting import setting_of

    if record:
        require_run(source)
    setting = setting_of(source, dataset, options=options, **images)
    others = unknown_for(setting, unknown, options) if unknown else None
    with counter("evaluating") as progress:
        result = evaluate_setting(setting, tta=tta, progress=progress, **where)
    if is_first_host():
        _write(result, *files)
    told, robustness = _measure_more(result, others, kinds, where)
    _print_json(result, told, robustness) if as_json else _print(result, told, robustness, classes)
    if record and is_first_host():
        names = record_evaluation(result, robustness)
        click.echo(f"recorded in {source.folder}: {', '.join(names)}", err=True)


def _kinds(corruptions: str | None, source: Source, tta: str | None) -> tuple[str, ...]:
    """Return the kinds of corruption that `--corruptions` names; none without it."""
    from rezoo.evaluation.damage.corruptions import select_kinds

    if corruptions is None:
        return ()
    if tta:
        raise SpecError("--corruptions is measured without --tta", hint="leave one of them out.")
    names = [name.strip() for name in corruptions.split(",") if name.strip()]
    return select_kinds(names, channels=source.config.preprocessing.channels)


def _measure_more(
    result: Evaluation, others: Faults | None, kinds: tuple[str, ...], where: dict[str, Any]
) -> tuple[UnknownImages | None, Robustness | None]:
    """Compare an evaluation with unknown images and with corrupted ones, if there are any."""
    from rezoo.evaluation.calibrating.unknown_images import tell_apart
    from rezoo.evaluation.damage.robustness import measure_corrupted

    told = robustness = None
    if others:
        with counter("comparing with unknown images") as progress:
            told = tell_apart(result, others, progress)
    if kinds:
        with counter("corrupting") as progress:
            robustness = measure_corrupted(result, kinds, progress=progress, **where)
    return told, robustness


def _checked(name: str | None, option: str, dataset: str, *, overwrite: bool) -> Path | None:
    """Return the path of a file to be written; raises `SpecError` if it must not be."""
    if name is None:
        return None
    path = new_file(name, option=option, overwrite=overwrite)
    refuse_inside_dataset(path, dataset)
    return path


def _write(result: Evaluation, csv_file: Path | None, predictions: Path | None) -> None:
    if csv_file:
        from rezoo.evaluation.prediction_table import write_csv

        write_csv(result.predictions, csv_file)
    if predictions:
        result.predictions.write(predictions)


def _print_json(
    result: Evaluation, told: UnknownImages | None, robustness: Robustness | None
) -> None:
    more = {"unknown": told, "corruptions": robustness}
    print_json(result.to_dict() | {key: found.to_dict() for key, found in more.items() if found})


def _print(
    result: Evaluation,
    told: UnknownImages | None,
    robustness: Robustness | None,
    classes: bool,
) -> None:
    images = count_of(len(result.predictions), "image")
    lines(f"{result.model} on {result.dataset}, {result.split} split, {images}", style="bold")
    rows = [
        {"figure": f.name, "value": f.shown, "95 % interval": f.shown_interval}
        for f in result.shown.values()
    ]
    table("", rows)
    if classes:
        table("", result.class_rows())
    elif weakest := result.task.weakest(result.classes):
        lines(weakest)
    lines(f"input {result.preprocessing}")
    if told:
        table(f"known images against {told.unknown}", told.rows())
        lines(*told.summary())
    if robustness:
        table("on corrupted images", robustness.rows())
        lines(robustness.summary())
    notes = dict.fromkeys((*result.notes, *(told.notes if told else ())))
    lines(*(f"Note: {note}." for note in notes), stderr=True)
