"""The optimizers of recipes: one step of each, and the learning rate of each variable.

The papers' and PyTorch's rules, as Keras optimizers. Keras's own differ: its SGD keeps the
learning rate inside the velocity and has no L2 term, its AdamW adds epsilon before it corrects
the bias, its LAMB scales norms and biases too, and it has no LARS.

In formulas w is a variable, g its gradient, r the learning rate, d the weight decay.
"""

from __future__ import annotations

from typing import Any

import keras

from rezoo.models.naming import HEADS, stage_of
from rezoo.recipes.recipe import Recipe
from rezoo.training.adaptive import LAMB, AdamW
from rezoo.training.muon import Muon, require_normalization
from rezoo.training.rule import Rule, norm, trusted
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
        case "muon":
            require_normalization(model)
            optimizer = Muon(rate, recipe.momentum, adamw_scale=recipe.adamw_lr_scale, **shared)
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
            weight, slope = norm(variable), norm(gradient)
            ratio = self.trust_coefficient * weight / (slope + decay * weight + 1e-8)
            gradient = trusted(ratio, weight, slope) * (gradient + decay * variable)
        momentum = self.momentum * buffer + gradient
        self.assign(buffer, momentum)
        self.assign_sub(variable, self.rate_of(variable, learning_rate) * momentum)
