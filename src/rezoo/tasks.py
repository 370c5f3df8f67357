"""What a network is asked about an image: which class it is, or which classes it shows.

A task is the names and the words of it; what is computed stands under the same names in
`rezoo.training.losses`, `rezoo.evaluation.scoring` and `rezoo.evaluation.predict`. Loads
without Keras, TensorFlow and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure that a network is measured by, a fraction.

    Attributes:
        key: In `metrics.json`; columns of `history.csv` are `val_<key>`.
        name: When shown.
        hub_type: What the Hub calls it.
        above: It is shown where there are more classes than that.
        in_report: Whether `report.html` shows it.
    """

    key: str
    name: str
    hub_type: str
    above: int = 0
    in_report: bool = True


@dataclass(frozen=True)
class Shown:
    """A figure with its value, ready to be shown.

    Attributes:
        figure: Which one.
        value: In percent.
        interval: Its 95 % interval in percent, or empty.
    """

    figure: Figure
    value: str
    interval: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is asked about an image, in words.

    Attributes:
        name: For messages.
        multi_label: Whether an image has any number of the classes.
        figures: What networks are measured by; the first one chooses the best epoch.
        hits: What is counted in training.
        charts: Of `report.html`: title, columns of `history.csv`, names of the lines.
        does: What a network does, for cards; `{}` is the number of classes.
        limits: What it does with anything else, and what its probabilities are.
        intervals: How intervals are made, and what the figures mean.
        class_key: Of a class in `rezoo eval --json`, beside name and count.
        worst: What `worst_classes` has first: classes that are so.
        worst_of: The same in a whole sentence.
        worst_columns: Heads of a table of them.
        worst_cells: Returns the cells behind the name of one of them.
        weakest: Returns `(name, images, figure)` of classes in words, the weakest first.
    """

    name: str
    multi_label: bool
    figures: tuple[Figure, ...]
    hits: Figure
    charts: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    does: str
    limits: tuple[str, str]
    intervals: str
    class_key: str
    worst: str
    worst_of: str
    worst_columns: tuple[str, ...]
    worst_cells: Callable[[Mapping[str, Any], Callable[[str], str]], list[str]]
    weakest: Callable[[Sequence[tuple[str, int, float]]], str]

    @property
    def chosen_by(self) -> Figure:
        """The figure that chooses the best epoch."""
        return self.figures[0]

    def shown(self, scores: Mapping[str, Any], num_classes: int) -> list[Shown]:
        """Return the figures of `scores`, as `metrics.json` has them, in percent."""
        return [
            Shown(figure, f"{scores[figure.key]:.2%}", _interval(scores, figure.key))
            for figure in self.figures
            if num_classes > figure.above
        ]


def task_of(multi_label: bool) -> Task:
    """Return the task of data or of a network."""
    return MULTI_LABEL if multi_label else SINGLE_LABEL


def _interval(scores: Mapping[str, Any], key: str) -> str:
    low, high = scores.get(f"{key}_interval") or (None, None)
    return "" if low is None else f"{low:.2%} to {high:.2%}"


def _taken_for(entry: Mapping[str, Any], plain: Callable[[str], str]) -> list[str]:
    taken = ", ".join(f"{plain(o['name'])} ({o['count']})" for o in entry["taken_for"])
    return [f"{entry['right']} of {entry['count']}", taken]


def _precision(entry: Mapping[str, Any], plain: Callable[[str], str]) -> list[str]:
    return [f"{entry['ap']:.1%}", f"{entry['count']:,}"]


def _least_right(classes: Sequence[tuple[str, int, float]], most: int = 5) -> str:
    wrong = sorted((r / n, -n, name, n, r) for name, n, r in classes if r < n)[:most]
    named = ", ".join(f"{name} {right}/{count}" for _, _, name, count, right in wrong)
    return f"least right: {named}" if named else ""


def _lowest(classes: Sequence[tuple[str, int, float]], most: int = 5) -> str:
    low = sorted((ap, -n, name) for name, n, ap in classes if ap < 1)[:most]
    named = ", ".join(f"{name} {ap:.1%}" for ap, _, name in low)
    return f"lowest average precision: {named}" if named else ""


_TOP1 = Figure("top1", "top-1", "accuracy")
SINGLE_LABEL = Task(
    name="single-label",
    multi_label=False,
    figures=(_TOP1, Figure("top5", "top-5", "accuracy", above=5, in_report=False)),
    hits=_TOP1,
    charts=(("top-1", ("train_top1", "val_top1"), ("train", "val")),),
    does="tells {} classes apart",
    limits=(
        "anything else becomes one of them, too.",
        "Softmax values are not calibrated probabilities.",
    ),
    intervals="The intervals are Wilson's: what other images of the same kind would give.",
    class_key="right",
    worst="least right",
    worst_of="least often right",
    worst_columns=("right", "most often taken for"),
    worst_cells=_taken_for,
    weakest=_least_right,
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
    does="says which of {} classes an image shows",
    limits=(
        "it has no word for anything else, and may take it for some of them.",
        "Sigmoid values are not calibrated probabilities.",
    ),
    intervals="mAP is the mean of the classes' average precision; its interval is that of 1000 "
    "bootstrap resamples of the images. F1 and exact match are those of the threshold 0.5.",
    class_key="ap",
    worst="lowest average precision",
    worst_of="of lowest average precision",
    worst_columns=("average precision", "images with it"),
    worst_cells=_precision,
    weakest=_lowest,
)
