"""What a network takes each class for: confusion matrix, figures of each class, and their means.

Rows of a matrix are the truth, columns are the predictions. All functions are for single-label
predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.intervals import Interval, Statistic, wilson_interval


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Figures of one class.

    Attributes:
        index: Index of the class in the head.
        count: Number of its images.
        predicted: Number of images that are taken for it.
        right: Number of its images that are.
        interval: 95 % Wilson interval of the accuracy.
        taken_for: `(index, images)` of the classes that its images are taken for instead, most
            frequent first.
    """

    index: int
    count: int
    predicted: int
    right: int
    taken_for: tuple[tuple[int, int], ...]

    @property
    def accuracy(self) -> float | None:
        """Fraction of its images that are right, also called recall; None without images."""
        return self.right / self.count if self.count else None

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval of the accuracy; None without images."""
        return wilson_interval(self.right, self.count) if self.count else None

    @property
    def precision(self) -> float | None:
        """Fraction of right ones among the images taken for it; None if there are none."""
        return self.right / self.predicted if self.predicted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of accuracy and precision; None without images."""
        return 2 * self.right / (self.count + self.predicted) if self.count else None


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Return the number of images of each class (row) taken for each class (column).

    Returns:
        int64 `(K, K)` for all K classes of the head, those without images, too.
    """
    width = predictions.width
    cells = predictions.truth.astype(np.int64) * width + predictions.top[:, 0]
    return np.bincount(cells, minlength=width * width).reshape(width, width)


def confused_pairs(predictions: Predictions) -> tuple[tuple[int, int, int], ...]:
    """Return `(truth, prediction, images)` of the wrong predictions, most frequent first."""
    truth, answers = predictions.truth, predictions.top[:, 0]
    wrong = truth != answers
    if not wrong.any():
        return ()
    pairs, counts = np.unique(np.stack([truth[wrong], answers[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(pairs[0, i]), int(pairs[1, i]), int(counts[i])) for i in order)


def class_scores(predictions: Predictions) -> tuple[ClassScore, ...]:
    """Return the figures of each class of the dataset, in the order of the head.

    A class of the head that the dataset does not have is left out, also if images are taken for
    it: it appears in `taken_for`.
    """
    truth, answers = predictions.truth, predictions.top[:, 0]
    width = predictions.width
    count, predicted, right = (
        np.bincount(labels, minlength=width) for labels in (truth, answers, truth[truth == answers])
    )
    taken: dict[int, list[tuple[int, int]]] = {}
    for index, other, images in confused_pairs(predictions):
        taken.setdefault(index, []).append((other, images))
    shown = np.union1d(predictions.classes[predictions.classes >= 0], truth)
    return tuple(
        ClassScore(
            index=i,
            count=int(count[i]),
            predicted=int(predicted[i]),
            right=int(right[i]),
            taken_for=tuple(taken.get(i, ())),
        )
        for i in shown.tolist()
    )


def mean_class_accuracy(predictions: Predictions) -> Statistic:
    """Return the mean accuracy of the classes, as a statistic: see `intervals.bootstrap`.

    The mean is over the classes that occur in the truth (of a resample). scikit-learn calls it
    `balanced_accuracy_score`.
    """
    truth, right = predictions.truth, predictions.right
    classes, places = np.unique(truth, return_inverse=True)
    images, hits = (_members(places, len(classes), chosen) for chosen in (right >= 0, right))

    def statistic(copies: np.ndarray) -> np.ndarray:
        count = images @ copies
        return _mean_of_known(hits @ copies, count, count > 0)

    return statistic


def macro_f1(predictions: Predictions) -> Statistic:
    """Return the mean F1 of the classes, as a statistic: see `intervals.bootstrap`.

    The mean is over the classes that occur in the truth (of a resample): that of
    `sklearn.metrics.f1_score` with these `labels`. An image that is taken for any other class
    lowers the accuracy of its own class only.
    """
    truth, right = predictions.truth, predictions.right
    classes, places = np.unique(truth, return_inverse=True)
    answers = predictions.top[:, 0]
    answered = np.searchsorted(classes, answers).clip(max=len(classes) - 1)
    images, hits = (_members(places, len(classes), chosen) for chosen in (right >= 0, right))
    taken = _members(answered, len(classes), classes[answered] == answers)

    def statistic(copies: np.ndarray) -> np.ndarray:
        count = images @ copies
        return _mean_of_known(2 * (hits @ copies), count + taken @ copies, count > 0)

    return statistic


def roc_auc(predictions: Predictions) -> Statistic:
    """Return the area under the ROC curve of two classes, as a statistic.

    It is the probability that an image of the second class has the larger difference of the two
    logits than one of the first, where equal ones count half (Hanley and McNeil 1982). It is NaN
    for a resample with one class. See `intervals.bootstrap`.
    """
    logits = predictions.logits.astype(np.float64)
    scores = logits[:, 1] - logits[:, 0]
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    second = (predictions.truth[order] == 1)[:, None]

    def statistic(copies: np.ndarray) -> np.ndarray:
        drawn = copies[order].astype(np.float64)
        ones, zeros = (np.add.reduceat(drawn * of, starts, axis=0) for of in (second, ~second))
        below = zeros.cumsum(0) - zeros / 2
        pairs = ones.sum(0) * zeros.sum(0)
        return np.where(pairs > 0, (ones * below).sum(0) / np.maximum(pairs, 1), np.nan)

    return statistic


def _members(classes: np.ndarray, width: int, chosen: np.ndarray) -> np.ndarray:
    """Return a sparse matrix `(width, N)`, 1 where a chosen image has a class."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(chosen)
    ones = np.ones(len(rows), np.float64)
    return csr_array((ones, (classes[rows], rows)), shape=(width, len(classes)))


def _mean_of_known(parts: np.ndarray, wholes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the mean of `parts / wholes` `(C, B)` over the known ones of each column, `(B,)`."""
    return np.where(known, parts / np.maximum(wholes, 1), 0.0).sum(0) / known.sum(0)
