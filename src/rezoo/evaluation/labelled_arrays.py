"""Images and labels in memory as a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from rezoo.data.datasets import Dataset
from rezoo.data.examples import Examples, Splits
from rezoo.data.image_sources import ArraySource
from rezoo.data.transforms import with_channels
from rezoo.errors import SpecError
from rezoo.specs import DatasetSpec, ModelConfig

ARRAYS = "arrays"
_ALLOWED = "images are uint8 (N, H, W) or (N, H, W, C), with 1 or 3 channels and values 0 to 255"


def dataset_of_arrays(given: tuple[Any, ...], config: ModelConfig) -> Dataset:
    """Return images and their labels as a dataset with one split, `test`.

    Args:
        given: `(images, labels)`. Images are uint8 `(N, H, W)` or `(N, H, W, C)`. Labels are the
            index of the class in the head, int `(N,)`, or its name; for a multi-label network
            zeros and ones `(N, K)`.
        config: Of the network: its classes are those of the dataset.

    Raises:
        SpecError: The arrays have another shape or type.
        IncompatibleError: A label is not a class.
    """
    if len(given) != 2:
        raise SpecError(f"{len(given)} arrays; allowed are two: (images, labels)")
    names = tuple(map(config.label, range(config.num_classes)))
    images = _images(given[0])
    labels = _labels(given[1], names)
    if len(labels) != len(images):
        raise SpecError(f"there are {len(images)} images and {len(labels)} labels")
    wanted = config.preprocessing.channels
    if images.shape[-1] != wanted:
        images = np.asarray(with_channels(images, wanted))
    keys = [str(number) for number in range(len(images))]
    splits = Splits(
        parts={"test": Examples(ArraySource(images, labels, keys))},
        class_names=names,
        multi_label=config.multi_label,
    )
    return Dataset(ARRAYS, DatasetSpec(name=ARRAYS, open=lambda: splits), splits)


def _images(given: Any) -> np.ndarray:
    images = np.asarray(given)
    if images.dtype != np.uint8:
        raise SpecError(
            f"the images are {images.dtype}; {_ALLOWED}",
            hint="pass the pixels before any scaling, for example images.astype('uint8').",
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise SpecError(f"the images have the shape {np.shape(given)}; {_ALLOWED}")
    return images


def _labels(given: Any, names: tuple[str, ...]) -> np.ndarray:
    labels = np.asarray(given)
    if labels.dtype.kind not in "OU" or labels.ndim != 1:
        return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    places = {name: place for place, name in enumerate(names)}
    if unknown := sorted({str(name) for name in labels} - places.keys()):
        raise SpecError(
            f"the label {unknown[0]!r} is no class of the network",
            hint="pass names or indices of its classes: model.rezoo_config.class_names.",
        )
    return np.array([places[str(name)] for name in labels], np.int32)
