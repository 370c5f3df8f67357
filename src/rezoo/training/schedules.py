"""The learning rate over a run: a warm-up, then one of five schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from rezoo.recipes.recipe import Recipe


@keras.saving.register_keras_serializable(package="rezoo")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then a schedule over the rest of the run.

    Let u be the share of the steps after the warm-up that remain (1 to 0). The rate is
    `floor + (peak - floor) * share`:

    - cosine: share = (1 + cos(pi (1 - u))) / 2 (arXiv:1608.03983, equation 5, no restart),
      computed as sin(pi u / 2)^2, which float32 holds better near the end.
    - linear: share = u.
    - poly: share = u^power.

    With step, the rate is divided by ten at each of `milestones`; with constant, it stays at the
    peak.

    Attributes:
        kind: Name of the schedule.
        peak: Rate at the end of the warm-up.
        total_steps: Steps of the whole run, warm-up included; the rate is constant afterwards.
        warmup_steps: Steps of the warm-up; 0 for none.
        floor: The last rate of cosine, linear and poly.
        power: Of poly.
        milestones: Of step: increasing steps from the start of the run.
    """

    def __init__(
        self,
        kind: str,
        peak: float,
        total_steps: int,
        *,
        warmup_steps: int = 0,
        floor: float = 0.0,
        power: float = 1.0,
        milestones: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if kind not in _SHARES and kind not in ("step", "constant"):
            allowed = "cosine, linear, poly, step or constant"
            raise ValueError(f"schedule {kind!r}; allowed is {allowed}")
        self.kind = kind
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.floor = floor
        self.power = power
        self.milestones = tuple(milestones)

    def __call__(self, step: Any) -> Any:
        """Return the learning rate, a float32 scalar, at a step counted from 0."""
        step = keras.ops.cast(step, "float32")
        rate = self._after_warmup(step)
        if not self.warmup_steps:
            return rate
        rising = self.peak * step / self.warmup_steps
        return keras.ops.where(step < self.warmup_steps, rising, rate)

    def _after_warmup(self, step: Any) -> Any:
        if self.kind == "constant":
            return keras.ops.full_like(step, self.peak)
        if self.kind == "step":
            passed = [keras.ops.cast(step >= m, "float32") for m in self.milestones]
            return self.peak * keras.ops.power(0.1, sum(passed, keras.ops.zeros_like(step)))
        rest = max(self.total_steps - self.warmup_steps, 1)
        left = keras.ops.clip((self.total_steps - step) / rest, 0.0, 1.0)
        return self.floor + (self.peak - self.floor) * _SHARES[self.kind](left, self.power)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("kind", "peak", "total_steps", "warmup_steps", "floor", "power", "milestones")
        return {name: getattr(self, name) for name in names}


# The share of the steps that remain → the share of the rate that remains.
_SHARES: dict[str, Any] = {
    "cosine": lambda left, _: keras.ops.square(keras.ops.sin(math.pi / 2 * left)),
    "linear": lambda left, _: left,
    "poly": keras.ops.power,
}


def schedule(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """Return the schedule of a run, a function of the optimizer's step from 0."""
    total = total_steps(recipe, steps_per_epoch)
    return Schedule(
        recipe.schedule,
        recipe.learning_rate,
        total,
        warmup_steps=warmup_steps(recipe, steps_per_epoch),
        floor=recipe.min_learning_rate,
        power=recipe.poly_power,
        milestones=[round(part * total) for part in recipe.step_at],
    )


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the optimizer steps of a run that does not end early: whole epochs."""
    if recipe.steps is None:
        return recipe.epochs * steps_per_epoch
    return math.ceil(recipe.steps / steps_per_epoch) * steps_per_epoch


def warmup_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the longer of a recipe's two warm-ups, in steps."""
    return max(recipe.warmup_steps, round(recipe.warmup_epochs * steps_per_epoch))
