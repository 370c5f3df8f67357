"""`rezoo eval`: measure the accuracy of a network on a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    data_options,
    import_quietly,
    json_option,
    pretrained_option,
    print_json,
)
from rezoo.data.datasets import DataOptions
from rezoo.errors import SpecError

if TYPE_CHECKING:
    from rezoo.sources.references import Source


@click.command("eval")
@click.argument("model")
@click.option("--dataset", help="The dataset [that of the run, for a run folder].")
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Part of the data.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@data_options
@pretrained_option
@json_option
def eval_command(
    model: str,
    dataset: str | None,
    split: str,
    batch_size: int,
    image_size: int | None,
    pretrained: bool,
    as_json: bool,
    **handling: Any,
) -> None:
    """Measure MODEL, which has weights: top-1 and top-5 with 95 % intervals.

    For multi-label data: mean average precision with its interval, F1 and exact matches.

    Images are preprocessed as stored with the weights. The result of a run on its own test
    split is written to its metrics.json and its card.
    """
    from rezoo.cli import render
    from rezoo.data.datasets import dataset_spec
    from rezoo.sources.references import resolve_weights

    # before TensorFlow is loaded, so that errors for wrong names come at once
    source = resolve_weights(model, pretrained=pretrained)
    dataset = dataset or _own_dataset(source)
    dataset_spec(dataset)
    options = DataOptions(**handling)
    with render.status("starting TensorFlow"):
        evaluation = import_quietly("rezoo.evaluation.evaluate")
    with render.counter("evaluating") as progress:
        result = evaluation.evaluate(
            source,
            dataset,
            split=split,
            batch_size=batch_size,
            image_size=image_size,
            options=options,
            progress=progress,
        )
    if image_size is None:
        import_quietly("rezoo.evaluation.recording").record_evaluation(source, result)
    if as_json:
        print_json(result.to_dict())
    else:
        render.evaluation(result)


def _own_dataset(source: Source) -> str:
    from rezoo.artifacts.config import local_facts

    dataset = local_facts(source.folder).get("dataset") if source.folder else None
    if dataset is None:
        raise SpecError(
            f"{source.reference} has no dataset of its own", hint="name one with --dataset."
        )
    return dataset
