"""The answers of a network on a split, one for each image: all figures are computed from them.

A file of them is in NumPy's format `.npz`: `numpy.load` opens it.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from rezoo.errors import IntegrityError, NotFoundError
from rezoo.evaluation.logits import Forward, logits_and_labels, require_finite
from rezoo.tasks import THRESHOLD, Task
from rezoo.utils.files import read_regular, write_bytes

_TOP = 5
_LARGEST = float(np.finfo(np.float16).max)
_MOST_BYTES = 8 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a network predicts for N images, and the truth.

    Attributes:
        truth: Index of the class in the head, int32 `(N,)`; for multi-label data whether an image
            has a class, bool `(N, C)`.
        logits: float16 `(N, K)`, K = width of the head; for multi-label data float32 `(N, C)`, of
            the classes of the dataset. `(N, 0)` if they were not kept.
        top: Indices of the five largest logits, descending, int32 `(N, min(5, K))`.
        losses: Cross-entropy of each image, natural logarithm, float32 `(N,)`; for multi-label
            data the mean over the classes.
        classes: Index in the head of each class of the dataset, int32 `(C,)`; -1 for a class
            without images that the head lacks.
        keys: Names of the images in the dataset; empty if they are not known.
        labels: Names of the classes of the head, in order; empty if they are not known.
        facts: Texts: `model`, `dataset`, `split`, `preprocessing`, `tta`, `weights_sha256`.
    """

    truth: np.ndarray
    logits: np.ndarray
    top: np.ndarray
    losses: np.ndarray
    classes: np.ndarray
    keys: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of the classes."""
        return self.truth.ndim == 2

    @property
    def width(self) -> int:
        """Number of classes of the head; of those seen, if neither names nor logits are known."""
        if self.labels:
            return len(self.labels)
        seen = max(int(a.max(initial=-1)) for a in (self.top, self.classes)) + 1
        if self.multi_label:
            return seen
        return self.logits.shape[1] or max(seen, int(self.truth.max(initial=-1)) + 1)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, or for multi-label data their sigmoid, float64, of their shape."""
        return probabilities(self.logits, multi_label=self.multi_label)

    @property
    def right(self) -> np.ndarray:
        """Whether the class of each image has the largest logit, bool `(N,)`."""
        return np.asarray(self.top[:, 0] == self.truth)

    def at(self, rows: np.ndarray) -> Predictions:
        """Return the predictions of some images, by their rows (int or bool)."""
        rows = np.arange(len(self))[rows]
        arrays = {name: getattr(self, name)[rows] for name in _BY_IMAGE}
        keys = tuple(self.keys[row] for row in rows) if self.keys else ()
        return dataclasses.replace(self, **arrays, keys=keys)

    def write(self, path: Path) -> None:
        """Write a file `.npz`; it appears when it is complete."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(self, name) for name in (*_BY_IMAGE, "classes")}
        arrays |= {name: np.array(getattr(self, name), "U") for name in ("keys", "labels")}
        np.savez(content, **arrays, facts=np.array(json.dumps(dict(self.facts))))
        write_bytes(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read what `write` has written.

        Raises:
            NotFoundError: There is no such file.
            IntegrityError: It is damaged, or it is another file.
        """
        try:
            return _checked(_arrays(read_regular(path, most=_MOST_BYTES)))
        except FileNotFoundError as error:
            raise NotFoundError(
                f"no such file: {path}", hint="rezoo eval writes it, with --predictions."
            ) from error
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(
                f"{path} has no predictions of rezoo, or is damaged: {error}",
                hint="write it again: rezoo eval … --predictions FILE.",
            ) from error


_BY_IMAGE = ("truth", "logits", "top", "losses")


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a file; a `ValueError` says what is wrong."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # a few compressed bytes can become gigabytes
        if any(entry.compress_type for entry in archive.infolist()):
            raise ValueError("it is compressed")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _checked(found: Mapping[str, np.ndarray]) -> Predictions:
    """Return the arrays of a file as predictions; a `ValueError` says what is wrong."""
    several = found["truth"].ndim == 2
    kinds = {
        "truth": "b" if several else "i",
        "logits": "f",
        "top": "i",
        "losses": "f",
        "classes": "i",
        "keys": "U",
        "labels": "U",
    }
    for name, kind in kinds.items():
        if found[name].dtype.kind != kind:
            raise ValueError(f"{name} is {found[name].dtype}")
    sides = {"truth": 2 if several else 1, "logits": 2, "top": 2}
    if any(found[name].ndim != sides.get(name, 1) for name in kinds):
        raise ValueError("an array has another shape")
    count, labels = len(found["truth"]), found["labels"].tolist()
    if any(len(found[name]) != count for name in _BY_IMAGE) or len(found["keys"]) not in (0, count):
        raise ValueError("the arrays have different lengths")
    if several and found["truth"].shape != found["logits"].shape:
        raise ValueError("truth and logits have different shapes")
    largest = max(int(found[name].max(initial=-1)) for name in ("top", "classes"))
    if not several:
        largest = max(largest, int(found["truth"].max(initial=-1)))
    width = len(labels) if labels else found["logits"].shape[1] or largest + 1
    if largest >= width:
        raise ValueError(f"class {largest} of {width}")
    facts = json.loads(str(found["facts"]))
    if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
        raise ValueError("its facts are no texts")
    arrays: dict[str, Any] = {name: found[name] for name in (*_BY_IMAGE, "classes")}
    arrays |= {"keys": tuple(found["keys"].tolist()), "labels": tuple(labels), "facts": facts}
    return Predictions(**arrays)


