"""`rezoo train`: a model and a dataset become a run folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import (
    BatchSize,
    Duration,
    data_options,
    import_quietly,
    json_option,
    parse_settings,
    pretrained_option,
    print_json,
)
from rezoo.data.datasets import CACHE, DataOptions

if TYPE_CHECKING:
    from rezoo.training.estimate import Estimate
    from rezoo.training.reporters import Plan


@click.command()
@click.argument("model")
@click.option("--dataset", default="digits", show_default=True, help="What to learn.")
@click.option("--recipe", help="Name or .toml file; chosen by weights and dataset if not given.")
@click.option("--epochs", type=int, help="Passes over the training data.")
@click.option(
    "--batch-size",
    type=BatchSize(),
    help="Images in a step; auto: the recipe's, in parts that fit into memory.",
)
@click.option("--lr", "learning_rate", type=float, help="Peak learning rate.")
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option("--seed", type=int, help="Of weights, order and augmentation.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any recipe key.")
@click.option("--output", type=click.Path(), help="Run folder [runs/<model>-<dataset>].")
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the run in the folder.")
@click.option(
    "--max-time",
    type=Duration(),
    help="Shorten the schedule so that the run ends in this time: 90m, 2h, 1h30m.",
)
@click.option(
    "--dry-run", is_flag=True, help="Do a few steps and tell what the run will cost; write nothing."
)
@click.option(
    "--tensorboard", is_flag=True, help="Write events/ in the run folder for TensorBoard."
)
@data_options
@click.option(
    "--cache",
    type=click.Choice(CACHE),
    default="auto",
    show_default=True,
    help="Keep a split in memory where it takes little of it.",
)
@pretrained_option
@json_option
def train(
    model: str,
    dataset: str,
    recipe: str | None,
    settings: tuple[str, ...],
    output: str | None,
    resume: bool,
    overwrite: bool,
    max_time: float | None,
    dry_run: bool,
    tensorboard: bool,
    pretrained: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Train MODEL on a dataset.

    An architecture's name starts from random weights, unless --pretrained is given; published
    weights (resnet50.a1_in1k), hf://owner/name and folders with weights are fine-tuned.
    The run folder holds the best weights by validation, the recipe in full, history,
    metrics, a checkpoint to resume from and a model card.
    """
    handling = {field.name: rest.pop(field.name) for field in dataclasses.fields(DataOptions)}
    changes = {key: value for key, value in rest.items() if value is not None}
    changes.update(parse_settings(settings, changes))
    from rezoo.cli import render
    from rezoo.training.request import Request

    options = DataOptions(**handling)
    # wrong names and keys are answered before TensorFlow is loaded
    request = Request.of(
        model, dataset, pretrained=pretrained, recipe=recipe, changes=changes, output=output
    )
    with render.status("starting TensorFlow"):
        training = import_quietly("rezoo.training.train")
    common: dict[str, Any] = {
        "recipe": recipe,
        "changes": changes,
        "output": output,
        "max_time_s": max_time,
        "options": options,
        "reporter": render.training_display(),
    }
    if dry_run:
        _tell(*training.dry_run(request.source, dataset, **common), as_json=as_json)
        return
    run = training.train(
        request.source,
        dataset,
        resume=resume,
        overwrite=overwrite,
        tensorboard=tensorboard,
        **common,
    )
    if as_json:
        print_json({"folder": str(run.folder), **run.metrics})
    else:
        render.trained(run.folder, run.metrics)


def _tell(planned: Plan, found: Estimate, *, as_json: bool) -> None:
    from rezoo.cli import render, render_plan
    from rezoo.training.estimate import record

    if as_json:
        notes = list(planned.notes)
        print_json({"recipe": planned.recipe.to_dict(), "notes": notes, **record(found)})
        return
    render_plan.plan(planned, found)
    render.lines("", render_plan.to_folder(planned.folder))
