"""What a run will cost, found out before it is paid: real steps, counted memory, predicted time."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.profile import Profile, profile
from rezoo.recipes.recipe import Recipe
from rezoo.training import memory
from rezoo.training.first_batch import look_at
from rezoo.training.memory import Memory
from rezoo.training.setup import Setup
from rezoo.training.step import TrainingStep
from rezoo.utils import device

STEPS = 2  # real ones at least: the first also compiles
_LONG_ENOUGH_S = 6.0
_MOST_STEPS = 12
_MARGIN = 0.92  # of the time allowed that may be planned
FINISH_S = 30.0  # what a run's end takes, where nothing was timed
_BEFORE_WRITING_S, _WRITTEN_PER_S = 0.2, 200e6  # bytes
_OTHER_FILES = 2_000_000  # bytes: report, history, reference batch


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds, measured on a few real steps.

    Attributes:
        compile_s: What the first step took longer than the others.
        step_s: One step, its images included: the median.
        validation_s: One pass over what validates.
        save_s: Writing a checkpoint and the best weights, at a usual disk's speed: not measured.
        probe_s: Fitting the new head at the start; 0 where the recipe has none.
        loss: Of the last step; None where there is none.
    """

    compile_s: float
    step_s: float
    validation_s: float
    save_s: float
    probe_s: float
    loss: float | None

    @property
    def finish_s(self) -> float:
        """What a run's end takes: the best weights are built, measured and proved again."""
        return 5.0 + 1.5 * self.compile_s + 2 * self.validation_s

    def epoch_s(self, steps: int) -> float:
        """Return the time of an epoch of so many steps, validation and saving included."""
        return steps * self.step_s + self.validation_s + self.save_s


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will cost.

    Attributes:
        profile: Of the network at the size that it validates at.
        memory: Predicted, beside what the process had before.
        before_bytes: That.
        peak_bytes: Measured in the steps that were done; None where the device does not tell.
        free_bytes: On the device; None where nobody tells.
        times: Measured.
        epoch_s: An epoch, validation included.
        total_s: The whole run.
        disk_bytes: The run folder at its largest.
        disk_free: Bytes on the disk of the run folder.
        classes: Class → its training images; empty where the data do not tell without reading.
        warnings: What is wrong with the first batch, in words.
    """

    profile: Profile
    memory: Memory
    before_bytes: int
    peak_bytes: int | None
    free_bytes: int | None
    times: Times
    epoch_s: float
    total_s: float
    disk_bytes: int
    disk_free: int
    classes: dict[str, int]
    warnings: tuple[str, ...]


def estimate(setup: Setup, step: TrainingStep, folder: Path) -> Estimate:
    """Do a few real steps and tell what the run will cost; the network is as before afterwards."""
    recipe = setup.recipe
    counted = training_profile(setup.network, setup.config.preprocessing.channels, recipe)
    free, before = device.free_bytes(), device.resident_bytes()
    times = measure(setup, step)
    epoch_s = times.epoch_s(setup.steps_per_epoch)
    return Estimate(
        profile=counted,
        memory=memory.predict(counted, recipe),
        before_bytes=before,
        peak_bytes=device.peak_bytes(),
        free_bytes=free,
        times=times,
        epoch_s=epoch_s,
        total_s=times.compile_s + times.probe_s + recipe.epochs * epoch_s + times.finish_s,
        disk_bytes=_disk_bytes(setup, step),
        disk_free=device.free_disk_bytes(folder),
        classes=_classes(setup),
        warnings=tuple(_wrong_with_the_first_batch(setup)),
    )


def _wrong_with_the_first_batch(setup: Setup) -> Iterator[str]:
    batches = setup.train_batches(0, 0) if setup.recipe.epochs else setup.validation_batches()
    images, labels = next(iter(batches))
    for _, text in look_at(images, labels, scaled=setup.config.base is None):
        yield text


def training_profile(network: keras.Model, channels: int, recipe: Recipe) -> Profile:
    """Return the costs of a network at the largest size of its training images."""
    size = recipe.train_size or recipe.image_size or 0
    return profile(network, input_shape=(size, size, channels))


def measure(setup: Setup, step: TrainingStep) -> Times:
    """Time a few real steps and a part of validation, and put every variable back.

    A recipe without epochs has no steps: its time is that of the images in the network.
    """
    saved = [(v, np.array(keras.ops.convert_to_numpy(v))) for _, v in step.state()]
    source = iter(setup.train_batches(0, 0))
    taken: list[float] = []
    loss = None
    try:
        while setup.recipe.epochs and len(taken) < min(_MOST_STEPS, setup.steps_per_epoch):
            begun = time.perf_counter()
            loss = step([next(source) for _ in range(step.parts)]).read().loss
            taken.append(time.perf_counter() - begun)
            if len(taken) >= STEPS and sum(taken[1:]) > _LONG_ENOUGH_S:
                break
    finally:
        for variable, value in saved:
            variable.assign(value)
    step_s = statistics.median(taken[1:] or taken or [0.0])
    image_s = _forward_s(setup)
    images = len(setup.val.examples)
    return Times(
        compile_s=max(taken[0] - step_s, 0.0) if taken else 0.0,
        step_s=step_s,
        validation_s=image_s * images,
        save_s=_BEFORE_WRITING_S + _disk_bytes(setup, step) / 2 / _WRITTEN_PER_S,
        probe_s=image_s * setup.head_images if setup.starts_with_probe else 0.0,
        loss=loss,
    )


def _forward_s(setup: Setup) -> float:
    """Return the time of one validation image."""
    forward = compiled_forward(setup.network)
    batches = iter(setup.validation_batches())
    images, _ = next(batches)
    forward(images)  # compiles
    begun = time.perf_counter()
    forward(images)
    return (time.perf_counter() - begun) / len(images)


def _disk_bytes(setup: Setup, step: TrainingStep) -> int:
    """Return what the run folder holds while a checkpoint replaces the one before."""
    state = sum(np.prod(v.shape, dtype=np.int64) * 4 for _, v in step.state())
    weights = 4 * setup.network.count_params()
    return int(2 * state + 2 * weights + _OTHER_FILES)


def _classes(setup: Setup) -> dict[str, int]:
    labels = setup.train.examples.labels()
    if labels is None:
        return {}
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return {setup.config.label(k): int(n) for k, n in enumerate(labels.sum(0))}
    counts = Counter(labels.tolist())
    return {setup.config.label(k): counts[k] for k in range(setup.config.num_classes)}


def fitted(recipe: Recipe, times: Times, steps_per_epoch: int, *, left_s: float) -> Recipe:
    """Return the recipe with as many epochs as fit into a time, at most its own.

    What is counted in epochs (warm-up, growing images) shrinks alike, so that the schedule
    keeps its shape and ends at its end.

    Args:
        recipe: With its full length.
        times: Of its steps on this machine.
        steps_per_epoch: Of the data.
        left_s: Seconds that are left for the whole run.

    Raises:
        SpecError: Not even one epoch fits.
    """
    epoch_s = times.epoch_s(steps_per_epoch)
    usable = _MARGIN * left_s - times.probe_s - times.compile_s - times.finish_s
    epochs = min(recipe.epochs, math.floor(usable / epoch_s))
    if epochs < 1 and recipe.epochs:
        raise SpecError(
            f"one epoch takes about {_words(epoch_s)}, and {_words(max(usable, 0.0))} are left",
            hint="allow more with --max-time, or take smaller images or a smaller network.",
        )
    part = epochs / max(recipe.epochs, 1)
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * part,
        grow_epochs=(recipe.grow_epochs[0] * part, recipe.grow_epochs[1] * part),
    )


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def record(found: Estimate) -> dict[str, Any]:
    """Return an estimate as `--json` shows it; bytes and seconds."""
    return {
        "params": found.profile.params,
        "macs": found.profile.macs,
        "flops": found.profile.flops,
        "memory": {
            **dataclasses.asdict(found.memory),
            "predicted_peak_bytes": found.memory.total + found.before_bytes,
            "measured_peak_bytes": found.peak_bytes,
            "free_bytes": found.free_bytes,
        },
        "times": dataclasses.asdict(found.times),
        "epoch_s": found.epoch_s,
        "total_s": found.total_s,
        "disk_bytes": found.disk_bytes,
        "disk_free_bytes": found.disk_free,
        "classes": found.classes,
        "warnings": list(found.warnings),
    }
