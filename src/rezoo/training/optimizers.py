"""The optimizers of recipes: one step of each, and the learning rate of each variable.

The papers' and PyTorch's rules, as Keras optimizers. Keras's own differ: its SGD keeps the
learning rate inside the velocity and has no L2 term, its AdamW adds epsilon before it corrects
the bias, its LAMB scales norms and biases too, and it has no LARS.

In formulas w is a variable, g its gradient, r the learning rate, d the weight decay.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import keras

from rezoo.models.naming import HEADS, stage_of
from rezoo.recipes.recipe import Recipe
from rezoo.training.adaptive import LAMB, AdamW
from rezoo.training.muon import Muon, require_normalization
from rezoo.training.rule import Rule
from rezoo.training.schedules import schedule
from rezoo.training.sgd import LARS, SGD


def build_optimizer(
    model: keras.Model,
    recipe: Recipe,
    steps_per_epoch: int,
    frozen: Set[str] = frozenset(),
) -> Rule:
    """Return a recipe's optimizer, built for the variables of a network that it trains.

    The head has the recipe's learning rate. The multiplier of all other variables is
    `backbone_lr_scale`, times `layer_lr_decay` once for each stage from the head down: with layer1
    to layer4 the power is 1 for layer4, 4 for layer1 and 5 for the stem, as in arXiv:2106.08254,
    appendix, by stage instead of by block. A network whose layers have no such names is one stage.
    If `backbone_lr_scale` is 0, all variables but the head's are frozen. So are those of the layers
    in `frozen`, by name.
    """
    rate = schedule(recipe, steps_per_epoch)
    shared: dict[str, Any] = {
        "weight_decay": recipe.weight_decay,
        "decay_vectors": recipe.decay_norm_and_bias,
    }
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
            optimizer = Muon(
                rate,
                recipe.momentum,
                sgd_scale=recipe.sgd_lr_scale,
                vector_scale=recipe.vector_lr_scale,
                nesterov=True,
                peak_learning_rate=rate.peak,
                **shared,
            )
        case _:
            optimizer = AdamW(rate, **shared)
    multipliers = [
        recipe.backbone_lr_scale * recipe.layer_lr_decay**depth if depth else 1.0
        for depth in _depths(model)
    ]
    trained = [
        (variable, multiplier)
        for variable, multiplier in zip(model.trainable_variables, multipliers, strict=True)
        if multiplier and _layer_of(variable) not in frozen
    ]
    optimizer.build([v for v, _ in trained], [m for _, m in trained])
    return optimizer


def _depths(model: keras.Model) -> list[int]:
    """Return the stages to the head of each variable; a final norm is of the last stage."""
    names = [*map(_layer_of, model.trainable_variables)]
    stages = [*dict.fromkeys(filter(None, map(stage_of, names)))]
    current, depths = 0, []
    for name in names:
        current = stages.index(stage_of(name)) + 1 if stage_of(name) else current
        depths.append(0 if name in HEADS else max(len(stages) + 1 - current, 1))
    return depths


def _layer_of(variable: keras.Variable) -> str:
    return str(variable.path).split("/", 1)[0]
