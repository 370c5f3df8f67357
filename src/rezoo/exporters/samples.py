"""The images that an export is compared on, and those that int8 is calibrated with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rezoo.artifacts.run_files import REFERENCE
from rezoo.artifacts.safetensors import read_tensors
from rezoo.data.datasets import load_dataset
from rezoo.data.examples import Examples
from rezoo.data.images import decode
from rezoo.data.transforms import test_transform, with_channels
from rezoo.errors import NotFoundError
from rezoo.evaluation.class_names import match_classes
from rezoo.evaluation.reference_batch import drawn_pictures, prepared
from rezoo.sources.references import Source
from rezoo.specs import Preprocessing

_SPLITS = ("test", "val", "train")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images before and after the test transform.

    Attributes:
        pictures: uint8 `(h, w, C)` each.
        inputs: float32 `(N, H, W, C)`.
        labels: int64 `(M,)`: classes of the last M images; M is 0 for multi-label data.
        what: The images in words.
    """

    pictures: list[np.ndarray]
    inputs: np.ndarray
    labels: np.ndarray
    what: str


def comparison_samples(
    source: Source, dataset: str | None, preprocessing: Preprocessing, *, count: int
) -> Samples:
    """Return the reference batch, or drawn pictures, followed by images of a dataset.

    Of the dataset, if there is one, at most `count` images are taken, evenly spaced in the test
    split, or else in val or train. Its classes must be those of the network.
    """
    pictures, what = _reference(source, preprocessing)
    labels = np.zeros(0, np.int64)
    if dataset is not None:
        data = load_dataset(dataset)
        split = next(name for name in _SPLITS if name in data.splits.parts)
        examples = data.examples(split)
        chosen = examples.select(_evenly_spaced(len(examples), count))
        found = list(_fetched(chosen, preprocessing.channels))
        pictures += [picture for picture, _ in found]
        if not data.splits.multi_label:
            classes, _ = match_classes(data.class_names, source.config, labels=examples.labels())
            labels = classes[[int(label) for _, label in found]]
        what += f", {len(found)} images of {dataset} ({split})"
    inputs = prepared(pictures, preprocessing)
    return Samples(pictures=pictures, inputs=inputs, labels=labels, what=what)


def calibration_samples(dataset: str, preprocessing: Preprocessing, *, count: int) -> np.ndarray:
    """Return prepared training images, balanced over the classes, float32 `(N, H, W, C)`."""
    data = load_dataset(dataset)
    split = next((name for name in ("train", "val") if name in data.splits.parts), None)
    if split is None:
        raise NotFoundError(
            f"{dataset} has no training images for calibration",
            hint="name a dataset with a train split with --calibrate.",
        )
    examples = data.examples(split)
    chosen = examples.select(_balanced(examples, count))
    transform = test_transform(preprocessing, encoded=chosen.encoded)
    fetch = tf.autograph.experimental.do_not_convert(chosen.fetch)
    images = tf.data.Dataset.range(len(chosen)).map(
        lambda i: transform(fetch(i)[0]), num_parallel_calls=tf.data.AUTOTUNE
    )
    found = list(images.ignore_errors().as_numpy_iterator())
    if not found:
        raise NotFoundError(
            f"none of the {len(chosen)} training images of {dataset} can be read",
            hint="rezoo data check lists the causes.",
        )
    return np.stack(found)


def _evenly_spaced(total: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


def _balanced(examples: Examples, count: int) -> np.ndarray:
    """Return the places of the first example of each class, then of the second, and so on."""
    labels = examples.labels()
    if labels is None:
        labels = np.array([int(label) for _, label in _fetched(examples)])
    if labels.ndim == 2:  # multi-label data
        return _evenly_spaced(len(examples), count)
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    rank = np.empty(len(labels), np.int64)  # of each example within its class
    rank[order] = np.arange(len(labels)) - np.searchsorted(sorted_labels, sorted_labels)
    return np.argsort(rank, kind="stable")[:count]


def _fetched(examples: Examples, channels: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield uint8 images `(h, w, channels)` and labels; empty images if `channels` is 0."""

    @tf.autograph.experimental.do_not_convert
    def fetch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = examples.fetch(index)
        if not channels:
            return tf.zeros((0,), tf.uint8), label
        if examples.encoded:
            return decode(image, channels), label
        return with_channels(image, channels), label

    stream = tf.data.Dataset.range(len(examples)).map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    yield from stream.ignore_errors().as_numpy_iterator()


def _reference(source: Source, preprocessing: Preprocessing) -> tuple[list[np.ndarray], str]:
    path = source.folder / REFERENCE if source.folder else None
    if path is None or not path.is_file():
        pictures = drawn_pictures(preprocessing)
        return pictures, f"{len(pictures)} drawn pictures"
    values, metadata = read_tensors(path, source.expected(REFERENCE, path))
    pictures = [values[name] for name in sorted(values) if name.startswith("image.")]
    return pictures, f"the reference batch ({metadata.get('images', len(pictures))})"
