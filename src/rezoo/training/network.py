"""The network of a run, built in its precision and filled from weights; batches on its devices."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import keras
import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.class_names import same_classes
from rezoo.models.devices import Devices
from rezoo.models.factory import create_model
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import has_one_size
from rezoo.sources.load import fill
from rezoo.sources.references import Source
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import task_of


def build_network(config: ModelConfig, recipe: Recipe) -> keras.Model:
    """Build the network with random weights, for one size of images or for any."""
    preprocessing = config.preprocessing
    size = preprocessing.size if has_one_size(recipe) else (None, None)
    with seeded(recipe.seed):
        return create_model(
            config.architecture,
            num_classes=config.num_classes,
            input_shape=(*size, preprocessing.channels),
            stochastic_depth=recipe.stochastic_depth,
            seed=recipe.seed,
            precision=recipe.precision,
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that Keras takes its seeds from; restore their states afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class Start(NamedTuple):
    """What a network starts from.

    Attributes:
        notes: For the user.
        origin: Of the weights; None if they are random.
        new_head: Whether the head has random weights.
    """

    notes: tuple[str, ...]
    origin: Origin | None
    new_head: bool


def start_from(source: Source, network: keras.Model, config: ModelConfig) -> Start:
    """Fill the network from the source's weights, if it has any."""
    if not source.has_weights:
        return Start((), None, new_head=True)
    ours, theirs = task_of(config.multi_label), task_of(source.config.multi_label)
    keep_head = same_classes(config.class_names, source.config) and ours is theirs
    origin = source.origin(fill(network, source, new_head=not keep_head))
    head = f"new head for {config.num_classes} classes; all else from {source.reference}"
    if ours is not theirs:
        head += f", which is {theirs.name}; the data are {ours.name}"
    notes = ["the weights' head is kept: the classes are the same" if keep_head else head]
    if source.address:
        notes.append(f"weights {origin}, licence {source.licence or 'not stated'}")
    return Start(tuple(notes), origin, new_head=not keep_head)


def agreed(recipe: Recipe, devices: Devices) -> Recipe:
    """Return the first host's recipe: other machines may measure other values."""
    if devices.hosts == 1:
        return recipe
    values = devices.from_first(recipe.to_dict())
    return Recipe.from_dict(values, origin="the first host's recipe")


def check_batch(recipe: Recipe, devices: Devices) -> None:
    """Check that each device and each micro-batch has the same number of images.

    Raises:
        SpecError: They have not, or a host has an odd number and neighbours are mixed.
    """
    unit = devices.count * recipe.accumulation
    if recipe.mixes and unit > 1:
        unit = math.lcm(unit, 2 * devices.hosts * recipe.accumulation)
    size, parts = recipe.batch_size, f"{devices.count} devices"
    if size % unit == 0:
        return
    if recipe.accumulation > 1:
        parts += f" and {recipe.accumulation} micro-batches"
    below, above = size // unit * unit, -(-size // unit) * unit
    sizes = " or ".join(str(n) for n in (below, above) if n)
    even = ", an even number on each host, since neighbours are mixed" if recipe.mixes else ""
    raise SpecError(
        f"a batch of {size} cannot be divided between {parts}{even}",
        hint=f"the next sizes that fit: --batch-size {sizes}.",
    )
