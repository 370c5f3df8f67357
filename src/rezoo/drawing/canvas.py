"""A card to draw on with matplotlib, and its colours, for light and for dark pages.

Shapes have the colours of light pages. `to_svg` adds a style sheet that replaces them if the page
or the system is dark. The card has a colour of its own, so a picture is readable on any page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

from rezoo.utils.figures import as_svg, new_figure, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 420  # of a picture in its units; a page of a phone shows it at 358 pixels
SMALL = 13  # smallest size of text, so 11 pixels on a phone
_BETWEEN = 10  # space between pictures
TIMES = "\N{MULTIPLICATION SIGN}"
_TIP: dict[str, Any] = {
    "arrowstyle": "-|>,head_length=5,head_width=2.8",
    "shrinkA": 0,
    "shrinkB": 0,
}

CARD, INK, MUTED, LINE = "#f7f8fb", "#1c2536", "#556074", "#d5dae4"
BLUE, PALE, MIDDLE, SKY, EMPTY = "#2f5fc4", "#dfe8fb", "#b9cdf4", "#93a9dd", "#fefefe"
ORANGE, SAND, GREEN, GREY = "#d2601a", "#fbe6d6", "#2b8a57", "#6b7688"
# of stages, the last ones for the smallest maps
STAGES = ("#5b8c2a", "#1f8a70", "#1f86a8", "#3b6bd0", "#6a48b8", "#a83a8c")
_DARK = {
    CARD: "#171b24",
    INK: "#e6eaf2",
    MUTED: "#a8b2c4",
    LINE: "#363f50",
    BLUE: "#7ea4f4",
    PALE: "#22345c",
    MIDDLE: "#34508c",
    SKY: "#667fc0",
    EMPTY: "#1f2531",
    ORANGE: "#f0935a",
    SAND: "#4a2e1c",
    GREEN: "#62c48d",
    GREY: "#98a3b6",
    **dict(
        zip(STAGES, ("#9cc76a", "#5cc4a8", "#5fc0df", "#84a9f7", "#ab8ff0", "#e583c8"), strict=True)
    ),
}

Place = tuple[float, float, float, float]  # x and y of the upper left corner, width, height
Look = tuple[str, str]  # colours of the inside and of the edge
LAYER, OTHER, PROJECTING = (PALE, BLUE), (EMPTY, MUTED), (SAND, ORANGE)


def to_svg(drawings: Sequence[Callable[[], Axes]], title: str) -> str:
    """Return pictures, one below the other, as the text of an SVG file; the same each time.

    Args:
        drawings: Each returns axes of `canvas` with a picture on them.
        title: What a reader sees, or hears, instead of the pictures.
    """
    with settings():
        figures = [cast("Figure", draw().figure) for draw in drawings]
        cards = [as_svg(figure) for figure in figures]
    sizes = [tuple(72 * side for side in figure.get_size_inches()) for figure in figures]
    placed, top = [], 0.0
    for card, (_, height) in zip(cards, sizes, strict=True):
        placed.append(card.replace("<svg", f'<svg y="{top:g}"', 1).replace('pt"', '"', 2))
        top += height + _BETWEEN
    width, height = max(width for width, _ in sizes), top - _BETWEEN
    svg = "\n".join(placed)
    rules = "\n".join(
        f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
        if f"{what}: {light}" in svg
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}pt" height="{height:g}pt" '
        f'viewBox="0 0 {width:g} {height:g}">\n<title>{escape(title)}</title>\n'
        f"<style>\n@media (prefers-color-scheme: dark) {{\n{rules}\n}}\n</style>\n{svg}</svg>\n"
    )


def canvas(height: float, width: float = WIDTH) -> Axes:
    """Return axes in picture units, y downwards, on a card with round corners."""
    axes = new_figure(width, height).add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    box(axes, (1, 1, width - 2, height - 2), look=(CARD, LINE), radius=14)
    return axes


def text(axes: Axes, x: float, y: float, words: str, size: float = 14, **options: Any) -> None:
    """Write words, centred on (x, y) unless options say otherwise."""
    look = {"ha": "center", "va": "center_baseline", "color": INK}
    axes.text(x, y, words, fontsize=size, **{**look, **options})


def box(axes: Axes, place: Place, words: str = "", look: Look = LAYER, radius: float = 7) -> None:
    """Draw a box with round corners, and words in its middle."""
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place
    shape, (fill, edge) = f"round,pad=0,rounding_size={radius}", look
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, fc=fill, ec=edge, lw=1.3))
    if words:
        text(axes, x + width / 2, y + height / 2, words)


def bar(axes: Axes, place: Place, fill: str, **options: Any) -> None:
    """Draw a filled rectangle without an edge."""
    from matplotlib.patches import Rectangle

    x, y, width, height = place
    axes.add_patch(Rectangle((x, y), width, height, **{"fc": fill, "lw": 0, **options}))


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK
) -> None:
    """Draw a straight arrow."""
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(FancyArrowPatch(start, end, color=colour, lw=1.4, **_TIP))


def curve(axes: Axes, points: list[tuple[float, float]], codes: list[int], **options: Any) -> None:
    """Draw a curved arrow in the colour of shortcuts; codes are those of matplotlib's paths."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    look = {"color": ORANGE, "lw": 2.4, "fill": False, **_TIP, **options}
    axes.add_patch(FancyArrowPatch(path=Path(points, codes), **look))


def shortcut(
    axes: Axes, x: float, top: float, bottom: float, reach: float, *, turn: float = 14, **look: Any
) -> None:
    """Draw a shortcut left around layers, from the line at x to the same line."""
    left = x - reach
    points = [(x, top), (left + turn, top), (left, top), (left, top + turn)]
    points += [(left, bottom - turn), (left, bottom), (left + turn, bottom)]
    points += [(x - look.pop("gap", 0), bottom)]
    curve(axes, points, [1, 2, 3, 3, 2, 3, 3, 2], **look)  # line to, and quadratic curves


def plus(axes: Axes, x: float, y: float, radius: float = 12) -> None:
    """Draw the sign of addition."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), radius, fc=SAND, ec=ORANGE, lw=1.6, zorder=3))
    arm = radius * 0.5
    for dx, dy in ((arm, 0), (0, arm)):
        axes.plot([x - dx, x + dx], [y - dy, y + dy], color=ORANGE, lw=2, zorder=4)


def fitting(words: str, width: float, size: float, *, least: float = SMALL) -> float:
    """Return the size of text at which words fit into a width, at most `size`."""
    return max(least, min(size, width / (0.68 * max(len(words), 1))))


def metric(count: float, digits: int = 3) -> str:
    """Return a count with some digits and its prefix: `694 M`, `4.09 G`."""
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        value = float(f"{count / factor:.{digits}g}")
        if value >= 1:
            return f"{value:.{max(0, digits - len(str(int(value))))}f}{prefix}"
    return f"{count:.0f}"
