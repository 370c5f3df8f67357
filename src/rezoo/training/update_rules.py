"""How one step of each optimizer changes a variable.

The papers' and PyTorch's rules, as Keras optimizers. Keras's own differ: its SGD keeps the
learning rate inside the velocity and has no L2 term, its AdamW adds epsilon before it corrects
the bias, its LAMB scales norms and biases too, and it has no LARS.

In formulas w is a variable, g its gradient, r the learning rate, d the weight decay.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


class Rule(keras.optimizers.Optimizer):
    """What the rules share: weight decay is part of each, and spares vectors.

    Attributes:
        weight_decay: d, of variables that decay.
        decay_vectors: Whether scales, shifts and biases (rank 1 and below) decay as well.
    """

    slots: tuple[str, ...] = ()  # names of what is kept for each variable

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float = 0.0,
        decay_vectors: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, name=name)
        self.decay_vectors = decay_vectors

    def build(self, variables: list[Any]) -> None:
        """Add the slots, zeros, for the variables that `apply` will be given."""
        if self.built:
            return
        super().build(variables)
        self._kept = [self.add_optimizer_variables(variables, name) for name in self.slots]

    def decay_of(self, variable: Any) -> float:
        """Return the weight decay of a variable, 0 where it is spared."""
        return self.weight_decay if self.decay_vectors or len(variable.shape) > 1 else 0.0

    def slots_of(self, variable: Any) -> list[Any]:
        """Return what is kept for a variable, in the order of `slots`."""
        index = self._get_variable_index(variable)
        return [kept[index] for kept in self._kept]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        ours = {key: config[key] for key in ("name", "learning_rate", "weight_decay")}
        return {**ours, "decay_vectors": self.decay_vectors}

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: Keras would decay here, and the rules do it themselves."""


@keras.saving.register_keras_serializable(package="rezoo")
class SGD(Rule):
    """Stochastic gradient descent with momentum m, as `torch.optim.SGD` has it.

    b ← m b + g + d w; w ← w - r b, or with Nesterov's momentum w - r (g + d w + m b).

    With `peak_learning_rate` p the decay is decoupled: b has no d w, and w also loses (r / p) d w.
    So it follows the course of the schedule and not its height. This is SGDW (arXiv:1711.05101,
    algorithm 1, whose schedule multiplier is r / p), as Composer's `DecoupledSGDW` has it. To
    shrink weights as fast as the coupled form, d must be p / (1 - m) times as large.
    """

    slots = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        *,
        nesterov: bool = False,
        peak_learning_rate: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.momentum = momentum
        self.nesterov = nesterov
        self.peak_learning_rate = peak_learning_rate

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its momentum."""
        decay, (buffer,) = self.decay_of(variable), self.slots_of(variable)
        if decay and self.peak_learning_rate is None:
            gradient = gradient + decay * variable
        elif decay:
            self.assign_sub(variable, (learning_rate / self.peak_learning_rate * decay) * variable)
        if keras.config.backend() == "tensorflow":
            self._in_one_pass(gradient, variable, buffer, learning_rate)
            return
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        change = gradient + self.momentum * momentum if self.nesterov else momentum
        self.assign_sub(variable, learning_rate * change)

    def _in_one_pass(self, gradient: Any, variable: Any, buffer: Any, learning_rate: Any) -> None:
        """Do the same with TensorFlow's kernel, which reads and writes each number once."""
        import tensorflow as tf

        weight, kept = (v.value if isinstance(v, keras.Variable) else v for v in (variable, buffer))
        tf.raw_ops.ResourceApplyMomentum(
            var=weight.handle,
            accum=kept.handle,
            lr=tf.convert_to_tensor(learning_rate),
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "peak_learning_rate": self.peak_learning_rate,
        }


@keras.saving.register_keras_serializable(package="rezoo")
class LARS(Rule):
    """Layer-wise adaptive rate scaling (arXiv:1708.03888, algorithm 1), as timm's `Lars` has it.

    b ← m b + t (g + d w); w ← w - r b, where t = c |w| / (|g| + d |w| + 1e-8) with the trust
    coefficient c, or 1 where |w| or |g| is 0. Variables without decay have t = 1.
    """

    slots = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        *,
        trust_coefficient: float = 0.001,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its momentum."""
        decay, (buffer,) = self.decay_of(variable), self.slots_of(variable)
        if decay:
            weight, slope = _norm(variable), _norm(gradient)
            ratio = self.trust_coefficient * weight / (slope + decay * weight + 1e-8)
            gradient = _trusted(ratio, weight, slope) * (gradient + decay * variable)
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        self.assign_sub(variable, learning_rate * momentum)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
        }


class _Adaptive(Rule):
    """Averages of the gradient and its square, as Adam has them (arXiv:1412.6980, algorithm 1)."""

    slots = ("mean", "square")
    epsilon = 1e-8

    def __init__(
        self, learning_rate: Any, beta_1: float = 0.9, beta_2: float = 0.999, **shared: Any
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def direction(self, gradient: Any, variable: Any) -> Any:
        """Move the averages and return their quotient, corrected for the start at zero."""
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

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}


@keras.saving.register_keras_serializable(package="rezoo")
class AdamW(_Adaptive):
    """Adam with decoupled weight decay (arXiv:1711.05101, algorithm 2), as `torch.optim.AdamW`.

    w ← w - r (u + d w), where u = m / (sqrt(v) + 1e-8) of the corrected averages m and v.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its averages."""
        update = self.direction(gradient, variable)
        if decay := self.decay_of(variable):
            update = update + decay * variable
        self.assign_sub(variable, learning_rate * update)


@keras.saving.register_keras_serializable(package="rezoo")
class LAMB(_Adaptive):
    """Layer-wise adaptive Adam (arXiv:1904.00962, algorithm 2), as timm's `Lamb` has it.

    w ← w - r t (u + d w), where u = m / (sqrt(v) + 1e-6) of the corrected averages m and v, and
    t = |w| / |u + d w|, or 1 where either is 0. Variables without decay have t = 1. timm clips
    the gradients in the optimizer by default; here that is the recipe's `clip_norm = 1`.
    """

    epsilon = 1e-6

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its averages."""
        update = self.direction(gradient, variable)
        if decay := self.decay_of(variable):
            update = update + decay * variable
            weight, length = _norm(variable), _norm(update)
            update = _trusted(weight / length, weight, length) * update
        self.assign_sub(variable, learning_rate * update)


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(x)))


def _trusted(ratio: Any, weight: Any, other: Any) -> Any:
    """Return the trust ratio, or 1 where a norm is 0."""
    return ops.where(ops.logical_and(weight > 0, other > 0), ratio, 1.0)
