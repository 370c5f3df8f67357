"""A first convolution that is fitted to the images: their small patches, uncorrelated.

Its filters are the principal components of patches of training images, each divided by the
standard deviation along it, and their negatives. They are not trained ("94% on CIFAR-10 in 3.29
Seconds on a Single GPU", Jordan 2024, arXiv:2404.00498, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.models.devices import Devices
from rezoo.models.normalization import normalized
from rezoo.specs import Preprocessing

IMAGES = 5_000  # at most, of the training split
_LEAST_VARIANCE = 5e-4  # added, so that no filter multiplies the rounding of grey levels


def first_convolution(network: keras.Model) -> Any:
    """Return the convolution that reads the images, if it has a filter for each component.

    Raises:
        IncompatibleError: The first layer with weights is none, or its shape does not fit.
    """
    first = next((layer for layer in network.layers if layer.weights), None)
    if isinstance(first, keras.layers.Conv2D) and not first.use_bias and first.groups == 1:
        height, width, channels, filters = first.kernel.shape
        if filters == 2 * height * width * channels:
            return first
    raise IncompatibleError(
        f"stem_start = whitened: the first layer of {network.name} is no convolution without bias "
        "that has two filters for each number in a patch",
        hint="use wide_resnet8, or --set stem_start=random.",
    )


def fit(layer: Any, batches: Iterable[Any], preprocessing: Preprocessing) -> np.ndarray:
    """Return the kernel of a convolution, float32 `(h, w, C, F)`, F = 2 h w C, for some images.

    Args:
        layer: From `first_convolution`.
        batches: Pairs of images, uint8 `(B, H, W, C)`, and labels.
        preprocessing: Of the images.
    """
    height, width, channels, _ = layer.kernel.shape
    size, count = height * width * channels, 0
    moments = np.zeros((size, size))
    for images, _ in batches:
        pixels = normalized(np.asarray(images, np.float32), preprocessing)
        views = np.lib.stride_tricks.sliding_window_view(pixels, (height, width), axis=(1, 2))
        patches = np.moveaxis(views, 3, -1).reshape(-1, size).astype(np.float64)
        moments += patches.T @ patches
        count += len(patches)
    variances, components = np.linalg.eigh(moments / count)
    filters = components / np.sqrt(np.maximum(variances, 0.0) + _LEAST_VARIANCE)
    filters = filters * np.where(filters.sum(0) < 0, -1.0, 1.0)  # the sign of each is arbitrary
    both = np.concatenate([filters, -filters], axis=1)
    return both.reshape(height, width, channels, -1).astype(np.float32)


def whiten(
    network: keras.Model, batches: Iterable[Any], preprocessing: Preprocessing, devices: Devices
) -> None:
    """Fit a network's first convolution and exclude it from training.

    All hosts do so, and the first one's filters are used.

    Raises:
        IncompatibleError: See `first_convolution`.
    """
    layer = first_convolution(network)
    kernel = fit(layer, batches, preprocessing)
    layer.kernel.assign(devices.arrays_from_first({"kernel": kernel})["kernel"])
    layer.trainable = False
