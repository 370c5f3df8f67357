"""The cost of a run before it begins: a few real steps, predicted memory and time."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.data.cache import bytes_to_come
from rezoo.errors import DivergedError, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.profile import Profile, profile
from rezoo.recipes.recipe import Recipe
from rezoo.training.health import Health
from rezoo.training.printing import duration
from rezoo.training.setup import Setup
from rezoo.training.step import TrainingStep
from rezoo.training.step_memory import Memory, predict_memory
from rezoo.utils import device

STEPS = 2  # at least: the first also compiles
_LONG_ENOUGH_S = 6.0
_MOST_STEPS = 12
_MARGIN = 0.92  # of the time limit that may be planned
_LEAST_END_S = 5.0  # of a run: its files, without computing
_BEFORE_WRITING_S, _WRITTEN_PER_S = 0.2, 200e6  # bytes
_OTHER_FILES = 2_000_000  # bytes: report, history, reference batch


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds, measured on a few real steps.

    Attributes:
        compile_s: The first step, less a usual one.
        step_s: One step with its input: the median.
        validation_s: One pass over the validation split.
        save_s: Writing a checkpoint and the best weights; predicted for a usual disk.
        probe_s: Features for a new head at the start; 0 if the recipe fits none.
        loss: Of the last step; None if the recipe has no epochs.
    """

    compile_s: float
    step_s: float
    validation_s: float
    save_s: float
    probe_s: float
    loss: float | None

    @property
    def finish_s(self) -> float:
        """The end of a run: the best weights are read, measured and recorded."""
        return _LEAST_END_S + 1.5 * self.compile_s + 2 * self.validation_s

    def epoch_s(self, steps: int) -> float:
        """Return the time of an epoch of `steps` steps, with validation and saving."""
        return steps * self.step_s + self.validation_s + self.save_s


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of a run.

    Attributes:
        profile: Of the network at the largest size of its training images.
        memory: Predicted, in addition to `before_bytes`.
        before_bytes: Memory of the process on the device before the first step; at least the
            weights.
        peak_bytes: Measured in the steps that were done; None if it cannot be determined.
        free_bytes: On the device; None if it cannot be determined.
        times: Measured.
        epoch_s: An epoch, with validation.
        total_s: The whole run.
        disk_bytes: The run folder at its largest.
        disk_free: Free bytes on the disk of the run folder.
        warnings: About the first batch.
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
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, in bytes and seconds."""
        return {
            "params": self.profile.params,
            "macs": self.profile.macs,
            "flops": self.profile.flops,
            "memory": {
                **dataclasses.asdict(self.memory),
                "predicted_peak_bytes": self.memory.total + self.before_bytes,
                "measured_peak_bytes": self.peak_bytes,
                "free_bytes": self.free_bytes,
            },
            "times": dataclasses.asdict(self.times),
            "epoch_s": self.epoch_s,
            "total_s": self.total_s,
            "disk_bytes": self.disk_bytes,
            "disk_free_bytes": self.disk_free,
            "warnings": list(self.warnings),
        }


def estimate(setup: Setup, step: TrainingStep, folder: Path) -> Estimate:
    """Estimate the cost of a run from a few real steps; the network is restored afterwards."""
    recipe = setup.recipe
    size = recipe.train_size or recipe.image_size or 0
    shape = (size, size, setup.config.preprocessing.channels)
    counted = profile(setup.network, input_shape=shape)
    free, before, gpu = device.free_bytes(), device.used_bytes(), device.on_gpu()
    data = 0 if gpu else sum(bytes_to_come(faults.examples) for faults in (setup.train, setup.val))
    times = measure(setup, step)
    epoch_s = times.epoch_s(setup.steps_per_epoch)
    return Estimate(
        profile=counted,
        memory=dataclasses.replace(predict_memory(counted, recipe, gpu=gpu), data=data),
        before_bytes=before or 4 * setup.network.count_params(),
        peak_bytes=device.peak_bytes(),
        free_bytes=free,
        times=times,
        epoch_s=epoch_s,
        total_s=times.compile_s + times.probe_s + recipe.epochs * epoch_s + times.finish_s,
        disk_bytes=_disk_bytes(setup, step),
        disk_free=device.free_disk_bytes(folder),
        warnings=_first_batch_warnings(setup),
    )


def _first_batch_warnings(setup: Setup) -> tuple[str, ...]:
    batches = setup.train_batches(0, 0) if setup.recipe.epochs else setup.validation_batches
    return tuple(Health.of(setup, {}).before_training(*next(iter(batches))))


def measure(setup: Setup, step: TrainingStep) -> Times:
    """Time a few real steps and a part of validation; every variable is restored.

    A recipe without epochs has no steps: its time is that of the features.
    """
    saved = [(v, np.array(keras.ops.convert_to_numpy(v))) for _, v in step.state()]
    source = iter(setup.train_batches(0, 0))
    taken: list[float] = []
    loss = None
    try:
        while setup.recipe.epochs and len(taken) < min(_MOST_STEPS, setup.steps_per_epoch):
            began = time.perf_counter()
            loss = step([next(source) for _ in range(step.micro_batches)]).read().loss
            taken.append(time.perf_counter() - began)
            _check_finite(loss, len(taken), setup.recipe)
            enough = len(taken) >= STEPS and sum(taken[1:]) > _LONG_ENOUGH_S
            if setup.devices.from_first(enough):
                break
    finally:
        for variable, value in saved:
            variable.assign(value)
    _, image_s = _forward_s(setup)
    step_s = statistics.median(taken[1:] or taken or [0.0])
    images = len(setup.val.examples)
    return Times(
        compile_s=max(taken[0] - step_s, 0.0) if taken else 0.0,
        step_s=step_s,
        validation_s=image_s * images,
        save_s=_BEFORE_WRITING_S + _disk_bytes(setup, step) / 3 / _WRITTEN_PER_S,
        probe_s=image_s * setup.head_images if setup.starts_with_probe else 0.0,
        loss=loss,
    )


def _check_finite(loss: float, steps: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss is {loss} at step {steps} of a trial, "
            f"learning rate {recipe.learning_rate:g}",
            hint="lower --lr or lengthen the warm-up (--set warmup_epochs=5).",
        )


def end_s(setup: Setup) -> float:
    """Return the seconds that the end of a run takes, predicted from one validation batch."""
    first_s, image_s = _forward_s(setup)
    return _LEAST_END_S + 2 * (first_s + image_s * len(setup.val.examples))


def _forward_s(setup: Setup) -> tuple[float, float]:
    """Return the seconds for the first validation batch, which compiles, and for one image."""
    forward = compiled_forward(setup.network, setup.config.preprocessing)
    batches = iter(setup.validation_batches)
    images, _ = next(batches)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        forward(images)
        times.append(time.perf_counter() - began)
    return times[0], times[1] / len(images)


def _disk_bytes(setup: Setup, step: TrainingStep) -> int:
    """Return the size of the run folder while a third checkpoint is written."""
    state = sum(np.prod(v.shape, dtype=np.int64) * 4 for _, v in step.state())
    weights = 4 * setup.network.count_params()
    return int(3 * state + 2 * weights + _OTHER_FILES)


def fitted(recipe: Recipe, times: Times, steps_per_epoch: int, *, left_s: float) -> Recipe:
    """Return the recipe with as many epochs as fit into a time, at most its own.

    Warm-up and growing image sizes shrink in proportion, so the schedule keeps its shape.

    Args:
        recipe: With its full length.
        times: Of its steps on this machine.
        steps_per_epoch: Of the data.
        left_s: Seconds left for the whole run.

    Raises:
        SpecError: Not even one epoch fits.
    """
    epoch_s = times.epoch_s(steps_per_epoch)
    usable = _MARGIN * left_s - times.probe_s - times.compile_s - times.finish_s
    epochs = min(recipe.epochs, math.floor(usable / epoch_s))
    if epochs < 1 and recipe.epochs:
        raise SpecError(
            f"one epoch takes about {duration(epoch_s)}, and {duration(max(usable, 0.0))} are left",
            hint="allow more with --max-time, or use smaller images or a smaller network.",
        )
    part = epochs / max(recipe.epochs, 1)
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * part,
        grow_epochs=(recipe.grow_epochs[0] * part, recipe.grow_epochs[1] * part),
    )
