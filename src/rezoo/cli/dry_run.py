"""`rezoo train --dry-run`: the plan of a run, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import fields, lines, size
from rezoo.cli.options import print_json
from rezoo.data.datasets import DataOptions
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.sources.references import Source
    from rezoo.training.estimate import Estimate
    from rezoo.training.reporters import Plan


def print_estimate(
    source: Source,
    dataset: str,
    as_json: bool,
    changes: Mapping[str, Any],
    options: Mapping[str, Any],
    common: dict[str, Any],
) -> None:
    """Print what a run would cost."""
    from rezoo.training import trial

    if common.pop("hosts") is not None:
        raise click.UsageError("--dry-run is for one machine; leave --hosts out.")
    data = DataOptions(**options)
    plan, found = trial.dry_run(source, dataset, changes=changes, options=data, **common)
    if as_json:
        print_json({**plan.to_dict(), **found.to_dict()})
    else:
        _print_plan(plan, found)


def _print_plan(plan: Plan, found: Estimate) -> None:
    """Print a plan: the run, the recipe in words, and memory, time and disk."""
    from rezoo.recipes.describe import explain
    from rezoo.training.printing import describe

    run: dict[str, list[str]] = {}
    for name, text in describe(plan):
        run.setdefault(name or [*run][-1], []).append(text)
    fields({name: "\n".join(texts) for name, texts in run.items()})
    lines("")
    fields(dict(explain(plan.recipe)))
    lines("")
    fields(dict(_costs(plan, found)))
    end = f"without --dry-run the run goes to {plan.folder}"
    lines("", f"nothing was trained and nothing written; {end}")


def _costs(plan: Plan, found: Estimate) -> Iterator[tuple[str, str]]:
    recipe, profile = plan.recipe, found.profile
    height, width, _ = profile.input_shape
    counts = f"{profile.macs / 1e9:.2f} GMACs = {profile.flops / 1e9:.2f} GFLOPs"
    yield "network", f"{profile.params:,} parameters; {counts} for an image of {height}×{width}"
    parts = f" in {recipe.accumulation} micro-batches of {recipe.micro_batch_size}"
    batch = (
        f"{count_of(recipe.batch_size, 'image')} per step{parts if recipe.accumulation > 1 else ''}"
    )
    yield "batch", f"{batch}; learning rate {recipe.learning_rate:g}" if recipe.epochs else batch
    yield "memory", "\n".join(_memory(found))
    yield "time", "\n".join(_time(found, recipe.batch_size))
    yield "disk", f"at most {size(found.disk_bytes)}; {size(found.disk_free)} are free"
    if found.warnings:
        yield "warnings", "\n".join(found.warnings)
    if found.times.loss is not None:
        yield "loss", f"{found.times.loss:.4f} in the last step"


def _memory(found: Estimate) -> Iterator[str]:
    memory = found.memory
    yield f"at most {size(memory.total + found.before_bytes)}, predicted:"
    yield f"  {size(memory.activations)} activations"
    yield f"  {size(memory.work)} gradients and buffers"
    yield f"  {size(memory.optimizer)} optimizer state and average of the weights"
    if memory.data:
        yield f"  {size(memory.data)} image files, kept once they are read"
    yield f"  {size(found.before_bytes)} before training: libraries, weights, images in memory"
    if found.peak_bytes is not None:
        yield f"{size(found.peak_bytes)} measured in a few steps"
    if found.free_bytes is not None:
        yield f"{size(found.free_bytes)} free"


def _time(found: Estimate, batch_size: int) -> Iterator[str]:
    from rezoo.training.printing import duration

    times = found.times
    yield f"{duration(found.total_s)} in all:"
    if times.step_s:
        yield f"  {times.step_s:.3g} s per step, {batch_size / times.step_s:.3g} images/s"
        validation = f"{duration(times.validation_s)} of it validation"
        yield f"  {duration(found.epoch_s)} per epoch, {validation}"
    if times.probe_s:
        yield f"  {duration(times.probe_s)} for the features of the new head"
    yield f"  {duration(times.compile_s)} to compile"
