"""The two tasks: single-label and multi-label image classification.

A `Task` holds names and texts. The loss of each is in `rezoo.training.losses`, its scores in
`rezoo.evaluation.scoring.metrics`, its decision rule in `rezoo.evaluation.predict`. Imports neither
Keras nor NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

THRESHOLD = 0.5  # of the probability above which a multi-label network predicts a class


@dataclass(frozen=True)
class Figure:
    """A score of a network, a fraction from 0 to 1.

    Attributes:
        key: Key in `metrics.json`; `history.csv` has it as `val_<key>`.
        name: Name in texts.
        hub_type: Metric type on the Hub.
        above: The score is shown only if there are more classes than this.
    """

    key: str
    name: str
    hub_type: str
    above: int = 0


@dataclass(frozen=True)
class Shown:
    """A score with its value as text.

    Attributes:
        figure: The score.
        value: Value in percent.
        interval: 95 % interval in percent, or empty.
    """

    figure: Figure
    value: str
    interval: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task, with the texts that cards, reports and the command line use for it.

    Attributes:
        name: Name in messages.
        multi_label: Whether an image has any number of the classes.
        figures: Scores; the first one selects the best epoch.
        hits: Score that is computed on training batches.
        charts: Charts of the scores: title, columns of `history.csv`, names of the lines.
        does: What a network of this task does; `{}` is the number of classes.
        limits: What it does with images of other classes, and what its probabilities are.
        intervals: How the intervals are computed.
        worst: Title of a list of the worst classes.
        worst_columns: Column titles of such a list, after the class.
        worst_cells: Function from an entry of `worst_classes` to the cells after the class.
        weakest: Function from `(name, images, figure)` of all classes to a line on the worst.
    """

    name: str
    multi_label: bool
    figures: tuple[Figure, ...]
    hits: Figure
    charts: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    does: str
    limits: tuple[str, str]
    intervals: str
    worst: str
    worst_columns: tuple[str, ...]
    worst_cells: Callable[[Mapping[str, Any]], list[str]]
    weakest: Callable[[Sequence[tuple[str, int, float]]], str]

    @property
    def chosen_by(self) -> Figure:
        """Score that selects the best epoch."""
        return self.figures[0]

    def shown(self, scores: Mapping[str, Any], num_classes: int) -> list[Shown]:
        """Return the scores in a mapping like that of `metrics.json`, in percent."""
        return [
            Shown(figure, f"{scores[figure.key]:.2%}", _interval(scores, figure.key))
            for figure in self.figures
            if num_classes > figure.above
        ]


def task_of(multi_label: bool) -> Task:
    """Return the task of a dataset or of a network."""
    return MULTI_LABEL if multi_label else SINGLE_LABEL


def _interval(scores: Mapping[str, Any], key: str) -> str:
    low, high = scores.get(f"{key}_interval") or (None, None)
    return "" if low is None else f"{low:.2%} to {high:.2%}"


def _accuracy_cells(entry: Mapping[str, Any]) -> list[str]:
    taken = ", ".join(f"{other['name']} ({other['count']})" for other in entry["taken_for"])
    return [f"{entry['right']} of {entry['count']}", taken]


def _precision_cells(entry: Mapping[str, Any]) -> list[str]:
    return [f"{entry['ap']:.1%}", f"{entry['count']:,}"]


def _lowest_accuracy(classes: Sequence[tuple[str, int, float]], most: int = 5) -> str:
    wrong = sorted((r / n, -n, name, n, r) for name, n, r in classes if r < n)[:most]
    named = "; ".join(f"class {name}, {right} of {count}" for _, _, name, count, right in wrong)
    return f"lowest accuracy: {named}" if named else ""


def _lowest_precision(classes: Sequence[tuple[str, int, float]], most: int = 5) -> str:
    low = sorted((ap, -n, name) for name, n, ap in classes if ap < 1)[:most]
    named = "; ".join(f"class {name}, {ap:.1%}" for ap, _, name in low)
    return f"lowest average precision: {named}" if named else ""


_TOP1 = Figure("top1", "top-1", "accuracy")
SINGLE_LABEL = Task(
    name="single-label",
    multi_label=False,
    figures=(_TOP1, Figure("top5", "top-5", "accuracy", above=5)),
    hits=_TOP1,
    charts=(("top-1", ("train_top1", "val_top1"), ("train", "val")),),
    does="classifies images into {} classes",
    limits=(
        "An image of any other class is assigned to one of them, too.",
        "Softmax values are not calibrated probabilities.",
    ),
    intervals="The intervals are Wilson intervals: they show how far the accuracy on other "
    "images of the same kind may differ.",
    worst="lowest accuracy",
    worst_columns=("right", "most often confused with"),
    worst_cells=_accuracy_cells,
    weakest=_lowest_accuracy,
)
_HIT1 = Figure("hit1", "top-1 hit", "accuracy")
MULTI_LABEL = Task(
    name="multi-label",
    multi_label=True,
    figures=(
        Figure("map", "mAP", "mean_average_precision"),
        Figure("micro_f1", "micro F1", "f1"),
        Figure("macro_f1", "macro F1", "f1"),
        Figure("exact_match", "exact match", "accuracy"),
    ),
    hits=_HIT1,
    charts=(
        ("mAP", ("val_map",), ("",)),
        ("top-1 hit", ("train_hit1", "val_hit1"), ("train", "val")),
    ),
    does="predicts which of {} classes an image shows",
    limits=(
        "Objects of any other class are ignored or assigned to some of them.",
        "Sigmoid values are not calibrated probabilities.",
    ),
    intervals="mAP is the mean of the classes' average precision; its interval is computed from "
    "1000 bootstrap resamples of the images. F1 and exact match are computed at the threshold 0.5.",
    worst="lowest average precision",
    worst_columns=("average precision", "images with this class"),
    worst_cells=_precision_cells,
    weakest=_lowest_precision,
)
