"""A recipe becomes optimizers: one for each group of variables with its own learning rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from rezoo.recipes.recipe import Recipe
from rezoo.training.schedules import schedule
from rezoo.training.update_rules import LAMB, LARS, SGD, AdamW, Rule

_STAGE = re.compile(r"layer(\d+)\.")


@dataclass(frozen=True)
class Group:
    """Variables that one optimizer updates.

    Attributes:
        variables: Trainable variables.
        optimizer: Built for exactly these.
    """

    variables: Sequence[Any]
    optimizer: Rule


def groups(model: keras.Model, recipe: Recipe, steps_per_epoch: int, *, head: str) -> list[Group]:
    """Divide the trainable variables by their learning rates and build an optimizer for each.

    The head has the recipe's rate. All else has it times `backbone_lr_scale`, and times
    `layer_lr_decay` once for each stage from the head down: with layer1 to layer4 the power is 1
    for layer4, 4 for layer1 and 5 for what comes before (the stem), as in arXiv:2106.08254,
    appendix, by stage instead of by block. A network whose layers have no such names is one
    stage. At `backbone_lr_scale` 0 all but the head is left out, so it is frozen but for its
    batch statistics.
    """
    trainable = list(model.trainable_variables)
    scales: dict[float, list[Any]] = {}
    for variable, depth in zip(trainable, _depths(trainable, head), strict=True):
        scale = recipe.backbone_lr_scale * recipe.layer_lr_decay**depth if depth else 1.0
        if scale:
            scales.setdefault(scale, []).append(variable)
    return [
        Group(variables, _optimizer(variables, recipe, steps_per_epoch, scale))
        for scale, variables in scales.items()
    ]


def _depths(variables: Sequence[Any], head: str) -> list[int]:
    """Return how many stages each variable is from the head, which is 0."""
    names = [v.path.split("/", 1)[0] for v in variables]
    stages = [int(found[1]) if (found := _STAGE.match(name)) else 0 for name in names]
    last = max(stages, default=0)
    return [
        0 if name == head else max(last + 1 - stage, 1)
        for name, stage in zip(names, stages, strict=True)
    ]


def _optimizer(variables: list[Any], recipe: Recipe, steps_per_epoch: int, scale: float) -> Rule:
    rate = schedule(recipe, steps_per_epoch, scale=scale)
    shared = {
        "weight_decay": recipe.weight_decay,
        "decay_vectors": recipe.decay_norm_and_bias,
    }
    optimizer: Rule
    match recipe.optimizer:
        case "sgd":
            peak = rate.peak if recipe.decoupled_weight_decay else None
            optimizer = SGD(
                rate,
                recipe.momentum,
                nesterov=recipe.nesterov,
                peak_learning_rate=peak,
                **shared,
            )
        case "lars":
            optimizer = LARS(
                rate, recipe.momentum, trust_coefficient=recipe.trust_coefficient, **shared
            )
        case "lamb":
            optimizer = LAMB(rate, **shared)
        case _:
            optimizer = AdamW(rate, **shared)
    optimizer.build(variables)
    return optimizer
