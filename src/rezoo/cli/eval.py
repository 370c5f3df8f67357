"""`rezoo eval`: the accuracy of a network on a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    columns_option,
    data_options,
    devices_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.data.datasets import DataOptions
from rezoo.errors import SpecError
from rezoo.utils.hosts import Worker

if TYPE_CHECKING:
    from rezoo.evaluation.evaluate import Evaluation
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
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@click.option(
    "--corruptions",
    metavar="KIND,…|all",
    help="Also measure on corrupted images at five severities: noise, blur, colour, digital, or "
    "single kinds such as jpeg.",
)
@devices_options
@columns_option
@data_options
@pretrained_option
@require_pinned_option
@json_option
def eval_command(
    model: str,
    dataset: str | None,
    split: str,
    batch_size: int,
    image_size: int | None,
    corruptions: str | None,
    devices: int | str | None,
    hosts: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    **handling: Any,
) -> None:
    """Measure MODEL, which has weights: top-1 and top-5 with 95 % intervals.

    For multi-label data: mean average precision with its interval, F1 and exact match.

    Images are preprocessed as the weights require. The scores of a run on its own test split
    are added to its metrics.json and to its card.
    """
    from rezoo.cli.console import counter, lines, load, table
    from rezoo.data.datasets import dataset_spec
    from rezoo.sources.any_model import own_dataset
    from rezoo.sources.references import resolve_weights

    # wrong names are errors before TensorFlow is imported
    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    dataset = dataset or own_dataset(source)
    if dataset is None:
        raise SpecError(f"{source.reference} does not record its dataset", hint="give --dataset.")
    dataset_spec(dataset)
    options = DataOptions(**handling)
    kinds = _kinds(corruptions, source)
    evaluation = load("rezoo.evaluation.evaluate")
    with counter("evaluating") as progress:
        result = evaluation.evaluate(
            source,
            dataset,
            split=split,
            batch_size=batch_size,
            image_size=image_size,
            devices=devices,
            hosts=hosts,
            options=options,
            progress=progress,
        )
    worker = Worker.of_environment()
    if image_size is None and (worker is None or worker.is_first):
        load("rezoo.evaluation.recording").record_evaluation(source, result)
    document, robustness = result.to_dict(), None
    if kinds:
        with counter("corrupting") as progress:
            robustness = load("rezoo.evaluation.robustness").measure_corruptions(
                source,
                dataset,
                kinds,
                split=split,
                batch_size=batch_size,
                image_size=image_size,
                devices=devices,
                hosts=hosts,
                options=options,
                progress=progress,
            )
        document["corruptions"] = robustness.to_dict()
    if as_json:
        print_json(document)
        return
    _print(result)
    if robustness:
        table("", robustness.rows())
        lines(robustness.summary())


def _kinds(corruptions: str | None, source: Source) -> tuple[str, ...]:
    """Return the kinds of corruption that `--corruptions` names; none without it."""
    from rezoo.evaluation.corruptions import select_kinds

    if corruptions is None:
        return ()
    names = [name.strip() for name in corruptions.split(",") if name.strip()]
    return select_kinds(names, channels=source.config.preprocessing.channels)


def _print(result: Evaluation) -> None:
    from rezoo.cli.console import lines, table

    lines(f"{result.model} on {result.dataset}, {result.split} split", style="bold")
    rows = [
        {
            "metric": shown.figure.name,
            "value": shown.value,
            "95 % interval": shown.interval,
            "images": result.scores.count,
        }
        for shown in result.task.shown(result.scores.to_dict(), result.num_classes)
    ]
    table("", rows)
    lines(f"loss {result.scores.loss:.4f}; input {result.preprocessing}")
    if weakest := result.task.weakest(result.classes):
        lines(weakest)
    lines(*(f"Note: {note}." for note in result.notes), stderr=True)
