"""The network of a run: built in its precision, filled from weights, in parts that fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import keras

from rezoo.artifacts.weights import HEAD
from rezoo.errors import ResourceError
from rezoo.models.factory import create_model
from rezoo.models.profile import profile
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import has_one_size
from rezoo.sources.load import fill
from rezoo.sources.references import Source
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import task_of
from rezoo.training import memory
from rezoo.utils import device


def build_network(config: ModelConfig, recipe: Recipe) -> keras.Model:
    """Build the network with random weights, for one size of images or for any."""
    preprocessing = config.preprocessing
    size = preprocessing.size if has_one_size(recipe) else (None, None)
    with dtype_policy(recipe.precision):
        return create_model(
            config.architecture,
            num_classes=config.num_classes,
            input_shape=(*size, preprocessing.channels),
            stochastic_depth=recipe.stochastic_depth,
            seed=recipe.seed,
        )


def in_parts_that_fit(
    network: keras.Model, config: ModelConfig, recipe: Recipe
) -> tuple[Recipe, str]:
    """Return the recipe with its batch in the largest parts that fit into free memory, and words.

    Raises:
        ResourceError: Nobody tells how much memory is free.
    """
    """Divide the batch into the largest parts that fit into the memory that is free."""
    free = device.free_bytes()
    if free is None:
        raise ResourceError(
            "batch_size auto: this machine does not tell how much memory is free",
            hint="set a number, and --set accumulation=N to divide the batch into N parts.",
        )
    size = recipe.train_size or config.preprocessing.size[0]
    counted = profile(network, input_shape=(size, size, config.preprocessing.channels))
    fitted = dataclasses.replace(recipe, accumulation=memory.largest_part(counted, recipe, free))
    return fitted, (
        f"batch {fitted.batch_size} in {fitted.accumulation} parts of {fitted.micro_batch_size}: "
        f"{free / 1e9:.1f} GB are free"
    )


class Start(NamedTuple):
    """What a network starts from: notes for the user, the origin, whether the head is new."""

    notes: tuple[str, ...]
    origin: Origin | None
    new_head: bool


def start_from(source: Source, network: keras.Model, config: ModelConfig) -> Start:
    """Fill the network from the source's weights, if any; say what happened to the head."""
    if not source.has_weights:
        return Start((), None, new_head=True)
    ours, theirs = task_of(config.multi_label), task_of(source.config.multi_label)
    same = bool(config.class_names) and source.config.class_names == config.class_names
    keep_head = same and ours is theirs
    origin = source.origin(fill(network, source, new_head="" if keep_head else HEAD))
    head = f"new head for {config.num_classes} classes; all else from {source.reference}"
    if ours is not theirs:
        head += f", which is {theirs.name}; the data are {ours.name}"
    notes = ["the weights' head is kept: the classes are the same" if keep_head else head]
    if source.address:
        notes.append(f"weights {origin}, licence {source.licence or 'not stated'}")
    return Start(tuple(notes), origin, new_head=not keep_head)


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build layers under a precision and leave the user's own setting as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
