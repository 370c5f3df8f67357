"""Scores of networks on labelled batches: loss, top-1 and top-5 with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.evaluation.logits import Forward
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.scoring.confusion import confused_pairs
from rezoo.evaluation.scoring.intervals import wilson_interval
from rezoo.evaluation.scoring.multi_label import MultiLabelScores, scores_of
from rezoo.tasks import Task


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
    """Return the scores of a network on labelled batches; for the arguments see `collect`."""
    return scored(
        collect(
            task,
            forward,
            batches,
            classes=classes,
            keep_logits=False,
            progress=progress,
            gather=gather,
        )
    )


def scored(predictions: Predictions) -> AnyScores:
    """Return the scores of predictions.

    Raises:
        NotFoundError: No image of multi-label data has a label.
    """
    if predictions.multi_label:
        return scores_of(predictions.logits, predictions.truth, predictions.classes)
    truth, answers, count = predictions.truth, predictions.top, len(predictions)
    hits = answers == truth[:, None]
    right1, right5 = int(hits[:, 0].sum()), int(hits.sum())
    return Scores(
        count=count,
        loss=float(predictions.losses.mean(dtype=np.float64)),
        top1=right1 / count,
        top5=right5 / count,
        top1_interval=wilson_interval(right1, count),
        top5_interval=wilson_interval(right5, count),
        per_class=tuple(
            (int(c), int((truth == c).sum()), int(hits[truth == c, 0].sum()))
            for c in np.unique(truth)
        ),
        confusions=confused_pairs(predictions),
    )
