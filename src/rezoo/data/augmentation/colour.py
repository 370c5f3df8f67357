"""Colour jitter: random brightness, contrast and saturation, in random order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import tensorflow as tf

from rezoo.data.augmentation import operations
from rezoo.data.rng import Stream, integers, uniform

_ORDER = Stream.COLOUR
_FACTOR = Stream.COLOUR + 1
_OPERATIONS = (operations.brightness, operations.contrast, operations.saturation)
_ORDERS = tuple(permutations(range(len(_OPERATIONS))))


def colour_jitter(strength: float) -> Callable[[Any, Any], Any]:
    """Return the transform `(image, seed)` to image, uint8 `(H, W, C)`, C = 1 or 3.

    As in torchvision and timm with one number for all three, each factor is uniform in
    `[max(0, 1 - strength), 1 + strength]`. `seed` is int64 `(2,)`: one example in one epoch.
    """

    def transform(image: Any, seed: Any) -> Any:
        order = tf.constant(_ORDERS)[integers(seed, _ORDER, below=len(_ORDERS))]
        low, high = max(0.0, 1.0 - strength), 1.0 + strength
        factors = uniform(seed, _FACTOR, (len(_OPERATIONS),), low, high)
        for place in range(len(_OPERATIONS)):
            kind = order[place]
            branches = [partial(run, image, factors[i]) for i, run in enumerate(_OPERATIONS)]
            image = tf.switch_case(kind, branches)
        return image

    return transform
