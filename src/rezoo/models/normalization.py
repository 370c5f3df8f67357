"""From grey levels to the input of a network.

Batches are whole grey levels, uint8, a quarter of the bytes of float32: on their way to the device
and while they wait there. The compiled training step and the compiled forward pass normalize them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rezoo.specs import Preprocessing


def network_input(images: Any, preprocessing: Preprocessing | None) -> Any:
    """Return the input of a network, a float32 tensor of the backend.

    Args:
        images: uint8 `(B, H, W, C)`, W and C known.
        preprocessing: Its `mean` and `std` are used. If None, the images are the input already.
    """
    if preprocessing is None:
        return images
    return normalized(keras.ops.cast(images, "float32"), preprocessing)


def normalized(levels: Any, preprocessing: Preprocessing) -> Any:
    """Return grey levels divided by 255, less the mean, divided by the standard deviation.

    Args:
        levels: float32 `(…, W, C)`, 0 to 255, W and C known: of TensorFlow, JAX or NumPy.
        preprocessing: Its `mean` and `std` are used.

    Returns:
        float32 of the same kind and shape.
    """
    mean, std = (
        np.asarray(values, np.float64) for values in (preprocessing.mean, preprocessing.std)
    )
    # As long as a row: on a CPU, TensorFlow takes three times as long to broadcast C values. With
    # one product and one sum, no graph optimizer can change the order.
    row = tuple(levels.shape[-2:])
    factor = np.broadcast_to((1.0 / (255.0 * std)).astype(np.float32), row)
    summand = np.broadcast_to((-mean / std).astype(np.float32), row)
    return levels * factor + summand


def visible(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo the normalization: float `(…, W, C)` to uint8."""
    grey_levels = (images * np.array(preprocessing.std) + np.array(preprocessing.mean)) * 255
    return np.clip(np.rint(grey_levels), 0, 255).astype(np.uint8)
