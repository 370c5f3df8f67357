"""Labels of many examples: one class each, int `(N,)`, or any number of them, `(N, K)`.

Of several labels, 1 says that an example has the class, 0 that it has not; any other number is
a fault, and -1 stands where nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEPARATOR = "; "
NO_LABEL = "(no label)"


def label_table(rows: int, classes: int) -> np.ndarray:
    """Return labels of which nothing is known yet; `classes` is 0 where each has one class."""
    return np.full((rows, classes) if classes else rows, -1, np.int32)


def name_of(label: np.ndarray, names: Sequence[str]) -> str:
    """Return the class of one example, or all it has; empty where that is unknown."""
    if label.ndim:
        known = SEPARATOR.join(names[i] for i in np.flatnonzero(label == 1).tolist())
        return known or ("" if (label < 0).any() else NO_LABEL)
    return names[int(label)] if 0 <= label < len(names) else ""


def count(labels: np.ndarray, classes: int) -> list[int]:
    """Return how many examples have each class."""
    if labels.ndim == 2:
        return (labels == 1).sum(0).tolist()
    good = labels[(labels >= 0) & (labels < classes)]
    return np.bincount(good, minlength=classes).tolist()


def faulty(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the rows whose label is none, int64 `(M,)`."""
    if labels.ndim == 2:
        return np.flatnonzero(((labels != 0) & (labels != 1)).any(1))
    return np.flatnonzero((labels < 0) | (labels >= classes))


def having(labels: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Return bool `(N,)`: whether an example has one of some classes."""
    if labels.ndim == 2:
        return labels[:, list(wanted)].max(1, initial=0) > 0
    return np.isin(labels, wanted)
