"""Scores of networks on multi-label batches: average precision, F1 and exact match.

Average precision is scikit-learn's: the sum over the thresholds of precision times the gain in
recall, without interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rezoo.errors import NotFoundError
from rezoo.evaluation.logits import require_finite
from rezoo.evaluation.predictions import cross_entropy
from rezoo.evaluation.scoring.intervals import (
    Interval,
    Statistic,
    bootstrap,
    percentile_interval,
    percentiles,
    wilson_interval,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiLabelScores:
    """Scores of a network on a multi-label split.

    Attributes:
        logits: Logits of the classes of the dataset, float32 `(N, K)`.
        truth: Whether an image has a class, bool `(N, K)`.
        classes: Index in the head of each of these classes, int `(K,)`.
        loss: Mean binary cross-entropy over images and classes, natural logarithm.
        per_class: `(index, images with it, average precision)` of each class that occurs.
        map: Mean of these average precisions.
        hit1: Fraction of images that have the class with the largest logit. An image without
            classes counts if all probabilities are at most 0.5.
        micro_f1: F1 at the threshold 0.5, of all images and classes together.
        macro_f1: F1 at the threshold 0.5, the mean over the classes that occur.
        exact_match: Fraction of images with the right decision on every class at 0.5.
    """

    logits: np.ndarray
    truth: np.ndarray
    classes: np.ndarray
    loss: float
    per_class: tuple[tuple[int, int, float], ...]
    map: float
    hit1: float
    micro_f1: float
    macro_f1: float
    exact_match: float

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.truth)

    @property
    def answers(self) -> np.ndarray:
        """Whether a class is predicted, at the threshold 0.5, bool `(N, K)`."""
        return self.logits > 0

    @property
    def hit1_interval(self) -> Interval:
        """95 % Wilson interval of `hit1`."""
        return wilson_interval(round(self.hit1 * self.count), self.count)

    @property
    def exact_match_interval(self) -> Interval:
        """95 % Wilson interval of `exact_match`."""
        return wilson_interval(round(self.exact_match * self.count), self.count)

    @cached_property
    def _resampled(self) -> np.ndarray:
        """Average precision of each class that occurs, in each resample."""
        return bootstrap(self.count, average_precisions(self.logits, self.truth))

    @cached_property
    def resampled_map(self) -> np.ndarray:
        """Mean of the average precisions of each resample that has a label, float64 `(R,)`.

        The resamples are the same for any logits, so differences on the same images are paired.
        """
        known = ~np.isnan(self._resampled)
        means = np.nansum(self._resampled, 0)[known.any(0)] / known.sum(0)[known.any(0)]
        return np.asarray(means)

    @cached_property
    def map_interval(self) -> Interval:
        """95 % bootstrap interval of `map`: in a resample the mean is over its classes."""
        return percentiles(self.resampled_map)

    @cached_property
    def ap_intervals(self) -> tuple[Interval, ...]:
        """95 % bootstrap interval of each average precision of `per_class`."""
        ends = percentile_interval(self._resampled)
        return tuple((float(low), float(high)) for low, high in zip(*ends, strict=True))

    def worst(self, label: Callable[[int], str], *, most: int = 10) -> list[dict[str, Any]]:
        """Return the classes with the lowest average precision.

        Args:
            label: Function from a class index to its name.
            most: Largest number of classes; those with a precision of 1 are left out.
        """
        ranked = sorted((c for c in self.per_class if c[2] < 1), key=lambda c: (c[2], -c[1]))
        return [{"name": label(i), "count": n, "ap": ap} for i, n, ap in ranked[:most]]

    def table(self, label: Callable[[int], str], *, most: int = 10) -> list[tuple[str, ...]]:
        """Return `(name, average precision, images)` of the classes with the lowest precision."""
        ranked = sorted(self.per_class, key=lambda c: (c[2], -c[1]))[:most]
        return [(label(i), f"{ap:.1%}", f"{n} images") for i, n, ap in ranked]

    def columns(self) -> dict[str, float]:
        """Return the scores that are columns of `history.csv`."""
        return {
            "map": self.map,
            "hit1": self.hit1,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "exact_match": self.exact_match,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as in `metrics.json`, without the classes."""
        figures = {"map": self.map, "map_interval": list(self.map_interval), **self.columns()}
        return {"count": self.count, "loss": self.loss, **figures}


