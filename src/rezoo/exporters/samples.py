"""The real images that an export is calibrated with and compared on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from rezoo.artifacts.run_files import REFERENCE
from rezoo.artifacts.safetensors import read_tensors
from rezoo.data.datasets import load_dataset
from rezoo.data.examples import Examples
from rezoo.data.images import decode
from rezoo.data.transforms import test_transform
from rezoo.errors import NotFoundError
from rezoo.evaluation.evaluate import match_classes
from rezoo.evaluation.reference_batch import drawn_pictures
from rezoo.sources.references import Source
from rezoo.specs import Preprocessing

_SPLITS = ("test", "val", "train")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images as they are, as the network takes them, and what is on them.

    Attributes:
        pictures: uint8 `(h, w, C)` each.
        inputs: float32 `(N, H, W, C)`.
        labels: int64 `(M,)`: class of the head of the last M images; none of multi-label data.
        what: In words.
    """

    pictures: list[np.ndarray]
    inputs: np.ndarray
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    what: str = ""


def comparison(
    source: Source, dataset: str | None, preprocessing: Preprocessing, *, count: int
) -> Samples:
    """Return the reference batch, or drawn pictures, and images of a dataset behind them.

    Args:
        source: Whose reference batch.
        dataset: A dataset reference; its test split, or else val or train.
        preprocessing: What makes inputs of images.
        count: Images of the dataset at most, spread evenly over the split.

    Raises:
        IncompatibleError: The dataset's classes are not the network's.
    """
    pictures, what = _reference(source, preprocessing)
    labels = np.zeros(0, np.int64)
    if dataset is not None:
        data = load_dataset(dataset)
        split = next(name for name in _SPLITS if name in data.splits.parts)
        examples = data.examples(split)
        places = np.unique(np.linspace(0, len(examples) - 1, min(count, len(examples)))).astype(int)
        found = list(_fetched(examples.select(places), preprocessing.channels))
        pictures += [picture for picture, _ in found]
        if not data.splits.multi_label:
            classes, _ = match_classes(data.class_names, source.config)
            labels = classes[[int(label) for _, label in found]]
        what += f", {len(found)} images of {dataset} ({split})"
    return Samples(
        pictures=pictures, inputs=prepared(pictures, preprocessing), labels=labels, what=what
    )


def calibration(dataset: str, preprocessing: Preprocessing, *, count: int) -> np.ndarray:
    """Return training images, as many of each class as can be, float32 `(N, H, W, C)`.

    Raises:
        NotFoundError: The dataset has no training images, or none that can be read.
    """
    data = load_dataset(dataset)
    split = next((name for name in ("train", "val") if name in data.splits.parts), None)
    if split is None:
        raise NotFoundError(
            f"{dataset} has no training images to calibrate with",
            hint="name a dataset with a train split by --calibrate.",
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
            hint="rezoo data check tells what is wrong with them.",
        )
    return np.stack(found)


def prepared(pictures: list[np.ndarray], preprocessing: Preprocessing) -> np.ndarray:
    """Return what the test transform makes of pixels, float32 `(N, H, W, C)`."""
    transform = test_transform(preprocessing, encoded=False)
    return np.stack([transform(tf.constant(p)).numpy() for p in pictures])


def _balanced(examples: Examples, count: int) -> np.ndarray:
    """Return places of examples: the first of each class, then the second, and so on."""
    labels = examples.labels()
    every = np.arange(len(examples))
    if labels is None:
        labels = np.array([int(label) for _, label in _fetched(examples, 0)])
    if labels.ndim == 2:
        return every[np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).astype(int))]
    # rank of each example within its class
    order = np.argsort(labels, kind="stable")
    firsts = np.searchsorted(labels[order], labels[order])
    rank = np.empty(len(labels), np.int64)
    rank[order] = every - firsts
    return np.argsort(rank, kind="stable")[:count]


def _fetched(examples: Examples, channels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pixels and labels; with no channels, labels alone."""

    @tf.autograph.experimental.do_not_convert
    def fetch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = examples.fetch(index)
        if not channels:
            return tf.zeros((0,), tf.uint8), label
        return (decode(image, channels) if examples.encoded else image), label

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
