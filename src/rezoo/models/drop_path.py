"""Stochastic depth: residual branches that are left out in training.

A block ends in `addition`, so whatever is built of `rezoo.models.layers` inside the block of
`stochastic_depth` has it; neither builders nor plugins need to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from rezoo.errors import SpecError


@keras.saving.register_keras_serializable(package="rezoo")
class Add(keras.layers.Add):
    """The sum of a residual branch and a shortcut that trains with stochastic depth.

    In training the branch is left out for some images, and divided by the probability of being
    there for the others; see `stochastic_depth`. Else it is the layer of Keras, and bears its
    name so that a network has the same fingerprint with and without.

    Args:
        rate: Probability that a branch is left out, 0 to below 1.
        seed: Of the choice, which goes on from one step to the next.
        **options: Of `keras.layers.Add`.
    """

    def __init__(self, *, rate: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add `[residual, shortcut]`, both `(N, H, W, C)`."""
        residual, shortcut = inputs
        if training and self.rate > 0:
            shape = (None, 1, 1, 1)
            residual = keras.random.dropout(residual, self.rate, shape, seed=self.seed_generator)
        return super().call([residual, shortcut])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@dataclass
class _Depth:
    """The sums of the network that is being built."""

    seed: int
    sums: list[Add] = field(default_factory=list)


_building: ContextVar[_Depth | None] = ContextVar("building", default=None)


@contextmanager
def stochastic_depth(rate: float, *, seed: int) -> Iterator[None]:
    """Let the network that is built inside the block train with stochastic depth.

    Huang et al. 2016, arXiv:1603.09382: in training, each image leaves out some residual
    branches; block i of n, from 0, with probability `rate` i / (n - 1). The branches that are
    kept are divided by the probability of being kept, so at inference nothing changes. As in
    timm's `drop_path`.

    Args:
        rate: Of the last block, 0 (nothing changes) to below 1.
        seed: Of the choices.

    Raises:
        SpecError: Fewer than two of this module's blocks were built.
    """
    if not rate:
        yield
        return
    depth = _Depth(seed)
    token = _building.set(depth)
    try:
        yield
    finally:
        _building.reset(token)
    last = len(depth.sums) - 1
    if last < 1:
        raise SpecError(
            f"stochastic_depth = {rate:g}: the network has no two blocks of rezoo.models.layers",
            hint="set stochastic_depth to 0 for this architecture.",
        )
    for place, layer in enumerate(depth.sums):
        layer.rate = rate * place / last


def addition(name: str) -> keras.layers.Layer:
    """Return the layer that adds `[residual, shortcut]` at the end of a block."""
    depth = _building.get()
    if depth is None:
        return keras.layers.Add(name=name)
    place = len(depth.sums)
    seed = int(np.random.SeedSequence([depth.seed, place]).generate_state(1)[0])
    layer = Add(rate=0.0, seed=seed, name=name)  # the rate follows when all are there
    depth.sums.append(layer)
    return layer
