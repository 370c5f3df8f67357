"""`rezoo eval`: the accuracy of a network on a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from rezoo.cli.options import import_quietly, json_option, print_json
from rezoo.errors import SpecError


@click.command("eval")
@click.argument("model")
@click.option("--dataset", help="What to measure on; a run folder's own data if not given.")
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Part of the data.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images at a time.")
@click.option("--image-size", type=int, help="Height and width in pixels, instead of the weights'.")
@json_option
def eval_command(
    model: str,
    dataset: str | None,
    split: str,
    batch_size: int,
    image_size: int | None,
    as_json: bool,
) -> None:
    """Measure MODEL, a folder with weights: top-1 and top-5 with 95 % intervals.

    Images go through the preprocessing that came with the weights.
    """
    from rezoo.cli import render
    from rezoo.data.loading import dataset_spec
    from rezoo.references import resolve_weights

    # wrong names are answered before TensorFlow is loaded
    resolve_weights(model)
    dataset = dataset or _own_dataset(model)
    dataset_spec(dataset)
    with render.status("starting TensorFlow"):
        evaluation = import_quietly("rezoo.evaluation.evaluate")
    with render.counter("evaluating") as progress:
        result = evaluation.evaluate(
            model,
            dataset,
            split=split,
            batch_size=batch_size,
            image_size=image_size,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        render.evaluation(result)


def _own_dataset(model: str) -> str:
    from rezoo.configs import local_facts

    dataset = local_facts(Path(model).expanduser()).get("dataset")
    if dataset is None:
        raise SpecError(f"{model} does not say which dataset it is for", hint="give --dataset.")
    return dataset
