"""The images of a report: the worst mistakes and the least certain ones, as small JPEGs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rezoo.data.examples import Examples
from rezoo.data.image_files import image_of
from rezoo.data.transforms import test_levels
from rezoo.errors import IncompatibleError
from rezoo.evaluation.explaining.activation_maps import FeatureForward, magnified, overlay
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.reliability import confidences
from rezoo.models.normalization import normalized
from rezoo.sources.references import Source
from rezoo.tasks import THRESHOLD

MOST = 24  # images of each kind
_SIDE = 160  # pixels, at most
_QUALITY = 80
_BATCH = 16  # images


@dataclass(frozen=True)
class Shot:
    """An image as the network gets it, in small.

    Attributes:
        photo: A JPEG as a data URL.
        mapped: The same below the activation map of a class; empty if there is none.
    """

    photo: str
    mapped: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a network answers for an image.

    Attributes:
        row: Row of the image in the predictions.
        truth: Classes of the image, with their probability.
        given: Classes that are predicted, likewise.
        mapped: Index in the head of the class whose activation map is shown: the prediction, or
            of several labels the one with the largest loss.
        right: Whether truth and prediction are the same.
    """

    row: int
    truth: tuple[tuple[int, float], ...]
    given: tuple[tuple[int, float], ...]
    mapped: int
    right: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """The images of a report, each with the answer of the network.

    Attributes:
        mistakes: The wrong predictions with the largest loss, the largest first.
        least_certain: The predictions with the lowest probability, the lowest first. For
            multi-label data, the images whose probabilities are nearest to one half, by the mean
            distance over the classes.
    """

    mistakes: tuple[tuple[Answer, Shot], ...] = ()
    least_certain: tuple[tuple[Answer, Shot], ...] = ()


def gallery_of(
    predictions: Predictions, examples: Examples, source: Source, network: keras.Model
) -> Gallery:
    """Choose images, read them and compute their activation maps.

    An image that is not found, or cannot be read, is left out; so are all if there is not enough
    memory. The maps are missing if the network has none.

    Args:
        predictions: The predictions; without keys or logits there are no images.
        examples: The images of the split.
        source: Source of the network; its preprocessing is used.
        network: The network with its weights.
    """
    if not predictions.keys or not predictions.logits.shape[1]:
        return Gallery()
    wrong, unsure = mistakes(predictions), least_certain(predictions)
    classes = {answer.row: answer.mapped for answer in (*wrong, *unsure)}
    try:
        shots = _shots(classes, predictions, examples, source, network)
    except (MemoryError, tf.errors.OpError):
        return Gallery()
    return Gallery(
        mistakes=tuple((answer, shots[answer.row]) for answer in wrong if answer.row in shots),
        least_certain=tuple((a, shots[a.row]) for a in unsure if a.row in shots),
    )


def mistakes(predictions: Predictions) -> list[Answer]:
    """Return the wrong predictions with the largest loss; see `Gallery`."""
    if predictions.multi_label:
        wrong = (predictions.probabilities > THRESHOLD) != predictions.truth
        rows = np.flatnonzero(wrong.any(1))
    else:
        rows = np.flatnonzero(~predictions.right)
    order = np.argsort(-predictions.losses[rows], kind="stable")
    return answers(predictions, rows[order][:MOST])


def least_certain(predictions: Predictions) -> list[Answer]:
    """Return the least certain predictions; see `Gallery`."""
    if predictions.multi_label:
        certainty = np.abs(predictions.probabilities - 0.5).mean(1)
    else:
        certainty = confidences(predictions)
    return answers(predictions, np.argsort(certainty, kind="stable")[:MOST])


