"""One compiled training step on each backend: micro-batches in, loss, hits and norms out.

A step changes the variables of the model and of the update in place, and nothing else. These
variables and the position in the data are therefore the whole state of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from rezoo.models.devices import ONE, Devices
from rezoo.models.settings import keras_settings
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.tasks import SINGLE_LABEL, Task
from rezoo.training import losses
from rezoo.training.freezing import freeze
from rezoo.training.losses import Objective
from rezoo.training.optimizers import build_optimizer
from rezoo.training.schedules import warmup_steps
from rezoo.training.update import Average, LossScale, Update

MicroBatch = tuple[Any, Any]  # images and labels
Compiled = Callable[[Sequence[MicroBatch], Sequence[float]], Any]


class Figures(NamedTuple):
    """The figures of a step.

    Attributes:
        loss: Mean over the batch.
        hits: Correct predictions, as `rezoo.training.losses` counts them.
        gradient_norm: L2 norm of all gradients together before clipping; if it is not finite
            under loss scaling, the step was left out.
        loss_scale: Factor on the loss after the step; 1 without loss scaling.
    """

    loss: float
    hits: int
    gradient_norm: float
    loss_scale: float


class Outcome:
    """The figures of a step on the device: reading them waits for the step."""

    def __init__(self, values: Any) -> None:
        self._values = values  # float32 (4 + W,): the figures in their order, and the wishes

    def read(self) -> Figures:
        """Wait for the step and return its figures."""
        loss, hits, norm, scale = np.asarray(self._values)[:4].tolist()
        return Figures(loss, round(hits), norm, scale)

    def wishes(self) -> list[float]:
        """Wait for the step and return the largest of each wish of all hosts."""
        return np.asarray(self._values)[4:].tolist()


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """`step(batch)` does one optimizer step.

    `batch` has `micro_batches` pairs of images and labels of equal sizes. Images `(B, H, W, C)` are
    whole grey levels, uint8, or without a preprocessing the network's input, float32. Labels are
    int32 `(B,)`, or float32 `(B, K)`: shares of the classes, or multi-label. The gradient is that
    of the mean loss of the whole batch. On several hosts, each passes its part of the batch, and
    what it wishes all to do; the step returns what all wish.

    Attributes:
        model: The network.
        update: Holds the optimizer, the average of the weights and the loss scale.
        micro_batches: Micro-batches of a batch, which go through the network in turn.
        run: The compiled step.
    """

    model: keras.Model
    update: Update
    micro_batches: int
    run: Compiled

    @keras_settings()
    def __call__(self, batch: Sequence[MicroBatch], wishes: Sequence[float] = ()) -> Outcome:
        """Do one optimizer step with the micro-batches of a batch, without waiting for it."""
        if len(batch) != self.micro_batches:
            raise ValueError(
                f"received {len(batch)} micro-batches; the step was built for {self.micro_batches}"
            )
        return Outcome(self.run(batch, wishes))

    def state(self) -> Iterator[tuple[str, Any]]:
        """Yield every variable of the run with a name that does not change, unlike Keras's."""
        for number, variable in enumerate(self.model.variables):
            yield f"model.{number:05d}", variable
        yield from self.update.state()

    def averaged(self) -> AbstractContextManager[None]:
        """Give the network the average of its weights inside the block, if there is one."""
        return self.update.average.in_place() if self.update.average else nullcontext()


@keras_settings()
def training_step(
    model: keras.Model,
    recipe: Recipe,
    task: Task = SINGLE_LABEL,
    *,
    steps_per_epoch: int,
    objective: Objective | None = None,
    devices: Devices = ONE,
    preprocessing: Preprocessing | None = None,
) -> TrainingStep:
    """Build the step of a recipe, to be compiled at its first call.

    Args:
        model: The network; its batch statistics become frozen if the recipe says so.
        recipe: Decides on optimizer, schedule, clipping, averaging, loss scaling, micro-batches.
        task: Single-label or multi-label.
        steps_per_epoch: For the schedule and its warm-up.
        objective: Returns loss and hits from logits and labels; the task's own by default.
        devices: On which the network was built.
        preprocessing: Of the images, which are then uint8 and are normalized in the step. If None,
            they are the network's input.

    Raises:
        SpecError: See `rezoo.training.freezing.frozen_layers`.
        IncompatibleError: Batch statistics of a layer that is not `rezoo.models.layers.norm` are to
            be frozen, or the optimizer cannot train the network.
    """
    frozen = freeze(model, recipe)
    average = None
    if recipe.ema_decay:
        average = Average(
            model,
            decay=recipe.ema_decay,
            every=recipe.ema_every,
            warmup_steps=warmup_steps(recipe, steps_per_epoch),
        )
    scale = LossScale() if recipe.precision == "mixed_float16" else None
    optimizer = build_optimizer(model, recipe, steps_per_epoch, frozen)
    update = Update(optimizer, recipe.clip_norm, average, scale)
    objective = objective or losses.objective(recipe, task)
    micro_batches = recipe.accumulation
    run = _compile(model, update, objective, preprocessing, micro_batches, devices)
    return TrainingStep(model, update, micro_batches, run)


def _compile(
    model: keras.Model,
    update: Update,
    objective: Objective,
    preprocessing: Preprocessing | None,
    micro_batches: int,
    devices: Devices,
) -> Compiled:
    if keras.config.backend() == "jax":
        from rezoo.training import step_jax

        return step_jax.compiled_step(
            model, update, objective, preprocessing, micro_batches, devices
        )
    from rezoo.training import step_tensorflow

    run = step_tensorflow.compiled_step(model, update, objective, preprocessing, micro_batches)
    return lambda batch, wishes: run(batch)  # a single device: no other host has wishes
