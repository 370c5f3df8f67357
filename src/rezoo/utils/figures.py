"""Charts as SVG, drawn with matplotlib, readable on light and on dark pages.

Titles, ticks and axes have the colour of the text around them (`currentColor`). The same chart
gives the same bytes, whatever the user's settings of matplotlib are.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeGuard

from rezoo.utils.pages import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 440, 236  # of a chart of lines, in pixels
_TITLE = 40  # height of the title above a sheet of charts, in pixels
_DPI = 72  # an SVG of matplotlib has 72 units per inch
COLOURS = ("#4472d6", "#d1601c", "#2b8a57", "#a05cb8")  # contrast above 3:1 on white and on black
INK = "#010203"  # of text and axes; becomes currentColor
_LOG_FROM = 1000.0  # ratio of the largest to the smallest value
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "rezoo",
    "font.sans-serif": ["DejaVu Sans"],  # that text is laid out for, else the reader's
    "font.size": 11,
    "text.parse_math": False,
    "axes.titley": 1.0,  # fixed: finding it takes a fifth of the time
    "axes.unicode_minus": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.titlecolor", "axes.labelcolor", "grid.color"), INK
    ),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        points: `(x, y)`, in ascending order of x.
        name: For the legend; empty if the line has no entry there.
        ranges: `(low, high)` of each point, drawn as vertical bars; empty for none.
        plain: Whether it is a thin grey line to compare with.
    """

    points: tuple[Point, ...]
    name: str = ""
    ranges: tuple[Point, ...] = ()
    plain: bool = False


@dataclass(frozen=True)
class Chart:
    """Up to four lines over a common pair of axes.

    Attributes:
        title: Quantity on the y axis, with its unit.
        lines: The lines.
        x_title: Quantity on the x axis.
        percent: Whether the values are fractions and ticks are shown in percent.
        x_percent: Whether those on the x axis are, too; that axis is then from 0 to 1.
        may_be_log: Whether the y axis is logarithmic if all values are positive and the largest
            is at least 1000 times the smallest. Otherwise it starts at 0.
    """

    title: str
    lines: tuple[Line, ...]
    x_title: str = "epoch"
    percent: bool = False
    x_percent: bool = False
    may_be_log: bool = False


def points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> tuple[Point, ...]:
    """Return `(row[x], row[y])` of the rows in which both are finite numbers."""
    pairs = [(row.get(x), row.get(y)) for row in rows]
    return tuple((float(a), float(b)) for a, b in pairs if _is_number(a) and _is_number(b))


@lru_cache(maxsize=16)
def draw(chart: Chart) -> str:
    """Return a chart as an `<svg>` element without a size; its viewBox is `WIDTH` x `HEIGHT`."""
    with settings():
        figure = new_figure(WIDTH, HEIGHT)
        _draw_axes(figure.add_axes((0.13, 0.19, 0.80 if chart.x_percent else 0.84, 0.67)), chart)
        return as_svg(figure, sized=False)


@contextmanager
def settings() -> Iterator[None]:
    """Set matplotlib to the settings of charts within the block, whatever the user's are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of matplotlib, transparent; its sides are in pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_visible(False)
    return figure


def as_svg(figure: Figure, *, sized: bool = True) -> str:
    """Return a figure as an `<svg>` element whose texts and axes have the page's colour of text.

    Without a size, it has that of the element around it.
    """
    file = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts have what matplotlib's lack
        figure.savefig(file, format="svg", metadata=no_metadata)
    svg = re.sub(r'<g id="[^"]*">', "<g>", file.getvalue())
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    own = rf"\g<0>{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"  # a page has several figures
    svg = re.sub("<[^>]*>", lambda tag: re.sub(r'id="|href="#|url\(#', own, tag[0]), svg)
    return svg if sized else re.sub(r'width="[^"]*" height="[^"]*"', "", svg, count=1)


def finish(axes: Axes, chart: Any, *, columns: int, pad: float | None = None) -> None:
    """Write the titles of a chart and its legend; leave out all of the frame but two axes.

    Args:
        axes: With everything that is drawn.
        chart: Has `title` and `x_title`.
        columns: Of the legend, at most.
        pad: Of the title above the axes; None for the usual one.
    """
    axes.set_title(chart.title, loc="left", size="medium", weight="bold", pad=pad)
    axes.set_xlabel(chart.x_title)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),  # above the axes
            borderaxespad=0.2,
            ncols=columns,
            frameon=False,
            handlelength=1,
        )


def sheet(title: str, charts: Sequence[Chart], *, columns: int = 2) -> str:
    """Return an SVG file with the charts in rows of `columns` below a title."""
    return stack(title, [draw(chart) for chart in charts], columns=columns)


def stack(title: str, elements: Sequence[str], *, columns: int = 1, width: int = WIDTH) -> str:
    """Return an SVG file with `<svg>` elements of `width` x `HEIGHT` in rows below a title."""
    places = [
        (8 + number % columns * width, _TITLE + number // columns * HEIGHT)
        for number in range(len(elements))
    ]
    placed = [
        element.replace("<svg", f'<svg x="{x}" y="{y}" width="{width}" height="{HEIGHT}"', 1)
        for element, (x, y) in zip(elements, places, strict=True)
    ]
    whole = {"width": columns * width + 16}
    whole["height"] = _TITLE + math.ceil(len(elements) / columns) * HEIGHT
    return render("sheet.svg", title=title, charts=placed, **whole)


def _draw_axes(axes: Axes, chart: Chart) -> None:
    for line, colour in zip(chart.lines, COLOURS, strict=False):
        if line.points:
            x, y = zip(*line.points, strict=True)
            if line.plain:
                axes.plot(x, y, color=INK, alpha=0.45, linewidth=1, linestyle=(0, (4, 3)))
                continue
            axes.plot(x, y, color=colour, label=line.name, clip_on=False)
            marked = slice(None) if line.ranges else slice(-1, None)
            axes.plot(x[marked], y[marked], "o", color=colour, markersize=4, clip_on=False)
            for place, (low, high) in zip(x, line.ranges, strict=False):
                axes.plot((place, place), (low, high), color=colour, alpha=0.45, clip_on=False)
    _scale(axes, chart)
    axes.grid(axis="y", alpha=0.15)
    finish(axes, chart, columns=4)


def _scale(axes: Axes, chart: Chart) -> None:
    """Set limits and ticks; see `Chart`."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    values = [y for line in chart.lines for _, y in line.points] or [0.0, 1.0]
    values += [end for line in chart.lines for pair in line.ranges for end in pair]
    low, high = min(values), max(values)
    if chart.x_percent:
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if chart.may_be_log and low > 0 and high / low >= _LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        locator = MaxNLocator(5, steps=[1, 2, 5, 10])
        ticks = locator.tick_values(min(low, 0.0), max(high, 0.0))
        axes.set_ylim(ticks[0], ticks[-1])
        axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{100 * value:.4g} %" if chart.percent else f"{value:.4g}"
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)
