"""One compiled training step on each backend: parts of a batch in, loss, hits and norms out.

A step changes the model's and the update's variables in place and nothing else, so these
variables and the position in the data are the whole state of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.models.primitives import freeze_statistics
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import SINGLE_LABEL, Task
from rezoo.training import losses
from rezoo.training.averaging import Average
from rezoo.training.loss_scale import LossScale
from rezoo.training.losses import Objective
from rezoo.training.optimizers import Group
from rezoo.training.schedules import warmup_steps
from rezoo.training.update import Update

Part = tuple[Any, Any]  # images and labels
Compiled = Callable[[Sequence[Part]], Any]


class Figures(NamedTuple):
    """What a step found.

    Attributes:
        loss: Mean over the batch.
        hits: Right predictions, as `rezoo.training.losses` counts them.
        gradient_norm: L2 norm of all gradients together before clipping; where it is not finite
            under loss scaling, the step was left out.
        loss_scale: Factor on the loss after the step; 1 where it is not scaled.
    """

    loss: float
    hits: int
    gradient_norm: float
    loss_scale: float


class Outcome:
    """The figures of a step, still on the device: reading them waits for it."""

    def __init__(self, values: Any) -> None:
        self._values = values  # float32 (4,), in the order of the figures

    def read(self) -> Figures:
        """Wait for the step and return its figures."""
        loss, hits, norm, scale = np.asarray(self._values).tolist()
        return Figures(loss, round(hits), norm, scale)


class TrainingStep:
    """`step(batch)` does one optimizer step.

    `batch` has `parts` pairs of images and labels of equal sizes. Images are float32
    `(B, H, W, C)`, labels int32 `(B,)`, or float32 `(B, K)`: shares of the classes, or several
    labels. The gradient is that of the mean loss of all parts.

    Attributes:
        model: The network.
        update: What happens with the gradients; holds optimizers, average and loss scale.
        parts: Parts of a batch that go through the network one after the other.
    """

    def __init__(
        self, model: keras.Model, update: Update, objective: Objective, *, parts: int = 1
    ) -> None:
        self.model = model
        self.update = update
        self.parts = parts
        self._run = _compile(model, update, objective, parts)

    def __call__(self, batch: Sequence[Part]) -> Outcome:
        """Do one optimizer step with the parts of a batch; does not wait for the device."""
        if len(batch) != self.parts:
            raise ValueError(f"a batch of {len(batch)} parts; the step takes {self.parts}")
        return Outcome(self._run(batch))

    def state(self) -> Iterator[tuple[str, Any]]:
        """Yield every variable of the run under a name that stays: Keras numbers its own."""
        for number, variable in enumerate(self.model.variables):
            yield f"model.{number:05d}", variable
        yield from self.update.state()

    def averaged(self) -> AbstractContextManager[None]:
        """Give the network the average of its weights inside the block, where there is one."""
        return self.update.average.in_place() if self.update.average else nullcontext()


def training_step(
    model: keras.Model,
    groups: Sequence[Group],
    recipe: Recipe,
    task: Task = SINGLE_LABEL,
    *,
    steps_per_epoch: int = 0,
    objective: Objective | None = None,
) -> TrainingStep:
    """Build the step of a recipe, to be compiled at its first call.

    Args:
        model: The network; where the recipe freezes its batch statistics, it stays so.
        groups: Optimizers with their variables.
        recipe: Decides on clipping, averaging, loss scaling and the parts of a batch.
        task: What the network is asked.
        steps_per_epoch: For the length of the warm-up, in which nothing is averaged.
        objective: Of logits and labels, the loss and the hits; the task's own where not given.

    Raises:
        IncompatibleError: Keras runs on a backend that has no step here, or batch statistics
            of a layer that is not `rezoo.models.layers.norm` should be frozen.
    """
    if recipe.batch_norm == "frozen":
        freeze_statistics(model)
    average = None
    if recipe.ema_decay:
        average = Average(
            model,
            decay=recipe.ema_decay,
            every=recipe.ema_every,
            warmup_steps=warmup_steps(recipe, steps_per_epoch),
        )
    scale = LossScale() if recipe.precision == "mixed_float16" else None
    update = Update(groups, clip_norm=recipe.clip_norm, average=average, scale=scale)
    objective = objective or losses.objective(recipe, task)
    return TrainingStep(model, update, objective, parts=recipe.accumulation)


def _compile(model: keras.Model, update: Update, objective: Objective, parts: int) -> Compiled:
    backend = keras.config.backend()
    if backend == "tensorflow":
        from rezoo.training.step_tensorflow import compiled_step
    elif backend == "jax":
        from rezoo.training.step_jax import compiled_step
    else:
        raise IncompatibleError(
            f"training on the Keras backend {backend!r} is not supported",
            hint="set KERAS_BACKEND to tensorflow or jax.",
        )
    return compiled_step(model, update, objective, parts)
