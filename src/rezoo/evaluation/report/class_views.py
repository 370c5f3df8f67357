"""The classes in a report: confusion matrix, confused pairs, and a row for each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.confusion import class_scores, confused_pairs
from rezoo.evaluation.scoring.intervals import Interval
from rezoo.evaluation.scoring.metrics import AnyScores
from rezoo.evaluation.scoring.multi_label import MultiLabelScores
from rezoo.evaluation.scoring.reliability import confidences, reliability_curve
from rezoo.utils.figures import Chart, Line
from rezoo.utils.matrices import LARGEST, matrix_svg, shortened
from rezoo.utils.names import printable

MOST_PAIRS = 25
_MOST_ROWS, _MOST_CLASSES = 50, 1000  # shown at first, and unfolded
_MOST_TAKEN = 3
_MOST_LETTERS = 120  # of a name


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class as texts.

    Attributes:
        name: Its name.
        count: Number of its images.
        figure: Accuracy, or average precision; empty without images.
        share: The same from 0 to 1, for a bar.
        interval: 95 % interval of it; empty without images.
        precision: Of the predictions; empty for average precision.
        taken_for: What its images are taken for instead, most frequent first.
    """

    name: str
    count: int
    figure: str
    share: float
    interval: str = ""
    precision: str = ""
    taken_for: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The classes of a report, the worst first.

    Attributes:
        shown: The first ones.
        folded: The next ones.
        left_out: Number of the others.
    """

    shown: list[ClassRow]
    folded: list[ClassRow]
    left_out: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A confusion: images of a class `of` that has `count` images, taken for another."""

    truth: str
    given: str
    images: int
    count: int


def one_line(text: str, *, most: int = _MOST_LETTERS) -> str:
    """Return a text on one line: characters that do not print are escaped, a long one is cut."""
    return shortened(printable(text).replace("\n", "\\n"), most)


def labels_of(predictions: Predictions) -> Callable[[int], str]:
    """Return a function from an index in the head to the name of the class."""
    labels = predictions.labels
    return lambda index: one_line(labels[index]) if labels else str(index)


def class_table(predictions: Predictions, scores: AnyScores) -> ClassTable:
    """Return the classes with the worst first; those without images are last.

    Args:
        predictions: Of one split.
        scores: Their scores.
    """
    if isinstance(scores, MultiLabelScores):
        rows = _of_several(predictions, scores)
    else:
        rows = _of_one(predictions)
    return ClassTable(
        shown=rows[:_MOST_ROWS],
        folded=rows[_MOST_ROWS:_MOST_CLASSES],
        left_out=max(0, len(rows) - _MOST_CLASSES),
    )


def _of_one(predictions: Predictions) -> list[ClassRow]:
    label = labels_of(predictions)
    ranked = sorted(
        class_scores(predictions), key=lambda c: (c.accuracy is None, c.accuracy, -c.count)
    )
    rows = []
    for score in ranked:
        taken = [f"{label(i)} ({n})" for i, n in score.taken_for[:_MOST_TAKEN]]
        rows.append(
            ClassRow(
                name=label(score.index),
                count=score.count,
                figure="" if score.accuracy is None else f"{score.accuracy:.1%}",
                share=score.accuracy or 0.0,
                interval="" if score.interval is None else _range(score.interval),
                precision="" if score.precision is None else f"{score.precision:.1%}",
                taken_for=", ".join(taken),
            )
        )
    return rows


def _of_several(predictions: Predictions, scores: MultiLabelScores) -> list[ClassRow]:
    label = labels_of(predictions)
    found = zip(scores.per_class, scores.ap_intervals, strict=True)
    return [
        ClassRow(name=label(i), count=n, figure=f"{ap:.1%}", share=ap, interval=_range(interval))
        for (i, n, ap), interval in sorted(found, key=lambda row: (row[0][2], -row[0][1]))
    ]


def _range(interval: Interval) -> str:
    low, high = interval
    return f"{low:.0%} to {high:.0%}"


def pairs(predictions: Predictions) -> list[Pair]:
    """Return the most frequent confusions."""
    label, truth = labels_of(predictions), predictions.truth
    return [
        Pair(truth=label(a), given=label(b), images=n, count=int((truth == a).sum()))
        for a, b, n in confused_pairs(predictions)[:MOST_PAIRS]
    ]


def drawn_matrix(predictions: Predictions) -> str:
    """Return the confusion matrix of the classes that occur as SVG; empty if they are too many."""
    truth, given = predictions.truth, predictions.top[:, 0]
    shown, places = np.unique(np.concatenate([truth, given]), return_inverse=True)
    width = len(shown)
    if not 2 <= width <= LARGEST:
        return ""
    rows, columns = np.split(places, 2)
    counts = np.bincount(rows * width + columns, minlength=width * width)
    return matrix_svg(counts.reshape(width, width), list(map(labels_of(predictions), shown)))


def reliability(predictions: Predictions) -> Chart:
    """Return the reliability curve of single-label predictions, with 95 % intervals."""
    curve = reliability_curve(confidences(predictions), predictions.right)
    points = tuple(zip(curve.confidence.tolist(), curve.accuracy.tolist(), strict=True))
    ranges = tuple(zip(curve.low.tolist(), curve.high.tolist(), strict=True))
    ideal = Line(((0.0, 0.0), (1.0, 1.0)), plain=True)
    return Chart(
        "accuracy",
        (Line(points, ranges=ranges), ideal),
        x_title="confidence",
        percent=True,
        x_percent=True,
    )
