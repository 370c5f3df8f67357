"""Bars with intervals as SVG, in the style of `rezoo.utils.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rezoo.utils.figures import COLOURS, HEIGHT, INK, WIDTH, paint
from rezoo.utils.names import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPACE = 17  # of a bar, in pixels
_LETTER = 7  # mean width of a letter of the title, in pixels
_AROUND = 96  # margins to the left and to the right, in pixels


class Bar(NamedTuple):
    """One bar.

    Attributes:
        name: Below the bar.
        value: A fraction; None for no bar, which is drawn as a cross on the axis.
        interval: Drawn as a line over the end of the bar.
        group: Bars of one group have one colour; the legend names it.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    group: str = ""


def draw_bars(title: str, bars: Sequence[Bar], *, line: float, line_name: str, x_title: str) -> str:
    """Return bars of fractions on 0 to 100 % as an SVG file.

    Args:
        title: Quantity on the y axis; it is cut if it is longer than the chart is wide.
        bars: From left to right; at most four groups.
        line: Value of a broken horizontal line, to which the bars are compared.
        line_name: For the legend.
        x_title: What the names of the bars are.
    """
    width = max(WIDTH, _AROUND + _SPACE * len(bars))
    most = (width - _AROUND) // _LETTER
    title = printable(title)
    title = title if len(title) <= most else f"{title[: most - 1]}…"

    def draw(figure: Figure) -> None:
        left, right = 54 / width, 16 / width
        _draw_on(figure.add_axes((left, 0.22, 1 - left - right, 0.58)), bars, line, line_name)
        figure.axes[0].set_title(title, loc="left", size="medium", weight="bold", pad=22)
        figure.axes[0].set_xlabel(x_title)

    svg = paint(draw, width, HEIGHT)
    return svg.replace("<svg", f'<svg width="{width}" height="{HEIGHT}"', 1)


def _draw_on(axes: Axes, bars: Sequence[Bar], line: float, line_name: str) -> None:
    for group, colour in zip(dict.fromkeys(bar.group for bar in bars), COLOURS, strict=False):
        own = [(x, bar) for x, bar in enumerate(bars) if bar.group == group]
        heights = [bar.value or 0.0 for _, bar in own]
        axes.bar([x for x, _ in own], heights, 0.7, color=colour, label=group)
    for x, bar in enumerate(bars):
        if bar.interval:
            axes.plot((x, x), bar.interval, color=INK, linewidth=1.5)
        if bar.value is None:
            axes.text(x, 0.02, "×", ha="center")
    axes.axhline(line, color=INK, linewidth=1, linestyle="--", label=line_name)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    axes.set_ylim(0, 1)
    axes.set_xticks(range(len(bars)), [bar.name for bar in bars], rotation=90, size="small")
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], [f"{y} %" for y in range(0, 101, 20)])
    axes.tick_params(axis="x", length=0)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),  # above the axes
        borderaxespad=0.2,
        ncols=5,
        frameon=False,
        handlelength=1,
    )
