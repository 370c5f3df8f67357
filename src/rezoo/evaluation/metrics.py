"""Scores of networks on labelled batches: loss, top-1 and top-5 with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.evaluation.forward import Forward, logits_and_labels
from rezoo.evaluation.multi_label import MultiLabelScores, score_multi_label
from rezoo.tasks import Task

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a network on a single-label split.

    Attributes:
        count: Number of images.
        loss: Mean cross-entropy, natural logarithm.
        top1: Fraction of images whose class has the largest logit.
        top5: Fraction of images whose class is among the five largest logits.
        top1_interval: 95 % Wilson interval of `top1`.
        top5_interval: 95 % Wilson interval of `top5`.
        per_class: `(index, images, right)` of each class of the head that occurs.
        confusions: `(index, predicted index, images)` of wrong predictions, most frequent first.
    """

    count: int
    loss: float
    top1: float
    top5: float
    top1_interval: tuple[float, float]
    top5_interval: tuple[float, float]
    per_class: tuple[tuple[int, int, int], ...]
    confusions: tuple[tuple[int, int, int], ...]

    def worst(
        self, label: Callable[[int], str], *, most: int = 10, mistakes: int = 3
    ) -> list[dict[str, Any]]:
        """Return the classes with the lowest accuracy, and their most frequent confusions.

        Args:
            label: Function from a class index to its name.
            most: Largest number of classes; those without errors are left out.
            mistakes: Largest number of confusions per class.
        """
        ranked = sorted(
            (c for c in self.per_class if c[2] < c[1]), key=lambda c: (c[2] / c[1], -c[1])
        )
        return [
            {
                "name": label(index),
                "count": count,
                "right": right,
                "taken_for": [
                    {"name": label(other), "count": n}
                    for truth, other, n in self.confusions
                    if truth == index
                ][:mistakes],
            }
            for index, count, right in ranked[:most]
        ]

    def table(self, label: Callable[[int], str], *, most: int = 10) -> list[tuple[str, ...]]:
        """Return `(name, right/images, accuracy)` of the classes with the lowest accuracy."""
        ranked = sorted(self.per_class, key=lambda c: (c[2] / c[1], -c[1]))[:most]
        return [
            (label(i), f"{right}/{count}", f"{right / count:.1%}") for i, count, right in ranked
        ]

    def columns(self) -> dict[str, float]:
        """Return the scores that are columns of `history.csv`."""
        return {"top1": self.top1, "top5": self.top5}

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as in `metrics.json`, without the classes."""
        return {
            "count": self.count,
            "loss": self.loss,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "top5_interval": list(self.top5_interval),
        }


AnyScores = Scores | MultiLabelScores


def measure(
    task: Task,
    forward: Forward,
    batches: Iterable[tuple[Any, Any]],
    *,
    classes: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
    gather: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> AnyScores:
    """Return the scores of a network by its task; for the arguments see `score`."""
    run = score_multi_label if task.multi_label else score
    return run(forward, batches, classes=classes, progress=progress, gather=gather)


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of the proportion `right / count` (Wilson 1927)."""
    if count == 0:
        return (0.0, 1.0)
    p, z2 = right / count, Z_95**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return (0.0 if right == 0 else centre - half, 1.0 if right == count else centre + half)


def score(
    forward: Forward,
    batches: Iterable[tuple[Any, Any]],
    *,
    classes: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
    gather: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> Scores:
    """Return the scores of a network on labelled batches.

    Args:
        forward: Function from images to logits `(B, K)`, as of `compiled_forward`.
        batches: Pairs of images `(B, H, W, C)` and labels, int `(B,)`.
        classes: Index in the head of each class of the dataset, int; the same index if None.
        progress: Called with the number of images done.
        gather: Joins the values of all hosts, each of which has a part of the images.

    Raises:
        NotFoundError: There are no images.
    """
    truths, tops, losses = [], [], []
    for logits, labels in logits_and_labels(forward, batches, progress):
        truth = labels if classes is None else classes[labels]
        tops.append(top_k(logits, 5))
        losses.append(_log_sum_exp(logits) - logits[np.arange(len(truth)), truth])
        truths.append(truth)
    truth, answers, all_losses = (gather(np.concatenate(x)) for x in (truths, tops, losses))
    count = len(truth)
    hits = answers == truth[:, None]
    right1, right5 = int(hits[:, 0].sum()), int(hits.sum())
    return Scores(
        count=count,
        loss=float(all_losses.mean()),
        top1=right1 / count,
        top5=right5 / count,
        top1_interval=wilson_interval(right1, count),
        top5_interval=wilson_interval(right5, count),
        per_class=tuple(
            (int(c), int((truth == c).sum()), int(hits[truth == c, 0].sum()))
            for c in np.unique(truth)
        ),
        confusions=_confusions(truth, answers[:, 0]),
    )


def _confusions(truth: np.ndarray, answers: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    wrong = truth != answers
    if not wrong.any():
        return ()
    pairs, counts = np.unique(np.stack([truth[wrong], answers[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(pairs[0, i]), int(pairs[1, i]), int(counts[i])) for i in order)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the `k` largest scores of each row, descending: `(N, min(k, K))`."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :k]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits `(N, K)`, float64."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    values = np.asarray(logits, np.float64)
    most = values.max(axis=-1, keepdims=True)
    return (most + np.log(np.exp(values - most).sum(axis=-1, keepdims=True)))[:, 0]
