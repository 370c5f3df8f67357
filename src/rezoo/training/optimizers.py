"""A recipe becomes Keras optimizers: one for each group of variables with its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from rezoo.recipes.recipe import Recipe


@dataclass(frozen=True)
class Group:
    """Variables that one optimizer updates.

    Attributes:
        variables: Trainable variables.
        optimizer: Built for exactly these.
        coupled_decay: For each variable the factor of its L2 term in the gradient; 0 for none.
    """

    variables: Sequence[Any]
    optimizer: keras.optimizers.Optimizer
    coupled_decay: Sequence[float]


@keras.saving.register_keras_serializable(package="rezoo")
class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a tenth of the rate after each `step_size` steps (of all steps)."""

    def __init__(self, learning_rate: float, step_size: int, warmup_steps: int = 0) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.step_size = step_size
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at a step, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rate = self.learning_rate * keras.ops.power(0.1, keras.ops.floor(step / self.step_size))
        if not self.warmup_steps:
            return rate
        return keras.ops.minimum(rate, self.learning_rate * step / self.warmup_steps)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "learning_rate": self.learning_rate,
            "step_size": self.step_size,
            "warmup_steps": self.warmup_steps,
        }


def schedule(recipe: Recipe, steps_per_epoch: int, *, scale: float = 1.0) -> Any:
    """Return the learning-rate schedule of a run: a function of the step from 0."""
    peak = recipe.learning_rate * scale
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if recipe.schedule == "step":
        return StepDecay(peak, round(recipe.step_at[0] * recipe.epochs) * steps_per_epoch, warmup)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else peak,
        max(recipe.epochs * steps_per_epoch - warmup, 1),
        alpha=1.0 if recipe.schedule == "constant" else 0.0,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def groups(model: keras.Model, recipe: Recipe, steps_per_epoch: int, *, head: str) -> list[Group]:
    """Divide the trainable variables into groups and build an optimizer for each.

    The head and the rest form two groups where `recipe.backbone_lr_scale` is not 1; at 0
    the rest is left out, so it is frozen but for its batch statistics.
    """
    trainable = list(model.trainable_variables)
    if recipe.backbone_lr_scale == 1.0:
        parts = [(trainable, 1.0)]
    else:
        in_head = [v.path.split("/", 1)[0] == head for v in trainable]
        parts = [
            (
                [v for v, h in zip(trainable, in_head, strict=True) if not h],
                recipe.backbone_lr_scale,
            ),
            ([v for v, h in zip(trainable, in_head, strict=True) if h], 1.0),
        ]
    return [
        _group(variables, recipe, schedule(recipe, steps_per_epoch, scale=scale))
        for variables, scale in parts
        if variables and scale
    ]


def _group(variables: list[Any], recipe: Recipe, rate: Any) -> Group:
    decays = [recipe.decay_norm_and_bias or len(v.shape) > 1 for v in variables]
    coupled = [0.0] * len(variables)
    optimizer: keras.optimizers.Optimizer
    if recipe.optimizer == "sgd":
        # PyTorch's and the papers' weight decay is an L2 term inside the momentum; Keras's
        # own `weight_decay` is decoupled and would need ten times the value.
        coupled = [recipe.weight_decay if decay else 0.0 for decay in decays]
        optimizer = keras.optimizers.SGD(rate, recipe.momentum, recipe.nesterov)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(
            var_list=[v for v, decay in zip(variables, decays, strict=True) if not decay]
        )
    optimizer.build(variables)
    return Group(variables, optimizer, coupled)