def answers(predictions: Predictions, rows: np.ndarray) -> list[Answer]:
    """Return what the network answers for the images of some rows, int `(M,)`."""
    some = predictions.at(rows)
    if predictions.multi_label:
        return [
            _of_several(int(row), truth, shares, some.classes)
            for row, truth, shares in zip(rows, some.truth, some.probabilities, strict=True)
        ]
    found = []
    for i, shares in enumerate(some.probabilities):
        truth, given = int(some.truth[i]), int(some.top[i, 0])
        found.append(
            Answer(
                row=int(rows[i]),
                truth=((truth, float(shares[truth])),),
                given=((given, float(shares[given])),),
                mapped=given,
                right=truth == given,
            )
        )
    return found


def _of_several(row: int, truth: np.ndarray, shares: np.ndarray, classes: np.ndarray) -> Answer:
    given = shares > THRESHOLD
    worst = int(np.abs(shares - truth).argmax())
    pairs = [(int(index), float(share)) for index, share in zip(classes, shares, strict=True)]
    return Answer(
        row=row,
        truth=tuple(pairs[i] for i in np.flatnonzero(truth)),
        given=tuple(pairs[i] for i in np.flatnonzero(given)),
        mapped=int(classes[worst]),
        right=bool((given == truth).all()),
    )


def _shots(
    classes: Mapping[int, int],
    predictions: Predictions,
    examples: Examples,
    source: Source,
    network: keras.Model,
) -> dict[int, Shot]:
    """Return row → image, for the rows that have a class whose activation map is wanted."""
    places = _places(list(classes), predictions, examples)
    rows, pixels = _pixels(places, examples, source)
    if not rows:
        return {}
    maps = _maps(pixels, np.array([classes[row] for row in rows]), source, network)
    return {row: _shot(pixels[i], None if maps is None else maps[i]) for i, row in enumerate(rows)}


def _places(rows: Sequence[int], predictions: Predictions, examples: Examples) -> Mapping[int, int]:
    """Return row → place in the split, where images that could not be read are missing."""
    keys = predictions.keys
    if len(keys) == len(examples) and all(examples.key(row) == keys[row] for row in rows):
        return {row: row for row in rows}
    places = {examples.key(place): place for place in range(len(examples))}
    return {row: places[keys[row]] for row in rows if keys[row] in places}


def _pixels(
    places: Mapping[int, int], examples: Examples, source: Source
) -> tuple[list[int], np.ndarray]:
    """Return the rows that can be read, and what the network gets of them, uint8 `(M, H, W, C)`."""
    rows = list(places)
    chosen = examples.select(np.array([places[row] for row in rows], np.int64))
    transform = test_levels(source.config.preprocessing.for_test(), encoded=examples.encoded)

    @tf.autograph.experimental.do_not_convert
    def load(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place, transform(chosen.fetch(place)[0])

    stream = tf.data.Dataset.range(len(rows)).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    pairs = list(stream.ignore_errors().as_numpy_iterator())
    return [rows[place] for place, _ in pairs], np.array([values for _, values in pairs])


def _maps(
    pixels: np.ndarray, classes: np.ndarray, source: Source, network: keras.Model
) -> np.ndarray | None:
    """Return the activation map of a class for each image, float32 `(M, h, w)`."""
    preprocessing = source.config.preprocessing.for_test()
    try:
        forward = FeatureForward(network, source, preprocessing)
    except IncompatibleError:  # another head, or a single position
        return None
    found = []
    for start in range(0, len(pixels), _BATCH):
        levels = pixels[start : start + _BATCH].astype(np.float32)
        forward(normalized(levels, preprocessing))
        found.append(forward.maps(classes[start : start + _BATCH]))
    return np.concatenate(found)


def _shot(pixels: np.ndarray, values: np.ndarray | None) -> Shot:
    photo = magnified(pixels, _SIDE)
    return Shot(_jpeg(photo), "" if values is None else _jpeg(overlay(photo, values)))


def _jpeg(pixels: np.ndarray) -> str:
    """Return uint8 `(H, W, 1 or 3)` as a data URL of a small JPEG."""
    image = image_of(pixels)
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
