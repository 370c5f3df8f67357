"""The images that an export is compared on, and those that int8 is calibrated with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rezoo.artifacts.run_files import REFERENCE
from rezoo.artifacts.safetensors import read_tensors
from rezoo.data import splits
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.examples import Examples
from rezoo.data.images import decode
from rezoo.data.transforms import with_channels
from rezoo.data.unreadable import Faults
from rezoo.errors import NotFoundError, SpecError
from rezoo.evaluation.class_names import match_classes
from rezoo.evaluation.reference_batch import drawn_pictures, prepared
from rezoo.sources.references import Source
from rezoo.specs import Preprocessing
from rezoo.utils.names import count_of

_SPLITS = ("test", "val", "train")
_LABELS_PER_IMAGE = 20  # labels that are read for each calibration image, if reading is needed


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images before and after the test transform.

    Attributes:
        pictures: uint8 `(h, w, C)` each.
        inputs: float32 `(N, H, W, C)`.
        labels: int64 `(M,)`: classes of the last M images; M is 0 for multi-label data.
        what: The images in words.
        notes: Remarks: how classes were matched, images left out.
    """

    pictures: list[np.ndarray]
    inputs: np.ndarray
    labels: np.ndarray
    what: str
    notes: tuple[str, ...] = ()


def comparison_samples(
    source: Source, dataset: str | None, preprocessing: Preprocessing, *, count: int
) -> Samples:
    """Return the reference batch, or drawn pictures, followed by images of a dataset.

    Of the dataset, if there is one, at most `count` images are taken, evenly spaced in the test
    split, or else in val or train. Its classes must be those of the network.
    """
    pictures, what = _reference(source, preprocessing)
    if dataset is None:
        return _prepared(pictures, preprocessing, what)
    part = _Part(dataset, source, preprocessing)
    found = part.read(part.places(count))
    return Samples(
        pictures=pictures + found.pictures,
        inputs=np.concatenate([prepared(pictures, preprocessing), found.inputs]),
        labels=found.labels,
        what=f"{what}, {len(found.pictures)} {part.what}",
        notes=found.notes,
    )


def halves(
    source: Source, dataset: str | None, preprocessing: Preprocessing, *, count: int
) -> tuple[Samples, Samples]:
    """Return two halves of the images of a dataset: to choose by, and to judge by.

    At most `count` images are taken, as in `comparison_samples`. A hash of each image's key
    decides about its half. Without a dataset, the reference batch is divided.

    Raises:
        SpecError: There are fewer than two images.
    """
    if dataset is None:
        pictures, what = _reference(source, preprocessing)
        _require_two(len(pictures), what)
        odd, even = (
            _prepared(half, preprocessing, f"{len(half)} of {what}")
            for half in (pictures[::2], pictures[1::2])
        )
        return odd, even
    part = _Part(dataset, source, preprocessing)
    places = part.places(count)
    _require_two(len(places), f"{len(places)} {part.what}")
    examples = part.faults.examples.select(places)
    keys = [examples.source.split_key(int(position)) for position in examples.positions]
    first, second = splits.hold_out(splits.stable_hash(keys), 0.5)
    return part.read(places[first], of=len(places)), part.read(places[second], of=len(places))


def calibration_samples(
    dataset: str, preprocessing: Preprocessing, *, count: int, without: tuple[Samples, ...] = ()
) -> tuple[np.ndarray, str]:
    """Return prepared training images, balanced over the classes.

    Args:
        dataset: A dataset reference with a train or val split.
        preprocessing: From images to prepared images.
        count: Maximum number of images.
        without: Samples whose images are left out. If no image remains, only those of the last
            samples are left out.

    Returns:
        float32 `(N, H, W, C)`, and the images in words.
    """
    data = load_dataset(dataset)
    split = next((name for name in ("train", "val") if name in data.splits.parts), None)
    if split is None:
        raise NotFoundError(
            f"{dataset} has no training images for calibration",
            hint="name a dataset with a train split with --calibrate.",
        )
    faults = Faults(data.examples(split), DataOptions(), f"{dataset} ({split})")
    places = _balanced(faults.examples, count + sum(len(some.pictures) for some in without))
    for others in (without, without[-1:]):
        left_out = {_digest(picture) for some in others for picture in some.pictures}
        found: list[np.ndarray] = []
        for picture, _ in readable(faults, places, preprocessing.channels):
            if _digest(picture) not in left_out:
                found.append(prepared([picture], preprocessing)[0])
            if len(found) == count:
                break
        if found:
            what, bad = f"{count_of(len(found), 'image')} of {faults.what}", len(faults.reasons)
            return np.stack(found), f"{what}; {bad} more cannot be decoded" if bad else what
    raise NotFoundError(
        f"none of the {len(places)} training images of {dataset} can calibrate int8: they cannot "
        "be read, or are those that the export is judged by",
        hint="name a dataset with other images with --calibrate.",
    )


