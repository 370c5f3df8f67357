"""Stochastic depth: residual branches that are dropped in training (arXiv:1603.09382)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from rezoo.errors import SpecError


class DropPath(NamedTuple):
    """Stochastic depth of one block.

    Attributes:
        rate: Probability that the residual branch of an image is dropped.
        seed: Seed of the layer's random numbers.
    """

    rate: float
    seed: int


def drop_paths(rate: float, *, blocks: int, seed: int) -> list[DropPath | None]:
    """Return the stochastic depth of each block: the rate grows linearly from 0 to `rate`.

    Args:
        rate: Probability that the branch of the last block is dropped; 0 for no stochastic depth.
        blocks: Number of residual blocks.
        seed: Seed from which the seeds of the blocks are derived.

    Raises:
        SpecError: `rate` is above 0 and the network has fewer than two residual blocks.
    """
    if not rate:
        return [None] * blocks
    if blocks < 2:
        raise SpecError(
            f"stochastic_depth: {rate:g}; the network has no two residual blocks",
            hint="set stochastic_depth to 0 for this architecture.",
        )
    seeds = (np.random.SeedSequence([seed, block]).generate_state(1)[0] for block in range(blocks))
    return [
        DropPath(rate * block / (blocks - 1), int(block_seed))
        for block, block_seed in enumerate(seeds)
    ]


def add(residual: Any, shortcut: Any, drop_path: DropPath | None, *, name: str) -> Any:
    """Return the sum of a residual branch and a shortcut, both `(N, H, W, C)`.

    Args:
        residual: The branch.
        shortcut: The shortcut.
        drop_path: Stochastic depth of this block; None for none.
        name: Name of the layer.
    """
    if drop_path is None:
        return keras.layers.Add(name=name)([residual, shortcut])
    return Add(rate=drop_path.rate, seed=drop_path.seed, name=name)([residual, shortcut])


@keras.saving.register_keras_serializable(package="rezoo")
class Add(keras.layers.Add):
    """The sum of a residual branch and a shortcut, with stochastic depth.

    In training, the branch is dropped for each image with probability `rate` and divided by
    `1 - rate` otherwise, as timm's `drop_path` does. At inference it is `keras.layers.Add`. The
    class has the same name, so the fingerprint of a network does not depend on stochastic depth.

    Args:
        rate: Probability that a branch is dropped, 0 to below 1.
        seed: Seed of the random numbers, which differ from step to step.
        **options: Arguments of `keras.layers.Add`.
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
