"""`rezoo eval`: how good the predictions of a network are on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    columns_option,
    data_options,
    device_option,
    devices_options,
    examples,
    images_options,
    is_first_host,
    json_option,
    new_file,
    pretrained_option,
    print_json,
    require_pinned_option,
    resolve_with_dataset,
)
from rezoo.cli.values import DatasetReference, complete_models
from rezoo.data.datasets import DataOptions, dataset_spec
from rezoo.errors import SpecError
from rezoo.utils.files import refuse_inside_dataset
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.data.unreadable import Faults
    from rezoo.evaluation.calibrating.separation import UnknownImages
    from rezoo.evaluation.damage.drops import Robustness
    from rezoo.evaluation.result import Evaluation
    from rezoo.evaluation.setting import Setting
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
    on_bad_image: str,
    bad_limit: float,
    ignore: str,
    **images: Any,
) -> None:
    """Measure MODEL, which has weights: accuracy, F1, calibration, with 95 % intervals.

    For multi-label data: mean average precision, F1 and exact match.

    Images are preprocessed as the weights require. The folder of a run stays as it is; with
    --record it gets the predictions, a new report and, for its own test split, scores and card.
    """
    from rezoo.cli.console import counter, load

    source, dataset = resolve_with_dataset(
        model, dataset, pretrained=pretrained, require_pinned=require_pinned
    )
    if unknown:
        dataset_spec(unknown)
    kinds = _kinds(corruptions, source, tta)
    options = DataOptions(on_bad_image=on_bad_image, bad_limit=bad_limit, ignore=ignore)
    wanted = (("--csv", csv_file), ("--predictions", predictions))
    files = [_checked(name, option, dataset, overwrite=overwrite) for option, name in wanted]
    where = {"devices": devices, "hosts": hosts}
    evaluating = load("rezoo.evaluation.evaluate")
    recording = _recording(source) if record else None
    setting = evaluating.setting_of(source, dataset, options=options, **images)
    others = _opened(setting, unknown, options) if unknown else None
    with counter("evaluating") as progress:
        result = evaluating.evaluate_setting(setting, tta=tta, progress=progress, **where)
    if first := is_first_host():
        _write(result, *files)
    told = _told_apart(result, others) if others else None
    robustness = _robustness(result, kinds, where) if kinds else None
    if as_json:
        _print_json(result, unknown=told, corruptions=robustness)
    else:
        _print(result, classes=classes)
        _print_more(result, told, robustness)
    if recording and first:
        _print_recorded(recording.record_evaluation(result, robustness), source.folder)


def _recording(source: Source) -> Any:
    """Return the module that records results, after a check that the source is a run."""
    from rezoo.cli.console import load

    recording = load("rezoo.evaluation.recording")
    recording.require_run(source)
    return recording


def _kinds(corruptions: str | None, source: Source, tta: str | None) -> tuple[str, ...]:
    """Return the kinds of corruption that `--corruptions` names; none without it."""
    from rezoo.evaluation.damage.corruptions import select_kinds

    if corruptions is None:
        return ()
    if tta:
        raise SpecError("--corruptions is measured without --tta", hint="leave one of them out.")
    names = [name.strip() for name in corruptions.split(",") if name.strip()]
    return select_kinds(names, channels=source.config.preprocessing.channels)


def _robustness(result: Evaluation, kinds: tuple[str, ...], where: dict[str, Any]) -> Robustness:
    """Measure the network on corrupted images."""
    from rezoo.cli.console import counter, load

    robustness = load("rezoo.evaluation.damage.robustness")
    with counter("corrupting") as progress:
        return robustness.measure_corrupted(result, kinds, progress=progress, **where)


def _opened(setting: Setting, unknown: str, options: DataOptions) -> Faults:
    """Open the images of none of the classes."""
    from rezoo.cli.console import load

    return load("rezoo.evaluation.calibrating.unknown_images").unknown_for(
        setting, unknown, options
    )


def _told_apart(result: Evaluation, others: Faults) -> UnknownImages:
    """Measure how well other images are told from those of an evaluation."""
    from rezoo.cli.console import counter, load

    with counter("comparing with unknown images") as progress:
        return load("rezoo.evaluation.calibrating.unknown_images").tell_apart(
            result, others, progress
        )


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


def _print_json(result: Evaluation, **more: UnknownImages | Robustness | None) -> None:
    print_json(result.to_dict() | {key: found.to_dict() for key, found in more.items() if found})


def _print(result: Evaluation, *, classes: bool) -> None:
    from rezoo.cli.console import lines, table

    count = len(result.predictions)
    images = count_of(count, "image")
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


def _print_more(
    result: Evaluation, told: UnknownImages | None, robustness: Robustness | None
) -> None:
    from rezoo.cli.console import lines, table

    if told:
        table(f"known images against {told.unknown}", told.rows())
        lines(*told.summary())
    if robustness:
        table("on corrupted images", robustness.rows())
        lines(robustness.summary())
    notes = dict.fromkeys((*result.notes, *(told.notes if told else ())))
    lines(*(f"Note: {note}." for note in notes), stderr=True)


def _print_recorded(names: list[str], folder: Path | None) -> None:
    from rezoo.cli.console import lines

    lines(f"recorded in {folder}: {', '.join(names)}", stderr=True)
