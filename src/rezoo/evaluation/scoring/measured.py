"""All figures of predictions, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.evaluation.class_names import few_names
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring import confusion, multi_label
from rezoo.evaluation.scoring.intervals import (
    Interval,
    Statistic,
    bootstrap,
    mean_of,
    percentile_interval,
    value_of,
)
from rezoo.evaluation.scoring.metrics import AnyScores, Scores, scored
from rezoo.evaluation.scoring.multi_label import MultiLabelScores
from rezoo.evaluation.scoring.reliability import (
    brier_scores,
    calibration_error,
    calibration_interval,
    confidences,
)


@dataclass(frozen=True, kw_only=True)
class MeasuredFigure:
    """A figure with its interval.

    Attributes:
        name: Name in texts.
        value: The figure; None if it is not defined.
        interval: Its 95 % interval; None if there is none.
        percent: Whether it is shown in percent; otherwise it is a number such as a loss.
    """

    name: str
    value: float | None
    interval: Interval | None = None
    percent: bool = False

    @property
    def shown(self) -> str:
        """The value as text."""
        return "not defined" if self.value is None else self._as_text(self.value)

    @property
    def shown_interval(self) -> str:
        """The interval as text; empty if there is none."""
        return "" if self.interval is None else " to ".join(map(self._as_text, self.interval))

    def _as_text(self, value: float) -> str:
        return f"{value:.2%}" if self.percent else f"{value:.4f}"


def figures_of(
    predictions: Predictions, scores: AnyScores | None = None
) -> dict[str, MeasuredFigure]:
    """Return the figures of predictions by their keys, those of `metrics.json`.

    Proportions have Wilson intervals, the others bias-corrected percentiles of 1000 bootstrap
    resamples of the images; for the calibration error see `reliability.calibration_interval`.

    Args:
        predictions: Of one split.
        scores: Their scores, if they are known already.

    Raises:
        NotFoundError: No image of multi-label data has a label.
    """
    scores = scores or scored(predictions)
    if isinstance(scores, MultiLabelScores):
        return _of_several(scores, predictions)
    return _of_one(scores, predictions)


def as_json(figures: Mapping[str, MeasuredFigure]) -> dict[str, Any]:
    """Return `{key: value, key_interval: [low, high]}` of all figures, as JSON types."""
    content: dict[str, Any] = {}
    for key, figure in figures.items():
        content[key] = figure.value
        content[f"{key}_interval"] = list(figure.interval) if figure.interval else None
    return content


def undefined(predictions: Predictions) -> list[str]:
    """Return a note on each figure that is not defined, and on classes without images."""
    truth, known = predictions.truth, predictions.classes[predictions.classes >= 0]
    occurring = np.flatnonzero(truth.any(0)) if predictions.multi_label else np.unique(truth)
    known = np.arange(truth.shape[1]) if predictions.multi_label else known
    lacking = np.setdiff1d(known, occurring)
    notes = []
    if len(lacking):
        names = [_label(predictions, int(i)) for i in lacking]
        verb = "class has" if len(lacking) == 1 else "classes have"
        notes.append(
            f"{len(lacking)} {verb} no image, and no part in the means: {few_names(names)}"
        )
    if predictions.width == 2 and not predictions.multi_label and len(occurring) < 2:
        notes.append("ROC AUC is not defined: all images are of one class")
    return notes


def _label(predictions: Predictions, index: int) -> str:
    index = int(predictions.classes[index]) if predictions.multi_label else index
    return predictions.labels[index] if predictions.labels else str(index)


def _of_one(scores: Scores, predictions: Predictions) -> dict[str, MeasuredFigure]:
    statistics: dict[str, tuple[str, Statistic, bool]] = {
        "loss": ("loss", mean_of(predictions.losses), False),
        "mean_class_accuracy": (
            "mean class accuracy",
            confusion.mean_class_accuracy(predictions),
            True,
        ),
        "macro_f1": ("macro F1", confusion.macro_f1(predictions), True),
    }
    with_logits = predictions.logits.shape[1] > 0
    if with_logits:
        if predictions.width == 2:
            statistics["auc"] = ("ROC AUC", confusion.roc_auc(predictions), False)
        statistics["brier"] = ("Brier score", mean_of(brier_scores(predictions)), False)
    found = {
        **_resampled(statistics, len(predictions)),
        "top1": MeasuredFigure(
            name="top-1", value=scores.top1, interval=scores.top1_interval, percent=True
        ),
        "top5": MeasuredFigure(
            name="top-5", value=scores.top5, interval=scores.top5_interval, percent=True
        ),
    }
    if with_logits:
        sure, right = confidences(predictions), predictions.right
        found["ece"] = MeasuredFigure(
            name="ECE",
            value=calibration_error(sure, right),
            interval=calibration_interval(sure, right),
        )
    order = ("loss", "top1", "top5", "mean_class_accuracy", "macro_f1", "auc", "ece", "brier")
    return {key: found[key] for key in order if key in found}


def _of_several(scores: MultiLabelScores, predictions: Predictions) -> dict[str, MeasuredFigure]:
    truth, answers = scores.truth, scores.answers
    resampled = _resampled(
        {
            "loss": ("loss", mean_of(predictions.losses), False),
            "micro_f1": ("micro F1", multi_label.micro_f1(truth, answers), True),
            "macro_f1": ("macro F1", multi_label.macro_f1(truth, answers), True),
        },
        len(predictions),
    )
    exact = MeasuredFigure(
        name="exact match",
        value=scores.exact_match,
        interval=scores.exact_match_interval,
        percent=True,
    )
    hit = MeasuredFigure(
        name="top-1 hit", value=scores.hit1, interval=scores.hit1_interval, percent=True
    )
    mean_precision = MeasuredFigure(
        name="mAP", value=scores.map, interval=scores.map_interval, percent=True
    )
    return {
        "loss": resampled["loss"],
        "map": mean_precision,
        "hit1": hit,
        "micro_f1": resampled["micro_f1"],
        "macro_f1": resampled["macro_f1"],
        "exact_match": exact,
    }


def _resampled(
    statistics: Mapping[str, tuple[str, Statistic, bool]], count: int
) -> dict[str, MeasuredFigure]:
    """Return the values of statistics of N images, with bootstrap intervals of common draws.

    Args:
        statistics: Key → name, statistic, and whether it is shown in percent.
        count: N.
    """
    of_each = [statistic for _, statistic, _ in statistics.values()]
    values = bootstrap(count, lambda copies: np.stack([of(copies) for of in of_each]))
    own = [value_of(statistic, count) for statistic in of_each]
    ends = percentile_interval(values, np.array(own, np.float64))
    found = {}
    for (key, (name, _, percent)), value, low, high in zip(
        statistics.items(), own, *ends, strict=True
    ):
        known = value is not None and not np.isnan(low)
        interval = (float(low), float(high)) if known else None
        found[key] = MeasuredFigure(name=name, value=value, interval=interval, percent=percent)
    return found
