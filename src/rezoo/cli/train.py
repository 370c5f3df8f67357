"""`rezoo train`: a model and a dataset become a run folder."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from rezoo.cli.console import lines
from rezoo.cli.distributed import devices_options
from rezoo.cli.dry_run import print_estimate
from rezoo.cli.options import (
    columns_option,
    data_flags,
    device_option,
    examples,
    geometry_options,
    json_option,
    parse_settings,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import (
    DatasetReference,
    Duration,
    NumberOr,
    complete_models,
    complete_recipes,
)
from rezoo.data.datasets import CACHE, DataOptions
from rezoo.utils.hosts import Worker
from rezoo.utils.names import count_of


@click.command(
    epilog=examples(
        "rezoo train resnet18 --dataset digits",
        "rezoo train resnet50 --pretrained --dataset folder:photos",
        "rezoo train --resume runs/resnet50-photos",
    )
)
@click.argument("model", required=False, shell_complete=complete_models)
@click.option(
    "--dataset", type=DatasetReference(), help="Dataset reference [digits, or that of RUN]."
)
@click.option(
    "--recipe",
    shell_complete=complete_recipes,
    help="Name or .toml file; by default chosen by weights and dataset.",
)
@click.option("--epochs", type=int, help="Passes over the training data.")
@click.option(
    "--batch-size",
    type=NumberOr("auto"),
    help="Images per step; auto: the recipe's, in micro-batches that fit into memory.",
)
@click.option("--lr", "learning_rate", type=float, help="Peak learning rate.")
@geometry_options
@click.option("--seed", type=int, help="Seed of weights, order and augmentation.")
@click.option(
    "--freeze",
    multiple=True,
    callback=lambda context, parameter, names: ",".join(names) or None,
    metavar="LAYERS",
    help="Layers that are not trained: stem, layer1, layer1.0 …, backbone; may be repeated.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any recipe key.")
@click.option("--output", type=click.Path(), help="Run folder [runs/<model>-<dataset>].")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Continue the run in the folder RUN with its own model, data, recipe and options; "
    "after MODEL and without RUN, the run that the same command has begun.",
)
@click.option(
    "--allow-change",
    is_flag=True,
    help="Resume with another recipe, other data or other versions, and record it.",
)
@click.option("--overwrite", is_flag=True, help="Replace the run in the folder.")
@click.option(
    "--max-time",
    "max_time_s",
    type=Duration(),
    help="Shorten the schedule so that the run ends in this time: 90m, 2h, 1h30m.",
)
@click.option(
    "--checkpoint-every",
    metavar="10m|500steps|epoch",
    help="When to save inside an epoch [10m, at most 2 % of the time].",
)
@click.option(
    "--dry-run", is_flag=True, help="Do a few steps and estimate the run's costs; write nothing."
)
@click.option(
    "--tensorboard", is_flag=True, help="Write events/ in the run folder for TensorBoard."
)
@click.option(
    "--deterministic", is_flag=True, help="On a GPU: slower kernels that give the same bits."
)
@devices_options
@device_option
@columns_option
@data_flags
@click.option(
    "--cache",
    type=click.Choice(CACHE),
    default="auto",
    show_default=True,
    help="Keep a split in memory if it takes little of it.",
)
@pretrained_option
@require_pinned_option
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    dataset: str | None,
    settings: tuple[str, ...],
    allow_change: bool,
    overwrite: bool,
    checkpoint_every: str | None,
    dry_run: bool,
    tensorboard: bool,
    deterministic: bool,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Train MODEL on a dataset.

    An architecture's name starts from random weights, unless --pretrained is given; published
    weights (resnet50.a1_in1k), hf://owner/name and folders with weights are fine-tuned.
    The run folder holds the best weights by validation, the recipe in full, history,
    metrics, a checkpoint to resume from and a model card.
    """
    from rezoo.cli import progress
    from rezoo.sources.references import as_reference, resolve
    from rezoo.training import train as training

    model, run = _model_and_run(context, rest)
    source = None
    if model is not None:
        source = resolve(model, pretrained=pretrained, require_pinned=require_pinned)
    options = _given_options(context, rest)
    keys = ("recipe", "output", "max_time_s", "devices", "hosts")
    common = {key: rest.pop(key) for key in keys} | {"reporter": progress.reporter()}
    changes = {key: value for key, value in rest.items() if value is not None}
    changes.update(parse_settings(settings, changes))
    if dry_run:
        if source is None or run is not False:
            raise click.UsageError("--dry-run is for a new run; leave --resume out.", context)
        print_estimate(source, dataset or "digits", as_json, changes, options, common)
        return
    result = training.train(
        source,
        dataset,
        changes=changes,
        options=options,
        resume=run or _is_restarted(),
        allow_change=allow_change,
        overwrite=overwrite and not _is_restarted(),
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        deterministic=deterministic,
        **common,
    )
    answer = {"folder": as_reference(result.folder), **result.metrics}
    if result.metrics:  # only the first host has them
        print_json(answer) if as_json else _print_run(answer)


def _model_and_run(context: click.Context, values: dict[str, Any]) -> tuple[str | None, bool | str]:
    """Take MODEL and RUN from values; return MODEL, and `resume` of `rezoo.train`.

    A word after `--resume` is a RUN if it is written as a path, and there is one; otherwise it is
    MODEL, which `--resume` without a value may precede.
    """
    from rezoo.sources.references import is_path
    from rezoo.utils.paths import expanded

    given, model, resume = context.params, values.pop("model"), values.pop("resume")
    if model is None and resume and not (is_path(resume) and expanded(resume).is_dir()):
        model, resume = resume, ""
    needs_model = resume is None or given["pretrained"] or given["require_pinned"]
    if model is None and needs_model:
        raise click.UsageError("Missing argument 'MODEL'.", context)
    return model, resume or resume is not None


def _is_restarted() -> bool:
    """Return whether a supervisor starts this run again, after a host has failed."""
    worker = Worker.of_environment()
    return worker is not None and worker.restarted


def _given_options(context: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """Take the options of the data from values; return those that the user has set."""
    taken = {field.name: values.pop(field.name) for field in dataclasses.fields(DataOptions)}
    source = context.get_parameter_source
    return {k: v for k, v in taken.items() if source(k) is not ParameterSource.DEFAULT}


def _print_run(metrics: Mapping[str, Any]) -> None:
    """Print the folder of a run, its score, its files and the next commands."""
    from rezoo.artifacts.run_files import kept_weights
    from rezoo.tasks import task_of

    val, task = metrics["val"], task_of(metrics.get("multi_label", False))
    best = task.shown(val, metrics["num_classes"])[0]
    place = shlex.quote(metrics["folder"])
    share = metrics.get("input_wait_share") or 0.0
    images = count_of(val["count"], "image")
    waiting = f", {share:.0%} of them waiting for images" if share >= 0.01 else ""
    lines(
        f"val {best.figure.name} {best.value} ({best.interval}, {images}), "
        f"{kept_weights(metrics)}, {metrics['wall_time_s']:.0f} s of training{waiting}"
    )
    lines(f"run folder   {metrics['folder']}", style="bold")
    lines(
        "  model.safetensors  best weights; with config.json, in timm's layout",
        "  report.html        figures, curves, confusions and the worst mistakes",
        "  curves.svg         the curves alone",
        "  checkpoints/       last state, for --resume; checkpoints/last has the last weights",
        "next",
        f"  rezoo eval {place} --record",
        f"  rezoo predict {place} IMAGE…",
    )
