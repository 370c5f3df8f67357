"""`predict`: the most likely classes of image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rezoo.data.file_names import printed, require_utf8
from rezoo.data.image_files import ENDINGS
from rezoo.data.listing import joined, matching, require_regular, search
from rezoo.data.transforms import test_transform
from rezoo.errors import DataWarning, NotFoundError, SpecError
from rezoo.evaluation.forward import compiled_forward, network_of, source_of
from rezoo.evaluation.metrics import softmax, top_k
from rezoo.evaluation.multi_label import THRESHOLD
from rezoo.sources.references import Reference


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of one image.

    Attributes:
        path: The file.
        labels: Class names in descending order of probability; empty if there is an error.
        probabilities: Softmax of the logits in the same order; for a multi-label network the
            sigmoid.
        error: Why the file cannot be classified, or empty.
    """

    path: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        if self.error:
            return {"path": self.path, "error": self.error}
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {
            "path": self.path,
            "predictions": [{"label": n, "probability": p} for n, p in pairs],
        }


def predict(
    model: Reference | keras.Model,
    images: str | Path | Sequence[str | Path],
    *,
    pretrained: bool = False,
    top_k: int | None = None,
    batch_size: int = 32,
    image_size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Prediction]:
    """Classify image files with the preprocessing of the weights.

    Args:
        model: A reference with weights, or a model of `rezoo.load`.
        images: Files, folders (searched for images) and patterns such as `"photos/*.jpg"`.
        pretrained: Whether an architecture stands for its default published weights.
        top_k: Number of classes per image. If None: five, or for a multi-label network those
            with a probability above 0.5, at least one.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        progress: Called with the number of images done and the total.

    Returns:
        One `Prediction` per file, in order. Files that cannot be decoded have an `error`.

    Raises:
        SpecError: The reference has no weights, or an argument is out of bounds.
        NotFoundError: A path does not exist, or no image is found.
    """
    if (top_k is not None and top_k < 1) or batch_size < 1:
        raise SpecError(f"top_k: {top_k}, batch_size: {batch_size}; both must be 1 or more")
    source = source_of(model, pretrained=pretrained)
    paths = find_images([images] if isinstance(images, (str, Path)) else images)
    preprocessing = source.config.preprocessing.for_test().at(image_size)
    transform = tf.function(test_transform(preprocessing, encoded=True), reduce_retracing=True)
    forward = compiled_forward(network_of(model, source))
    answer = _several_labels if source.config.multi_label else _one_label
    results: list[Prediction] = []
    for start in range(0, len(paths), batch_size):
        results += _predict_batch(
            paths[start : start + batch_size],
            transform,
            lambda inputs: answer(forward(inputs), top_k),
            source.config.label,
        )
        progress(len(results), len(paths))
    return results


def find_images(wanted: Iterable[str | Path]) -> list[str]:
    """Return the image files of files, folders and patterns, in order and each once.

    Folders are searched as `rezoo.data.listing` does; a warning counts what is skipped there.
    Files that are named, or match a pattern, are taken with any ending.

    Raises:
        NotFoundError: A path does not exist, or no image is found.
        UnsafeFileError: A named file is not a regular file.
        IntegrityError: A name is not UTF-8.
    """
    found: dict[str, None] = {}
    for item in (os.fspath(one) for one in wanted):
        path = os.path.expanduser(item)
        matches = [path] if os.path.lexists(path) else matching(path)
        if not matches:
            raise NotFoundError(f"no such file, folder or match: {printed(item)}")
        for one in matches:
            require_utf8(one)
            if os.path.isdir(one):
                found.update(dict.fromkeys(_in_folder(Path(one))))
            else:
                require_regular(one)
                found[str(Path(one))] = None
    if not found:
        raise NotFoundError(
            "no images found", hint=f"expected are files that end in {', '.join(ENDINGS)}."
        )
    return list(found)


def _in_folder(folder: Path) -> Iterable[str]:
    listed = search(folder)
    if faults := listed.faults():
        raise joined(faults, printed(folder))
    if note := listed.note():
        warnings.warn(DataWarning(f"{folder}: {note}"), stacklevel=4)
    in_order = sorted(listed.images, key=lambda path: path.split("/"))
    return [str(folder / path) for path in in_order]


Answers = Iterable[list[tuple[int, float]]]


def _one_label(logits: np.ndarray, count: int | None) -> Answers:
    """Yield the most likely classes of each image and their softmax."""
    rows = softmax(logits)
    for row, best in zip(rows, top_k(rows, count or 5), strict=True):
        yield [(int(i), float(row[i])) for i in best]


def _several_labels(logits: np.ndarray, count: int | None) -> Answers:
    """Yield the classes of each image above the threshold, or the most likely `count`."""
    rows = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    for row in rows:
        most = count or max(1, int((row > THRESHOLD).sum()))
        yield [(int(i), float(row[i])) for i in top_k(row[None], most)[0]]


def _predict_batch(
    paths: Sequence[str],
    transform: Callable[[Any], Any],
    answer: Callable[[np.ndarray], Answers],
    label: Callable[[int], str],
) -> list[Prediction]:
    inputs, errors = [], {}
    for path in paths:
        try:
            inputs.append(transform(tf.constant(Path(path).read_bytes())).numpy())
        except tf.errors.InvalidArgumentError:
            errors[path] = "not an image that can be decoded"
        except OSError as error:
            errors[path] = error.strerror or str(error)
    answers = iter(answer(np.stack(inputs)) if inputs else ())
    results = []
    for path in paths:
        if path in errors:
            results.append(Prediction(path, error=errors[path]))
            continue
        indices, probabilities = zip(*next(answers), strict=True)
        results.append(Prediction(path, tuple(map(label, indices)), probabilities))
    return results
