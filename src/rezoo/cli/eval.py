"""`rezoo eval`: how good the predictions of a network are on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    columns_option,
    data_options,
    devices_options,
    geometry_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
    resolve_with_dataset,
)
from rezoo.data.datasets import DataOptions
from rezoo.errors import SpecError
from rezoo.utils.hosts import Worker

if TYPE_CHECKING:
    from rezoo.evaluation.calibrating.unknown_images import UnknownImages
    from rezoo.evaluation.damage.robustness import Robustness
    from rezoo.evaluation.result import Evaluation
    from rezoo.sources.references import Source


@click.command("eval")
@click.argument("model")
@click.option("--dataset", help="Dataset; that of the run if not given.")
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Part of the data.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@geometry_options
@click.option(
    "--tta",
    type=click.Choice(["flip", "ten-crop"]),
    help="Mean probability with the mirror image, or of four corners, centre and their mirrors.",
)
@click.option(
    "--unknown",
    metavar="DATASET",
    help="Images of none of the classes, such as folder:PATH: how well they are told from these.",
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
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    on_bad_image: str,
    bad_limit: float,
    ignore: str,
    **how: Any,
) -> None:
    """Measure MODEL, which has weights: accuracy, F1, calibration, with 95 % intervals.

    For multi-label data: mean average precision, F1 and exact match.

    Images are preprocessed as the weights require. The folder of a run stays as it is; with
    --record it gets the predictions and, for its own test split, scores, card and report.
    """
    from rezoo.cli.console import counter, load
    from rezoo.data.datasets import dataset_spec

    source, dataset = resolve_with_dataset(
        model, dataset, pretrained=pretrained, require_pinned=require_pinned
    )
    if unknown:
        dataset_spec(unknown)
    kinds = _kinds(corruptions, source, tta)
    how["options"] = DataOptions(on_bad_image=on_bad_image, bad_limit=bad_limit, ignore=ignore)
    files = [_new_file(name, dataset, overwrite=overwrite) for name in (csv_file, predictions)]
    recording = load("rezoo.evaluation.recording") if record else None
    if recording:
        recording.require_run(source)
    with counter("evaluating") as progress:
        result = load("rezoo.evaluation.evaluate").evaluate(
            source, dataset, tta=tta, progress=progress, **how
        )
    first = (worker := Worker.of_environment()) is None or worker.is_first
    if first:
        _write(result, *files)
    told = _measure_unknown(unknown, result, how) if unknown else None
    robustness = _robustness(source, dataset, kinds, how) if kinds else None
    if as_json:
        more = {"unknown": told, "corruptions": robustness}
        print_json(result.to_dict() | {key: v.to_dict() for key, v in more.items() if v})
    else:
        _print(result, classes=classes)
        _print_more(result, told, robustness)
    if recording and first:
        _print_recorded(recording.record_evaluation(result), source.folder)


def _kinds(corruptions: str | None, source: Source, tta: str | None) -> tuple[str, ...]:
    """Return the kinds of corruption that `--corruptions` names; none without it."""
    from rezoo.evaluation.damage.corruptions import select_kinds

    if corruptions is None:
        return ()
    if tta:
        raise SpecError("--corruptions is measured without --tta", hint="leave one of them out.")
    names = [name.strip() for name in corruptions.split(",") if name.strip()]
    return select_kinds(names, channels=source.config.preprocessing.channels)


def _robustness(
    source: Source, dataset: str, kinds: tuple[str, ...], how: dict[str, Any]
) -> Robustness:
    """Measure the network on corrupted images."""
    from rezoo.cli.console import counter, load

    robustness = load("rezoo.evaluation.damage.robustness")
    with counter("corrupting") as progress:
        return robustness.measure_corruptions(source, dataset, kinds, progress=progress, **how)


def _measure_unknown(unknown: str, result: Evaluation, how: dict[str, Any]) -> UnknownImages:
    """Measure how well other images are told from those of an evaluation."""
    from rezoo.cli.console import counter, load

    setting = result.setting
    with counter("comparing with unknown images") as progress:
        return load("rezoo.evaluation.calibrating.unknown_images").measure_unknown(
            setting.source,
            unknown,
            setting.data,
            split=setting.split,
            batch_size=setting.batch_size,
            image_size=how["image_size"],
            crop_mode=how["crop_mode"],
            options=how["options"],
            progress=progress,
        )


def _new_file(name: str | None, dataset: str, *, overwrite: bool) -> Path | None:
    """Return the path of a file to be written; raises `SpecError` if it must not be."""
    from rezoo.utils.files import refuse_inside_dataset, refuse_unwritable
    from rezoo.utils.paths import expanded

    if name is None:
        return None
    path = expanded(name)
    if path.is_dir():
        raise SpecError(f"{path} is a folder", hint="name a file.")
    if path.exists() and not overwrite:
        raise SpecError(f"{path} exists", hint="choose another file, or use --overwrite.")
    refuse_inside_dataset(path, dataset)
    refuse_unwritable(path.parent)
    return path


def _write(result: Evaluation, csv_file: Path | None, predictions: Path | None) -> None:
    if csv_file:
        from rezoo.evaluation.prediction_table import write_csv

        write_csv(result.predictions, csv_file)
    if predictions:
        result.predictions.write(predictions)


def _print(result: Evaluation, *, classes: bool) -> None:
    from rezoo.cli.console import lines, table

    count = len(result.predictions)
    lines(
        f"{result.model} on {result.dataset}, {result.split} split, {count:,} images", style="bold"
    )
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