def scores_of(
    logits: np.ndarray, truth: np.ndarray, classes: np.ndarray | None = None
) -> MultiLabelScores:
    """Return the scores of logits `(N, K)` with the truth, bool `(N, K)`.

    Args:
        logits: float32.
        truth: Whether an image has a class.
        classes: Index in the head of each of these classes; the same index if None.

    Raises:
        NotFoundError: No image has a label.
        DivergedError: A logit is not finite.
    """
    from sklearn.metrics import average_precision_score, f1_score

    occurring = np.flatnonzero(truth.any(0))
    if not len(occurring):
        raise NotFoundError(
            "no image of the split has a label: average precision is not defined",
            hint="choose another split, or label some of its images.",
        )
    require_finite(logits)
    classes = np.arange(truth.shape[1]) if classes is None else classes
    answers = logits > 0  # where the sigmoid is above 0.5
    # rounded, so that a perfect one is 1 whatever the order of the sums
    precisions = [
        round(float(average_precision_score(truth[:, i], logits[:, i])), 12) for i in occurring
    ]
    f1 = f1_score(truth[:, occurring], answers[:, occurring], average=None, zero_division=0)
    return MultiLabelScores(
        logits=logits,
        truth=truth,
        classes=classes,
        loss=float(cross_entropy(logits, truth).mean()),
        per_class=tuple(
            (int(classes[i]), int(truth[:, i].sum()), ap)
            for i, ap in zip(occurring, precisions, strict=True)
        ),
        map=float(np.mean(precisions)),
        hit1=_hit1(truth, logits),
        micro_f1=float(2 * (truth & answers).sum() / (truth.sum() + answers.sum())),
        macro_f1=float(np.mean(f1)),
        exact_match=float((answers == truth).all(1).mean()),
    )


def _hit1(truth: np.ndarray, logits: np.ndarray) -> float:
    of_best = truth[np.arange(len(truth)), logits.argmax(1)]
    return float(np.where(truth.any(1), of_best, logits.max(1) <= 0).mean())


def average_precisions(logits: np.ndarray, truth: np.ndarray) -> Statistic:
    """Return the average precision of each class that occurs, as a statistic `(C, B)`.

    It is NaN where a resample has no image of a class. See `intervals.bootstrap`.

    Args:
        logits: float `(N, K)`.
        truth: bool `(N, K)`.
    """
    occurring = np.flatnonzero(truth.any(0))
    return lambda copies: np.stack(
        [weighted_precision(logits[:, i], truth[:, i], copies) for i in occurring]
    )


def micro_f1(truth: np.ndarray, answers: np.ndarray) -> Statistic:
    """Return F1 of all images and classes together, as a statistic: see `intervals.bootstrap`.

    Args:
        truth: Whether an image has a class, bool `(N, K)`.
        answers: Whether it is predicted, bool `(N, K)`.
    """
    right = 2.0 * (truth & answers).sum(1)
    all_ = (truth.sum(1) + answers.sum(1)).astype(np.float64)

    def statistic(copies: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (right @ copies) / (all_ @ copies)

    return statistic


def macro_f1(truth: np.ndarray, answers: np.ndarray) -> Statistic:
    """Return the mean F1 of the classes that occur (in a resample); otherwise as `micro_f1`."""
    right = 2.0 * (truth & answers).T
    has, all_ = truth.T.astype(np.float64), truth.T.astype(np.float64) + answers.T

    def statistic(copies: np.ndarray) -> np.ndarray:
        known = has @ copies > 0
        each = np.where(known, (right @ copies) / np.maximum(all_ @ copies, 1), 0.0).sum(0)
        with np.errstate(invalid="ignore"):
            return each / known.sum(0)

    return statistic


def weighted_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of one class in each of B resamples of the images.

    Args:
        scores: float `(N,)`.
        truth: bool `(N,)`, with at least one True.
        weights: Number of copies of each image in each resample, float32 `(N, B)`.

    Returns:
        float64 `(B,)`; NaN for resamples without an image of the class.
    """
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    # recall grows only at scores of images with the class; equal scores are one threshold
    levels, groups = np.unique(-scores[truth], return_inverse=True)
    starts = np.searchsorted(-scores, np.r_[-np.inf, levels[:-1]], side="right")
    last = np.searchsorted(-scores, levels[-1:], side="right")[0]
    taken = np.add.reduceat(weights[order[:last]], starts, axis=0).cumsum(0, dtype=np.float64)
    firsts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    right = np.add.reduceat(weights[order[truth]], firsts, axis=0)
    precision = right.cumsum(0, dtype=np.float64) / np.maximum(taken, 1)
    with np.errstate(invalid="ignore"):
        return (precision * right).sum(0) / right.sum(0, dtype=np.float64)
