"""Accuracies with their intervals, from the logits of a labelled split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.errors import NotFoundError
from rezoo.evaluation.forward import Forward
from rezoo.evaluation.multi_label import MultiLabelScores, score_multi_label
from rezoo.tasks import Task

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a network reaches on a split.

    Attributes:
        count: Number of images.
        loss: Mean cross-entropy, natural logarithm.
        top1: Part of the images whose class is the most likely one, 0 to 1.
        top5: Part whose class is among the five most likely.
        top1_interval: 95 % Wilson interval of `top1`.
        top5_interval: 95 % Wilson interval of `top5`.
        per_class: For each class of the head that occurs: `(index, images, right)`.
        confusions: `(index, index taken for it, images)` of wrong answers, most frequent first.
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
        """Return the classes with wrong answers, least right first, and what they are taken for.

        Args:
            label: Returns the name of a class of the head.
            most: Classes at most.
            mistakes: For each, the most frequent wrong answers at most.
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
        """Return name and right answers of the classes that are least right, as text."""
        ranked = sorted(self.per_class, key=lambda c: (c[2] / c[1], -c[1]))[:most]
        return [
            (label(i), f"{right}/{count}", f"{right / count:.1%}") for i, count, right in ranked
        ]

    def columns(self) -> dict[str, float]:
        """Return the figures that `history.csv` has of each epoch."""
        return {"top1": self.top1, "top5": self.top5}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that `metrics.json` holds, without the classes."""
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
) -> AnyScores:
    """Return the scores of a network by its task; for the arguments see `score`."""
    run = score_multi_label if task.multi_label else score
    return run(forward, batches, classes=classes, progress=progress)


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion (1927); sound at 0, 1 and for few images."""
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
) -> Scores:
    """Run a network over labelled batches.

    Args:
        forward: From `compiled_forward`; must give logits.
        batches: Pairs of images and labels.
        classes: int `(dataset classes,)`: the head's index of each of the dataset's labels;
            the identity where not given.
        progress: Called with the number of images done.

    Raises:
        NotFoundError: There are no images.
    """
    truths, tops, losses = [], [], []
    done = 0
    for images, labels in batches:
        logits = forward(images)
        truth = np.asarray(labels)
        truth = truth if classes is None else classes[truth]
        tops.append(top_k(logits, 5))
        losses.append(_log_sum_exp(logits) - logits[np.arange(len(truth)), truth])
        truths.append(truth)
        done += len(truth)
        progress(done)
    if not done:
        raise NotFoundError("the split has no images", hint="choose another with --split.")
    truth = np.concatenate(truths)
    hits = np.concatenate(tops) == truth[:, None]
    right1, right5 = int(hits[:, 0].sum()), int(hits.sum())
    return Scores(
        count=done,
        loss=float(np.concatenate(losses).mean()),
        top1=right1 / done,
        top5=right5 / done,
        top1_interval=wilson_interval(right1, done),
        top5_interval=wilson_interval(right5, done),
        per_class=tuple(
            (int(c), int((truth == c).sum()), int(hits[truth == c, 0].sum()))
            for c in np.unique(truth)
        ),
        confusions=_confusions(truth, np.concatenate(tops)[:, 0]),
    )


def _confusions(truth: np.ndarray, answers: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    wrong = truth != answers
    if not wrong.any():
        return ()
    pairs, counts = np.unique(np.stack([truth[wrong], answers[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(pairs[0, i]), int(pairs[1, i]), int(counts[i])) for i in order)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of each row's `k` largest scores, best first: int `(N, min(k, K))`."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :k]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities `(N, K)`, float64."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    values = np.asarray(logits, np.float64)
    most = values.max(axis=-1, keepdims=True)
    return (most + np.log(np.exp(values - most).sum(axis=-1, keepdims=True)))[:, 0]
