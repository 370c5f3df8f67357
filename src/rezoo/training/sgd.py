"""The optimizers with momentum alone: SGD and LARS."""

from __future__ import annotations

from typing import Any

import keras

from rezoo.training.rule import Rule, norm, trusted

_register = keras.saving.register_keras_serializable(package="rezoo")


@_register
class SGD(Rule):
    """Stochastic gradient descent with momentum m, as `torch.optim.SGD` has it.

    b ← m b + g + d w; w ← w - r b, or with Nesterov's momentum w - r (g + d w + m b).

    With `peak_learning_rate` p the decay is decoupled: b has no d w, and w also loses (r / p) d w.
    This is SGDW (arXiv:1711.05101, algorithm 1), as Composer's `DecoupledSGDW` has it. To shrink
    weights as fast as the coupled form, d must be p / (1 - m) times as large.
    """

    slots = ("momentum",)
    arguments: tuple[str, ...] = ("momentum", "nesterov", "peak_learning_rate")

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
        rate = self.rate_of(variable, learning_rate)
        if keras.config.backend() == "tensorflow":
            self._in_one_pass(gradient, variable, buffer, rate)
            return
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        change = gradient + self.momentum * momentum if self.nesterov else momentum
        self.assign_sub(variable, rate * change)

    def _in_one_pass(self, gradient: Any, variable: Any, buffer: Any, rate: Any) -> None:
        """Do the same with TensorFlow's kernel, which reads and writes each number once."""
        import tensorflow as tf

        weight, kept = (v.value if isinstance(v, keras.Variable) else v for v in (variable, buffer))
        tf.raw_ops.ResourceApplyMomentum(
            var=weight.handle,
            accum=kept.handle,
            lr=tf.convert_to_tensor(rate),
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


@_register
class LARS(Rule):
    """Layer-wise adaptive rate scaling (arXiv:1708.03888, algorithm 1), as timm's `Lars` has it.

    b ← m b + t (g + d w); w ← w - r b, where t = c |w| / (|g| + d |w| + 1e-8) with the trust
    coefficient c, or 1 if |w| or |g| is 0. Variables without decay have t = 1.
    """

    slots = ("momentum",)
    arguments = ("momentum", "trust_coefficient")

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
            weight, slope = norm(variable), norm(gradient)
            ratio = self.trust_coefficient * weight / (slope + decay * weight + 1e-8)
            gradient = trusted(ratio, weight, slope) * (gradient + decay * variable)
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * momentum)