def collect(
    task: Task,
    forward: Forward,
    batches: Iterable[tuple[Any, Any]],
    *,
    classes: np.ndarray | None = None,
    keep_logits: bool = True,
    progress: Callable[[int], None] = lambda done: None,
    gather: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> Predictions:
    """Return the predictions of a network on labelled batches.

    Args:
        task: Of the network and of the data.
        forward: Function from images to logits `(B, K)`, as of `compiled_forward`.
        batches: Pairs of images `(B, H, W, C)` and labels, int `(B,)`;
            multi-label `(B, C)`, 0 or 1.
        classes: Index in the head of each class of the dataset, int `(C,)`; the same index if
            None. Other classes of a multi-label head are left out: their truth is not known. So
            are classes with the index -1, which have no image.
        keep_logits: Whether the logits are kept. For multi-label data they always are.
        progress: Called with the number of images done.
        gather: Joins the values of all hosts, each of which has a part of the images.

    Raises:
        NotFoundError: There are no images.
        DivergedError: A logit that is kept is not finite.
    """
    keep, known = keep_logits or task.multi_label, classes
    of_batch = _of_several if task.multi_label else _of_one
    found: list[dict[str, np.ndarray]] = []
    for logits, labels in logits_and_labels(forward, batches, progress):
        if keep:
            require_finite(logits)
        if known is None:
            known = np.arange(logits.shape[1])
        values = of_batch(logits, labels, known)
        if not keep:
            del values["logits"]
        found.append(values)
    kept = [name for name in _BY_IMAGE if keep or name != "logits"]
    joined: dict[str, Any] = {
        name: gather(np.concatenate([part[name] for part in found])) for name in kept
    }
    nothing = np.zeros((len(joined["truth"]), 0), np.float16)
    joined["logits"] = joined.get("logits", nothing)
    known = np.asarray(known, np.int32)
    return Predictions(**joined, classes=known[known >= 0] if task.multi_label else known)


def _of_one(logits: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    truth = np.asarray(classes[labels], np.int32)
    return {
        "truth": truth,
        "logits": np.clip(logits, -_LARGEST, _LARGEST).astype(np.float16),
        "top": top_k(logits, _TOP).astype(np.int32),
        "losses": cross_entropy(logits, truth).astype(np.float32),
    }


def _of_several(
    logits: np.ndarray, labels: np.ndarray, classes: np.ndarray
) -> dict[str, np.ndarray]:
    known = classes >= 0
    values = np.asarray(logits[:, classes[known]], np.float32)
    truth = labels[:, known] > THRESHOLD
    return {
        "truth": truth,
        "logits": values,
        "top": classes[known][top_k(values, _TOP)].astype(np.int32),
        "losses": cross_entropy(values, truth).astype(np.float32),
    }


def cross_entropy(logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the cross-entropy of each image, natural logarithm, float64 `(N,)`.

    Args:
        logits: `(N, K)`.
        truth: Class, int `(N,)`; for multi-label data bool `(N, K)`: the mean over the classes.
        temperature: Divides the logits.
    """
    z = np.asarray(logits, np.float64) / temperature
    if truth.ndim == 2:
        return (np.logaddexp(0, z) - z * truth).mean(1)
    return log_sum_exp(z) - z[np.arange(len(z)), truth]


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the `k` largest scores of each row, descending: `(N, min(k, K))`."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :k]


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of the exponentials of each row, float64 `(N,)`."""
    values = np.asarray(logits, np.float64)
    most = values.max(axis=-1, keepdims=True)
    return (most + np.log(np.exp(values - most).sum(axis=-1, keepdims=True)))[:, 0]


def probabilities(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Return the softmax of logits `(N, K)`, or for multi-label data their sigmoid, float64."""
    values = np.asarray(logits, np.float64)
    return expit(values) if multi_label else softmax(values, axis=-1)