class _Part:
    """The split of a dataset that an export is compared on.

    Attributes:
        what: The images in words.
        faults: The split, and its unreadable images as far as they are known.
    """

    def __init__(self, dataset: str, source: Source, preprocessing: Preprocessing) -> None:
        data = load_dataset(dataset)
        split = next(name for name in _SPLITS if name in data.splits.parts)
        self.what = f"images of {dataset} ({split})"
        self.faults = Faults(data.examples(split), DataOptions(), f"{dataset} ({split})")
        self._preprocessing = preprocessing
        self._classes: np.ndarray | None = None
        self._notes: tuple[str, ...] = ()
        if not data.splits.multi_label:
            labels = self.faults.examples.labels()
            self._classes, note = match_classes(data.class_names, source.config, labels=labels)
            self._notes = (note,)

    def places(self, count: int) -> np.ndarray:
        """Return at most `count` indices, evenly spaced."""
        return _evenly_spaced(len(self.faults.examples), count)

    def read(self, places: np.ndarray, *, of: int = 0) -> Samples:
        """Read images; `of` is the number of images of which they are a part, if not 0."""
        found = list(readable(self.faults, places, self._preprocessing.channels))
        count, bad = len(found), len(places) - len(found)
        if not found:
            raise NotFoundError(
                f"none of the {len(places)} {self.what} can be read",
                hint="rezoo data check lists the causes.",
            )
        pictures = [picture for picture, _ in found]
        labels = np.zeros(0, np.int64)
        if self._classes is not None:
            labels = self._classes[[int(label) for _, label in found]]
        left_out = (f"{bad} of {len(places)} {self.what} cannot be decoded",) if bad else ()
        return Samples(
            pictures=pictures,
            inputs=prepared(pictures, self._preprocessing),
            labels=labels,
            what=f"{count} of {of} {self.what}" if of else f"{count} {self.what}",
            notes=(*self._notes, *left_out),
        )


def _prepared(pictures: list[np.ndarray], preprocessing: Preprocessing, what: str) -> Samples:
    """Return pictures without labels as samples."""
    inputs = prepared(pictures, preprocessing)
    return Samples(pictures=pictures, inputs=inputs, labels=np.zeros(0, np.int64), what=what)


def _require_two(count: int, what: str) -> None:
    if count < 2:
        raise SpecError(
            f"int8 needs at least two images to compare on, not {what}",
            hint="one half chooses the layers, the other judges them: name more with --dataset "
            "or --images.",
        )


def _digest(picture: np.ndarray) -> bytes:
    content = str(picture.shape).encode() + picture.tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def _evenly_spaced(total: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


def _balanced(examples: Examples, count: int) -> np.ndarray:
    """Return the indices of the first example of each class, then of the second, and so on."""
    indices, labels = np.arange(len(examples)), examples.labels()
    if labels is None:
        indices, labels = _labels(examples, _LABELS_PER_IMAGE * count)
    if labels.ndim == 2:  # multi-label data
        return _evenly_spaced(len(examples), count)
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    rank = np.empty(len(labels), np.int64)  # of each example within its class
    rank[order] = np.arange(len(labels)) - np.searchsorted(sorted_labels, sorted_labels)
    return indices[np.argsort(rank, kind="stable")[:count]]


def _labels(examples: Examples, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the labels of at most `count` examples, evenly spaced; return indices and labels."""

    @tf.autograph.experimental.do_not_convert
    def fetch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, examples.fetch(index)[1]

    indices = _evenly_spaced(len(examples), count)
    stream = tf.data.Dataset.from_tensor_slices(indices).map(fetch, tf.data.AUTOTUNE)
    found = list(stream.ignore_errors().as_numpy_iterator())
    return np.array([i for i, _ in found], np.int64), np.array([label for _, label in found])


def readable(
    faults: Faults, places: np.ndarray, channels: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield uint8 images `(h, w, channels)` and labels; unreadable examples are added to `faults`.

    Raises:
        IntegrityError: More examples are unreadable than the options of `faults` allow.
    """
    examples = faults.examples.select(places)

    @tf.autograph.experimental.do_not_convert
    def fetch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, label = examples.fetch(index)
        convert = decode if examples.encoded else with_channels
        return index, convert(image, channels), label

    def skipped(start: int, stop: int) -> None:
        if start < stop:
            faults.find(places[start:stop], channels)
            unknown = set(places[start:stop].tolist()) - faults.reasons.keys()
            if unknown:  # it can be read now
                faults.add(dict.fromkeys(sorted(unknown), "could not be read"))

    following = 0
    stream = tf.data.Dataset.range(len(examples)).map(fetch, tf.data.AUTOTUNE)
    for index, image, label in stream.ignore_errors().as_numpy_iterator():  # in order
        skipped(following, int(index))
        following = int(index) + 1
        yield image, label
    skipped(following, len(examples))


def _reference(source: Source, preprocessing: Preprocessing) -> tuple[list[np.ndarray], str]:
    path = source.folder / REFERENCE if source.folder else None
    if path is None or not path.is_file():
        pictures = drawn_pictures(preprocessing)
        return pictures, f"{len(pictures)} drawn pictures"
    values, metadata = read_tensors(path, source.expected(REFERENCE, path))
    pictures = [values[name] for name in sorted(values) if name.startswith("image.")]
    return pictures, f"the reference batch ({metadata.get('images', len(pictures))})"
