"""Bars with intervals as SVG, in the style of `rezoo.utils.figures`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rezoo.utils.figures import COLOURS, HEIGHT, INK, WIDTH, as_svg, finish, new_figure, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPACE = 17  # of a bar, in pixels
_LEFT, _AROUND = 57, 72  # margin to the left, and both margins, in pixels


class Bar(NamedTuple):
    """One bar.

    Attributes:
        name: Below the bar.
        value: A fraction; None for a cross on the axis in place of the bar.
        interval: Drawn as a line over the end of the bar.
        group: Bars of one group have one colour; the legend names it.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    group: str = ""


@dataclass(frozen=True)
class BarChart:
    """Bars of fractions, on 0 to 100 %.

    Attributes:
        title: Quantity on the y axis.
        bars: From left to right.
        groups: Of the bars, at most four, in the order of their colours; those without a bar are
            not drawn.
        line: Value of a broken horizontal line, to which the bars are compared.
        line_name: For the legend.
        x_title: What the names of the bars are.
    """

    title: str
    bars: tuple[Bar, ...]
    groups: tuple[str, ...]
    line: float
    line_name: str
    x_title: str

    @property
    def width(self) -> int:
        """Pixels that the bars need."""
        return max(WIDTH, _AROUND + _SPACE * len(self.bars))


def draw_bars(chart: BarChart, width: int) -> str:
    """Return a chart as an `<svg>` element without a size; its viewBox is `width` x `HEIGHT`."""
    with settings():
        figure = new_figure(width, HEIGHT)
        _draw_on(figure, chart, width)
        return as_svg(figure, sized=False)


def _draw_on(figure: Figure, chart: BarChart, width: int) -> None:
    left, right = _LEFT / width, (_AROUND - _LEFT) / width
    axes = figure.add_axes((left, 0.22, 1 - left - right, 0.56))
    bars = chart.bars
    for group, colour in zip(chart.groups, COLOURS, strict=False):
        places = [x for x, bar in enumerate(bars) if bar.group == group]
        if places:
            heights = [bars[x].value or 0.0 for x in places]
            axes.bar(places, heights, 0.7, color=colour, label=group)
    for x, bar in enumerate(bars):
        if bar.interval:
            axes.plot((x, x), bar.interval, color=INK, linewidth=1.5)
        if bar.value is None:
            axes.text(x, 0.02, "×", ha="center")
    axes.axhline(chart.line, color=INK, linewidth=1, linestyle="--", label=chart.line_name)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    axes.set_ylim(0, 1)
    axes.set_xticks(range(len(bars)), [bar.name for bar in bars], rotation=90, size="small")
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], [f"{y} %" for y in range(0, 101, 20)])
    axes.tick_params(axis="x", length=0)
    finish(axes, chart, columns=5, pad=22)
