"""What `rezoo train --dry-run` prints: the plan of a run, and what it will cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rezoo.cli.display import describe
from rezoo.cli.render import fields
from rezoo.recipes.describe import explain
from rezoo.training.reporters import Plan

if TYPE_CHECKING:
    from rezoo.training.estimate import Estimate

_SHOWN = 40  # classes at most, each with its count


def plan(planned: Plan, found: Estimate) -> None:
    """Print a plan: the run, the recipe in words, and memory, time and disk."""
    run = {line[:8].strip() or "        ": line[9:] for line in describe(planned)[:5]}
    fields({**run, "notes": "\n".join(planned.notes)} if planned.notes else run)
    print()
    fields(dict(explain(planned.recipe)))
    print()
    fields(dict(_costs(planned, found)))


def _costs(planned: Plan, found: Estimate) -> Iterator[tuple[str, str]]:
    recipe, profile = planned.recipe, found.profile
    height, width, _ = profile.input_shape
    counts = f"{profile.macs / 1e9:.2f} GMACs = {profile.flops / 1e9:.2f} GFLOPs"
    yield "network", f"{profile.params:,} parameters; {counts} for an image of {height}×{width}"
    parts = f" in {recipe.accumulation} parts of {recipe.micro_batch_size}"
    batch = f"{recipe.batch_size} images a step{parts if recipe.accumulation > 1 else ''}"
    yield "batch", f"{batch}; learning rate {recipe.learning_rate:g}"
    yield "memory", "\n".join(_memory(found))
    yield "time", "\n".join(_time(found, recipe.batch_size))
    yield "disk", f"{size(found.disk_bytes)} at most; {size(found.disk_free)} are free"
    unknown = "not counted: the data do not say without being read"
    yield "classes", _classes(found.classes) if found.classes else unknown
    if found.warnings:
        yield "warnings", "\n".join(found.warnings)
    if found.times.loss is not None:
        yield "loss", f"{found.times.loss:.4f} in the last step that was tried"


def _memory(found: Estimate) -> Iterator[str]:
    memory = found.memory
    yield f"{size(memory.total + found.before_bytes)} at most, as predicted:"
    yield f"  {size(memory.activations)} activations"
    yield f"  {size(memory.work)} gradients and buffers"
    yield f"  {size(memory.optimizer)} optimizer and averages"
    yield f"  {size(found.before_bytes)} before training: libraries, weights, images kept"
    if found.peak_bytes is not None:
        yield f"{size(found.peak_bytes)} taken in the steps that were tried"
    if found.free_bytes is not None:
        yield f"{size(found.free_bytes)} free"


def _time(found: Estimate, batch_size: int) -> Iterator[str]:
    times = found.times
    yield f"{duration(found.total_s)} in all:"
    if times.step_s:
        yield f"  {times.step_s:.3g} s a step, {batch_size / times.step_s:.3g} images/s"
        validation = f"{duration(times.validation_s)} of it validation"
        yield f"  {duration(found.epoch_s)} an epoch, {validation}"
    if times.probe_s:
        yield f"  {duration(times.probe_s)} for the features that the new head is fitted to"
    yield f"  {duration(times.compile_s)} to compile"


def _classes(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    figures = sorted(counts.values())
    summary = (
        f"{len(counts)}, each with {figures[0]:,} to {figures[-1]:,} training images, "
        f"{figures[len(figures) // 2]:,} in the middle"
    )
    named = ", ".join(f"{name} {count:,}" for name, count in ranked[:_SHOWN])
    more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    return f"{summary}\n{named}{more}"


def size(count: float) -> str:
    """Return bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Return seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def to_folder(folder: str) -> str:
    """Return the line that ends a dry run."""
    return f"nothing was trained and nothing written; without --dry-run the run goes to {folder}"
