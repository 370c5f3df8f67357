"""The optimizers of recipes: one step of each, and the learning rate of each variable.

The papers' and PyTorch's rules, as Keras optimizers. Keras's own differ: its SGD keeps the
learning rate inside the velocity and has no L2 term, its AdamW adds epsilon before it corrects
the bias, its LAMB scales norms and biases too, and it has no LARS.

In formulas w is a variable, g its gradient, r the learning rate, d the weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rezoo.models.naming import HEADS, stage_of
from rezoo.recipes.recipe import Recipe
from rezoo.training.schedules import schedule

_register = keras.saving.register_keras_serializable(package="rezoo")


def build_optimizer(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> Rule:
    """Return a recipe's optimizer, built for the variables of a network that it trains.

    The head has the recipe's learning rate. The multiplier of all other variables is
    `backbone_lr_scale`, times `layer_lr_decay` once for each stage from the head down: with layer1
    to layer4 the power is 1 for layer4, 4 for layer1 and 5 for the stem, as in arXiv:2106.08254,
    appendix, by stage instead of by block. A network whose layers have no such names is one stage.
    If `backbone_lr_scale` is 0, all variables but the head's are frozen.
    """
    rate = schedule(recipe, steps_per_epoch)
    shared = {"weight_decay": recipe.weight_decay, "decay_vectors": recipe.decay_norm_and_bias}
    optimizer: Rule
    match recipe.optimizer:
        case "sgd":
            peak = rate.peak if recipe.decoupled_weight_decay else None
            optimizer = SGD(
                rate, recipe.momentum, nesterov=recipe.nesterov, peak_learning_rate=peak, **shared
            )
        case "lars":
            trust = recipe.trust_coefficient
            optimizer = LARS(rate, recipe.momentum, trust_coefficient=trust, **shared)
        case "lamb":
            optimizer = LAMB(rate, **shared)
        case _:
            optimizer = AdamW(rate, **shared)
    multipliers = [
        recipe.backbone_lr_scale * recipe.layer_lr_decay**depth if depth else 1.0
        for depth in _depths(model)
    ]
    variables = zip(model.trainable_variables, multipliers, strict=True)
    optimizer.build([v for v, m in variables if m], [m for m in multipliers if m])
    return optimizer


def _depths(model: keras.Model) -> list[int]:
    """Return the stages to the head of each variable; a final norm is of the last stage."""
    names = [v.path.split("/", 1)[0] for v in model.trainable_variables]
    stages = [*dict.fromkeys(filter(None, map(stage_of, names)))]
    current, depths = 0, []
    for name in names:
        current = stages.index(stage_of(name)) + 1 if stage_of(name) else current
        depths.append(0 if name in HEADS else max(len(stages) + 1 - current, 1))
    return depths


class Rule(keras.optimizers.Optimizer):
    """Base of the optimizers: each has its own weight decay, which leaves vectors out.

    Attributes:
        weight_decay: d, of variables that decay.
        decay_vectors: Whether scales, shifts and biases (rank 1 and below) decay as well.
        multipliers: Of the learning rate, one for each variable.
        slots: Names of what is kept for each variable.
        arguments: Names of the constructor's own arguments.
    """

    slots: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

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

    def build(self, variables: list[Any], multipliers: Sequence[float] | None = None) -> None:
        """Add the slots, zeros, for the variables that `apply` will change."""
        if self.built:
            return
        super().build(variables)
        self.multipliers = list(multipliers or [1.0] * len(variables))
        self._kept = [self.add_optimizer_variables(variables, name) for name in self.slots]

    @property
    def trained(self) -> list[Any]:
        """The variables that it was built for."""
        return list(self._trainable_variables)  # an own list would be added to the state by Keras

    def rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """Return a variable's own learning rate."""
        multiplier = self.multipliers[self._get_variable_index(variable)]
        return learning_rate if multiplier == 1 else multiplier * learning_rate

    def decay_of(self, variable: Any) -> float:
        """Return a variable's weight decay; 0 if it does not decay."""
        return self.weight_decay if self.decay_vectors or len(variable.shape) > 1 else 0.0

    def slots_of(self, variable: Any) -> list[Any]:
        """Return what is kept for a variable, in the order of `slots`."""
        index = self._get_variable_index(variable)
        return [kept[index] for kept in self._kept]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        ours = {key: config[key] for key in ("name", "learning_rate", "weight_decay")}
        return {**ours, **{key: getattr(self, key) for key in ("decay_vectors", *self.arguments)}}

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: Keras would decay here, and each rule has its own decay."""


@_register
class SGD(Rule):
    """Stochastic gradient descent with momentum m, as `torch.optim.SGD` has it.

    b ← m b + g + d w; w ← w - r b, or with Nesterov's momentum w - r (g + d w + m b).

    With `peak_learning_rate` p the decay is decoupled: b has no d w, and w also loses (r / p) d w.
    This is SGDW (arXiv:1711.05101, algorithm 1), as Composer's `DecoupledSGDW` has it. To shrink
    weights as fast as the coupled form, d must be p / (1 - m) times as large.
    """

    slots = ("momentum",)
    arguments = ("momentum", "nesterov", "peak_learning_rate")

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
            weight, slope = _norm(variable), _norm(gradient)
            ratio = self.trust_coefficient * weight / (slope + decay * weight + 1e-8)
            gradient = _trusted(ratio, weight, slope) * (gradient + decay * variable)
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * momentum)


class _Adaptive(Rule):
    """Averages of the gradient and its square, as Adam has them (arXiv:1412.6980, algorithm 1)."""

    slots = ("mean", "square")
    arguments = ("beta_1", "beta_2")
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
            weight, length = _norm(variable), _norm(update)
            update = _trusted(weight / length, weight, length) * update
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * update)


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(x)))


def _trusted(ratio: Any, weight: Any, other: Any) -> Any:
    """Return the trust ratio, or 1 if a norm is 0."""
    return ops.where(ops.logical_and(weight > 0, other > 0), ratio, 1.0)
