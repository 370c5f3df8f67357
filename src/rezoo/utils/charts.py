"""Line charts as SVG: they stand in a page or alone, run no script and need no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeGuard

WIDTH, HEIGHT = 440, 236  # of a chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 428, 34, 192  # the frame in it
_HEAD = 40  # pixels above the charts of a sheet
_COLOURS = ("#2f5ec4", "#d1601c", "#2b8a57", "#8a3fa0")
_WIDE = 1000.0  # largest through smallest value from which an axis is logarithmic
_TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="#4a556b"'

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        points: `(x, y)`, from left to right.
        name: For the legend; empty where the line is alone.
    """

    points: tuple[Point, ...]
    name: str = ""


@dataclass(frozen=True)
class Chart:
    """Lines over one pair of axes.

    Attributes:
        title: What the y axis shows, with its unit.
        lines: Up to four.
        x_title: What the x axis shows.
        percent: The values are fractions, and ticks are in percent.
        may_be_log: The y axis is logarithmic where the values are above 0 and the largest is a
            thousand times the smallest; else it begins at 0.
    """

    title: str
    lines: tuple[Line, ...]
    x_title: str = "epoch"
    percent: bool = False
    may_be_log: bool = False


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value stands, 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return (value - low) / (high - low) if high > low else 0.5


def points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> tuple[Point, ...]:
    """Return `(row[x], row[y])` of the rows that have finite numbers there."""
    places = [tuple(row.get(key) for key in (x, y)) for row in rows]
    return tuple((float(a), float(b)) for a, b in places if _is_number(a) and _is_number(b))


def chart(content: Chart, *, x: int = 0, y: int = 0) -> str:
    """Draw a chart as an `<svg>` element of `WIDTH` by `HEIGHT` pixels, at a place of another."""
    values = [point for line in content.lines for point in line.points]
    across = _x_axis([a for a, _ in values])
    up = _y_axis([b for _, b in values], content.may_be_log)

    def at(point: Point) -> tuple[float, float]:
        return (
            _LEFT + (_RIGHT - _LEFT) * across.place(point[0]),
            _BOTTOM - (_BOTTOM - _TOP) * up.place(point[1]),
        )

    parts = [*_grid(across, up, at, percent=content.percent)]
    for line, colour in zip(content.lines, _COLOURS, strict=False):
        parts += _line([at(point) for point in line.points], colour)
    return (
        f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(content.title)}" {_TEXT}>'
        f'<text x="{_LEFT}" y="18" style="font-weight:600">{escape(content.title)}</text>'
        f"{''.join(parts)}{''.join(_legend(content.lines))}"
        f'<text x="{(_LEFT + _RIGHT) / 2:g}" y="{_BOTTOM + 36}" text-anchor="middle">'
        f"{escape(content.x_title)}</text></svg>"
    )


def sheet(title: str, charts: Sequence[Chart], *, across: int = 2) -> str:
    """Draw charts below a title as an SVG file, so many in a row."""
    rows = math.ceil(len(charts) / across)
    width, height = across * WIDTH + 16, _HEAD + rows * HEIGHT
    drawn = "\n".join(
        chart(content, x=8 + number % across * WIDTH, y=_HEAD + number // across * HEIGHT)
        for number, content in enumerate(charts)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" {_TEXT}>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{8 + _LEFT}" y="26" style="font-size:16px;font-weight:600;fill:#1a2233">'
        f"{escape(title)}</text>\n{drawn}\n</svg>\n"
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _x_axis(values: Sequence[float]) -> _Axis:
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = _nice((high - low) / 6) if high > low else 1.0
    if all(float(value).is_integer() for value in values):
        step = max(1.0, step)
    return _Axis(low, high, tuple(_multiples(low, high, step)))


def _y_axis(values: Sequence[float], may_be_log: bool) -> _Axis:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if may_be_log and low > 0 and high / low >= _WIDE:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = math.ceil((last - first) / 6)
        decades = range(first, last + 1, every)
        return _Axis(10.0**first, 10.0**last, tuple(10.0**n for n in decades), log=True)
    low, high = min(low, 0.0), max(high, 0.0)
    step = _nice((high - low) / 5) if high > low else 1.0
    low, high = math.floor(low / step) * step, max(math.ceil(high / step - 1e-9), 1) * step
    return _Axis(low, high, tuple(_multiples(low, high, step)))


def _nice(step: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1.0, 2.0, 5.0, 10.0) if n * power >= step * (1 - 1e-9))


def _multiples(low: float, high: float, step: float) -> Iterator[float]:
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield number * step


def _grid(
    across: _Axis, up: _Axis, at: Callable[[Point], tuple[float, float]], *, percent: bool
) -> Iterator[str]:
    for value in up.ticks:
        _, y = at((across.low, value))
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#e4e8f0"/>'
        shown = f"{value * 100:.4g} %" if percent else f"{value:.4g}"
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
    for value in across.ticks:
        x, _ = at((value, up.low))
        yield f'<path d="M{x:.1f} {_BOTTOM}v4" stroke="#9aa5ba"/>'
        yield f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{value:g}</text>'
    yield f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="#9aa5ba"/>'


def _line(places: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
    if not places:
        return
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    x, y = places[-1]
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    named = [(line, colour) for line, colour in zip(lines, _COLOURS, strict=False) if line.name]
    for number, (line, colour) in enumerate(named):
        right = _RIGHT - 56 * (len(named) - 1 - number)
        style = f'style="fill:{colour};font-weight:600"'
        yield f'<text x="{right}" y="18" text-anchor="end" {style}>{escape(line.name)}</text>'
