"""Confusion matrices as figures of matplotlib and as SVG: rows are truth, columns predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

from rezoo.utils.figures import COLOURS, as_svg, new_figure, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 60  # classes, whose names and numbers can still be read
_CELL, _LETTER, _EDGE = 21.0, 6.6, 30.0  # pixels of a cell, of a letter, of an axis title
_MOST_LETTERS = 24
_RIGHT, _WRONG = COLOURS[:2]
_FAINT, _STRONG = 0.12, 0.58  # opacity; on a page of any colour its text stays readable


def matrix_svg(counts: np.ndarray, labels: Sequence[str]) -> str:
    """Return a confusion matrix as an `<svg>` element with its size; see `matrix_figure`."""
    with settings():
        return as_svg(matrix_figure(counts, labels)).replace('pt"', '"')


def matrix_figure(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draw a confusion matrix.

    A cell has the number of images; its opacity is their share of the row, so a rare class is as
    visible as a frequent one. The diagonal, right predictions, has another colour.

    Args:
        counts: Images of each class (row) that are taken for each class (column), int `(K, K)`.
        labels: Names of the K classes, each on one line; long ones are cut.
    """
    classes = len(labels)
    names = [shortened(label, _MOST_LETTERS) for label in labels]
    margin, size = _EDGE + _LETTER * max(map(_letters, names)), _CELL * classes
    whole = margin + size + 1
    figure = new_figure(whole, whole)
    axes = figure.add_axes((margin / whole, 1 / whole, size / whole, size / whole))
    axes.set(xlim=(0, classes), ylim=(classes, 0))
    axes.patch.set_visible(False)
    _name(axes, names)
    _fill(axes, np.asarray(counts))
    return figure


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters; a cut one ends in an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _letters(text: str) -> int:
    """Return the width of a text in letters; those of Chinese, for example, count twice."""
    return sum(1 + (east_asian_width(character) in "WF") for character in text)


def _name(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of the classes, which is faster than by ticks, and draw the grid."""
    from matplotlib.collections import LineCollection

    classes, ink = len(names), axes.xaxis.label.get_color()
    axes.set(xticks=(), yticks=())
    axes.spines[:].set_visible(False)
    gap = 5 / _CELL
    as_it_is: dict[str, Any] = {"parse_math": False}
    for place, name in enumerate(names):
        axes.text(-gap, place + 0.5, name, ha="right", va="center", **as_it_is)
        axes.text(place + 0.5, -gap, name, ha="center", va="bottom", rotation=90, **as_it_is)
    beyond = -gap - _LETTER * (max(map(_letters, names)) + 1) / _CELL
    axes.text(classes / 2, beyond, "prediction", ha="center", va="bottom", weight="bold")
    title: dict[str, Any] = {"ha": "right", "va": "center", "weight": "bold", "rotation": 90}
    axes.text(beyond, classes / 2, "truth", **title)
    lines = [((i, 0), (i, classes)) for i in range(classes + 1)]
    lines += [((0, i), (classes, i)) for i in range(classes + 1)]
    axes.add_collection(LineCollection(lines, colors=ink, alpha=0.12, linewidths=0.6))


def _fill(axes: Axes, counts: np.ndarray) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    images = counts.sum(axis=1)
    cells, colours = [], []
    for row, column in np.argwhere(counts).tolist():
        number = int(counts[row, column])
        opacity = _FAINT + (_STRONG - _FAINT) * number / int(images[row])
        cells.append(Rectangle((column, row), 1, 1))
        colours.append(to_rgba(_RIGHT if row == column else _WRONG, opacity))
        text = f"{number}" if number < 10_000 else f"{number / 1000:.0f}k"
        size = "small" if len(text) < 3 else "x-small"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=size)
    axes.add_collection(PatchCollection(cells, facecolors=colours, linewidths=0, zorder=0))
