"""Layers that a run does not train: their weights and their statistics stay as they are."""

from __future__ import annotations

import keras

from rezoo.errors import SpecError
from rezoo.models.naming import HEADS, stage_of
from rezoo.models.norms import freeze_statistics
from rezoo.recipes.recipe import Recipe

STEM, BACKBONE = "stem", "backbone"


def frozen_layers(model: keras.Model, recipe: Recipe) -> frozenset[str]:
    """Return the names of the layers that `freeze` of a recipe names.

    `stem` is every layer before the first stage, `backbone` every layer but the head. Any other
    name stands for the layer of that name and for all below it: `layer1`, `layer1.0`, `bn1`.

    Raises:
        SpecError: There is no such layer, or no layer is left to train.
    """
    layers = [layer.name for layer in model.layers if layer.weights]
    stages = [*dict.fromkeys(filter(None, map(stage_of, layers)))]
    first = next((n for n, name in enumerate(layers) if stage_of(name)), 0)
    groups = {STEM: layers[:first], BACKBONE: [n for n in layers if n not in HEADS]}
    frozen: set[str] = set()
    for wanted in recipe.freeze:
        found = groups.get(wanted) or [n for n in layers if f"{n}.".startswith(f"{wanted}.")]
        if not found:
            known = ", ".join([STEM, *stages, BACKBONE]) if stages else BACKBONE
            raise SpecError(
                f"freeze: {model.name} has no layers {wanted!r}",
                hint=f"allowed are {known}, and the beginnings of layers' names such as "
                f"{layers[first]}.",
            )
        frozen.update(found)
    trained = [layer for layer in model.layers if layer.trainable_weights]
    if frozen.issuperset(layer.name for layer in trained):
        raise SpecError(
            f"freeze = {', '.join(recipe.freeze)} leaves no layer to train",
            hint="leave out one of them.",
        )
    return frozenset(frozen)


def freeze(model: keras.Model, recipe: Recipe) -> frozenset[str]:
    """Freeze the statistics of the layers that a recipe freezes, or of all; raises as both parts.

    Returns:
        `frozen_layers`, whose weights `rezoo.training.optimizers.build_optimizer` leaves out.
    """
    frozen = frozen_layers(model, recipe)
    freeze_statistics(model, None if recipe.batch_norm == "frozen" else frozen)
    return frozen
