"""The result of `evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.calibrating.temperature import calibrated_figures
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.confusion import (
    ClassScore,
    class_scores,
    confused_pairs,
    confusion_matrix,
)
from rezoo.evaluation.scoring.measured import MeasuredFigure, as_json, figures_of
from rezoo.evaluation.scoring.metrics import AnyScores, scored
from rezoo.evaluation.scoring.multi_label import MultiLabelScores
from rezoo.evaluation.scoring.reliability import confidences, reliability_curve
from rezoo.evaluation.setting import Setting
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import Task, task_of
from rezoo.utils.names import printable
from rezoo.utils.pages import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DRAWN = 60  # classes whose names and numbers can be read
_MOST_CONFUSED = 25
_MISTAKES = 3  # classes that one is taken for, in JSON and tables


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        predictions: What the network predicts for each image; all figures are computed from them.
        config: Of the network.
        images_per_s: Throughput, with decoding.
        notes: Remarks: rules of the splits, how classes were matched, images left out, figures
            that are not defined.
        origin: Origin of the weights, or None if it is not recorded.
        setting: The network and the images.
        own_data: Whether these are the images of the same split of the run that is evaluated.
        image_scores: Score of `calibrating.unknown` → its value for each image, float64 `(N,)`.
            Empty for multi-label data and with test-time augmentation.
    """

    predictions: Predictions
    config: ModelConfig
    images_per_s: float
    notes: tuple[str, ...]
    origin: Origin | None
    setting: Setting
    own_data: bool = False
    image_scores: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        figures = ", ".join(f"{figure.name} {figure.shown}" for figure in self.shown.values())
        where = f"{self.model} on {self.dataset}, {self.split} split"
        return f"<Evaluation of {where}, {len(self.predictions)} images: {figures}>"

    @property
    def model(self) -> str:
        """Reference of the network."""
        return self.predictions.facts["model"]

    @property
    def dataset(self) -> str:
        """Reference of the dataset."""
        return self.predictions.facts["dataset"]

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.predictions.facts["split"]

    @property
    def preprocessing(self) -> str:
        """Preprocessing of the images, as text."""
        return self.predictions.facts["preprocessing"]

    @property
    def task(self) -> Task:
        """Task of the network."""
        return task_of(self.config.multi_label)

    @property
    def num_classes(self) -> int:
        """Width of the head."""
        return self.config.num_classes

    @cached_property
    def scores(self) -> AnyScores:
        """The scores that training computes for each epoch, with their intervals."""
        return scored(self.predictions)

    @cached_property
    def figures(self) -> Mapping[str, MeasuredFigure]:
        """All figures with their intervals, by their keys in `metrics.json`.

        `figures["macro_f1"].value` is a number, `.interval` a pair. See the guide to evaluation.
        """
        figures = figures_of(self.predictions, self.scores)
        temperature = self.config.calibration.temperature if self.config.calibration else None
        return figures | (calibrated_figures(self.predictions, temperature) if temperature else {})

    @property
    def shown(self) -> Mapping[str, MeasuredFigure]:
        """The figures without those that say nothing: top-5 of at most five classes."""
        above = {figure.key: figure.above for figure in self.task.figures}
        return {k: f for k, f in self.figures.items() if self.num_classes > above.get(k, 0)}

    @property
    def confusion(self) -> np.ndarray:
        """Number of images of each class (row) taken for each class (column), int64 `(K, K)`.

        K is the width of the head; `predictions.labels` are the names.

        Raises:
            SpecError: The data are multi-label.
        """
        self._require_one_label("a confusion matrix")
        return confusion_matrix(self.predictions)

    @cached_property
    def class_scores(self) -> tuple[ClassScore, ...]:
        """Accuracy, precision, F1 and confusions of each class of the dataset.

        Raises:
            SpecError: The data are multi-label; see `scores.per_class` and `scores.ap_intervals`.
        """
        self._require_one_label("an accuracy of each class")
        return class_scores(self.predictions)

    @property
    def classes(self) -> tuple[tuple[str, int, float], ...]:
        """`(name, images, right)` of each class that occurs.

        For multi-label data the last is the average precision.
        """
        return tuple((self.config.label(i), n, value) for i, n, value in self.scores.per_class)

    @property
    def worst(self) -> list[dict[str, Any]]:
        """Classes with the lowest accuracy (or average precision), as in `metrics.json`."""
        return self.scores.worst(self.config.label)

    def class_rows(self) -> list[dict[str, str]]:
        """Return the rows of a table of the classes that have images, the worst first."""
        scores, label = self.scores, self.config.label
        if isinstance(scores, MultiLabelScores):
            ranked = sorted(
                zip(scores.per_class, scores.ap_intervals, strict=True), key=lambda c: c[0][2]
            )
            return [
                {
                    "class": label(i),
                    "images": f"{n:,}",
                    "average precision": f"{ap:.1%}",
                    "95 % interval": _range(interval),
                }
                for (i, n, ap), interval in ranked
            ]
        with_images = [found for found in self.class_scores if found.count]
        return [
            {
                "class": label(found.index),
                "images": f"{found.count:,}",
                "accuracy": f"{found.accuracy:.1%}",
                "95 % interval": _range(found.interval),
                "precision": "" if found.precision is None else f"{found.precision:.1%}",
                "F1": f"{found.f1:.1%}",
                "most often taken for": ", ".join(
                    f"{label(other)} ({n})" for other, n in found.taken_for[:_MISTAKES]
                ),
            }
            for found in sorted(with_images, key=lambda c: (c.accuracy, -c.count))
        ]

    def plot_confusion(self) -> Figure:
        """Draw the confusion matrix: rows are truth, columns are predictions.

        Above 60 classes, these are the 25 in the most frequent confusions.

        Returns:
            A matplotlib `Figure`, which a notebook shows and `savefig` writes.

        Raises:
            SpecError: The data are multi-label.
        """
        from rezoo.utils.matrices import matrix_figure

        chosen = self._drawn_classes()
        labels = [printable(self.predictions.labels[i]).replace("\n", "\\n") for i in chosen]
        return matrix_figure(self.confusion[np.ix_(chosen, chosen)], labels)

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        figures = as_json(self.figures)
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            **({"multi_label": True} if self.task.multi_label else {}),
            "num_classes": self.num_classes,
            "count": len(self.predictions),
            **figures,
            "preprocessing": self.preprocessing,
            "images_per_s": self.images_per_s,
            "origin": dataclasses.asdict(self.origin) if self.origin else None,
            "worst_classes": self.worst,
            "classes": self._classes_as_json(),
            **({} if self.task.multi_label else self._details_as_json()),
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        return render(
            "evaluation.html",
            title=f"{self.model} on {self.dataset}, {self.split} split",
            count=len(self.predictions),
            figures=self.shown.values(),
            notes=self.notes,
        )

    def _classes_as_json(self) -> list[dict[str, Any]]:
        label, scores = self.config.label, self.scores
        if isinstance(scores, MultiLabelScores):
            return [
                {"name": label(i), "index": i, "count": n, "ap": ap, "ap_interval": list(interval)}
                for (i, n, ap), interval in zip(scores.per_class, scores.ap_intervals, strict=True)
            ]
        return [
            {
                "name": label(found.index),
                "index": found.index,
                "count": found.count,
                "predicted": found.predicted,
                "right": found.right,
                "accuracy": found.accuracy,
                "accuracy_interval": list(found.interval) if found.interval else None,
                "precision": found.precision,
                "f1": found.f1,
                "taken_for": [
                    {"name": label(other), "count": n} for other, n in found.taken_for[:_MISTAKES]
                ],
            }
            for found in self.class_scores
        ]

    def _details_as_json(self) -> dict[str, Any]:
        """Return the reliability curve and the confusion matrix as `(truth, prediction, n)`."""
        curve = reliability_curve(confidences(self.predictions), self.predictions.right)
        cells = [(c.index, c.index, c.right) for c in self.class_scores if c.right]
        cells += confused_pairs(self.predictions)
        return {
            "reliability": {
                "confidence": curve.confidence.tolist(),
                "accuracy": curve.accuracy.tolist(),
                "accuracy_interval": np.stack([curve.low, curve.high], 1).tolist(),
                "count": curve.count.tolist(),
            },
            "labels": list(self.predictions.labels),
            "confusion": [list(cell) for cell in sorted(cells)],
        }

    def _drawn_classes(self) -> list[int]:
        """Return the classes of the picture, in the order of the head."""
        self._require_one_label("a confusion matrix")
        seen = {c.index for c in self.class_scores} | set(self.predictions.top[:, 0].tolist())
        if len(seen) <= _MOST_DRAWN:
            return sorted(seen)
        chosen: dict[int, None] = {}
        for truth, answer, _ in confused_pairs(self.predictions):
            if len(chosen | {truth: None, answer: None}) <= _MOST_CONFUSED:
                chosen |= {truth: None, answer: None}
        return sorted(chosen) or sorted(seen)[:_MOST_CONFUSED]

    def _require_one_label(self, what: str) -> None:
        if self.task.multi_label:
            raise SpecError(
                f"multi-label data have no such thing as {what}",
                hint="see scores.per_class: the average precision of each class.",
            )


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
