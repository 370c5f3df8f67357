"""The optimizers with averages of the gradient and its square: AdamW and LAMB."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from rezoo.training.rule import Rule, norm, trusted

_register = keras.saving.register_keras_serializable(package="rezoo")


class _Adaptive(Rule):
    """Averages of the gradient and its square, as Adam has them (arXiv:1412.6980, algorithm 1)."""

    slots = ("mean", "square")
    arguments: tuple[str, ...] = ("beta_1", "beta_2")
    epsilon = 1e-8

    def __init__(
        self, learning_rate: Any, beta_1: float = 0.9, beta_2: float = 0.999, **shared: Any
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def direction(self, gradient: Any, variable: Any) -> Any:
        """Update the averages and return their quotient, corrected for the start at zero."""
        mean, square = self.slots_of(variable)
        new_mean = mean + (1 - self.beta_1) * (gradient - mean)
        new_square = self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient)
        self.assign(mean, new_mean)
        self.assign(square, new_square)
        spread = ops.sqrt(new_square / self._correction(self.beta_2)) + self.epsilon
        return new_mean / self._correction(self.beta_1) / spread

    def _correction(self, beta: float) -> Any:
        """Return 1 - beta^t at step t from 1; expm1 because float32 has few digits of it."""
        step = ops.cast(self.iterations + 1, "float32")
        return -ops.expm1(step * math.log(beta))


@_register
class AdamW(_Adaptive):
    """Adam with decoupled weight decay (arXiv:1711.05101, algorithm 2), as `torch.optim.AdamW`.

    w ← w - r (u + d w), where u = m / (sqrt(v) + 1e-8) of the corrected averages m and v.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its averages."""
        update = self.direction(gradient, variable)
        if decay := self.decay_of(variable):
            update = update + decay * variable
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * update)


@_register
class LAMB(_Adaptive):
    """Layer-wise adaptive Adam (arXiv:1904.00962, algorithm 2), as timm's `Lamb` has it.

    w ← w - r t (u + d w), where u = m / (sqrt(v) + 1e-6) of the corrected averages m and v, and
    t = |w| / |u + d w|, or 1 if either is 0. Variables without decay have t = 1. timm clips
    the gradients in the optimizer by default; here that is the recipe's `clip_norm = 1`.
    """

    epsilon = 1e-6

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its averages."""
        update = self.direction(gradient, variable)
        if decay := self.decay_of(variable):
            update = update + decay * variable
            weight, length = norm(variable), norm(update)
            update = trusted(weight / length, weight, length) * update
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * update)
