"""The zoo on one chart: published top-1 of the catalogue over multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from rezoo import registry
from rezoo.benchmarking.drawing import LETTER, LINE, Disc, Line, Shape, Words, to_png, to_svg
from rezoo.errors import SpecError, writing
from rezoo.models import counts
from rezoo.sources import catalogue

WIDTH, HEIGHT = 1000, 760
ENDINGS = (".png", ".svg")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 976, 78, 686  # the frame
_LEAST = 0.6  # top-1 from which a network is drawn: a tiny one would press the others together
_INK, _MUTED, _GRID, _PALE = "#1a2233", "#4a556b", "#e4e8f0", "#b9c8ea"
_BEST, _FRONT = "#2f5ec4", "#d1601c"
_STEPS = (1, 2, 5)  # of the logarithmic axis
_ROUND = [(math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in range(16)]
_AWAY = (10, 16, 26, 38, 52, 70)  # pixels from a disc to its name
_NEAR = 11  # within so many pixels no line leads to it
_SWEEPS = 4

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Published weights on the chart.

    Attributes:
        name: `arch.tag`.
        architecture: The network.
        macs: Multiply-adds for one image of the size that top-1 was measured at.
        top1: Published, 0 to 1, on ImageNet-1k's validation images.
        image_size: Height and width in pixels.
    """

    name: str
    architecture: str
    macs: int
    top1: float
    image_size: int


def entries() -> list[Entry]:
    """Return the catalogue's weights whose accuracy and cost are known, the cheapest first."""
    known, found = set(registry.architectures.names()), []
    for spec in catalogue.describe():
        if spec.top1 is None or spec.architecture not in known:
            continue
        height, width = spec.preprocessing.for_test().size
        macs = counts.macs(spec.architecture, image_size=height, num_classes=spec.num_classes)
        if macs is not None and height == width:
            found.append(
                Entry(
                    name=spec.name,
                    architecture=spec.architecture,
                    macs=macs,
                    top1=spec.top1,
                    image_size=height,
                )
            )
    return sorted(found, key=lambda entry: (entry.macs, -entry.top1, entry.name))


def front(content: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are better than everything that costs no more."""
    best: list[Entry] = []
    for entry in sorted(content, key=lambda e: (e.macs, -e.top1)):
        if not best or entry.top1 > best[-1].top1:
            best.append(entry)
    return best


def write_chart(path: Path) -> None:
    """Draw the zoo into a file, by its ending a PNG or an SVG.

    Raises:
        SpecError: Another ending.
        ResourceError: The file cannot be written.
    """
    check_ending(path)
    shapes = draw(entries())
    svg = path.suffix.lower() == ".svg"
    picture = to_svg(WIDTH, HEIGHT, shapes).encode() if svg else to_png(WIDTH, HEIGHT, shapes)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def check_ending(path: Path) -> None:
    """Raise `SpecError` where a chart's file has another ending than `.png` or `.svg`."""
    if path.suffix.lower() not in ENDINGS:
        raise SpecError(f"--chart {path}: the file must end in {' or '.join(ENDINGS)}")


def draw(content: Sequence[Entry]) -> list[Shape]:
    """Return the shapes of the chart."""
    shown = [entry for entry in content if entry.top1 >= _LEAST]
    if not shown:
        raise SpecError("the catalogue has no weights with a published top-1 to draw")
    frame = _Frame.around(shown)
    best = {e.architecture: e for e in sorted(shown, key=_by_top1, reverse=True)}
    leading = front(shown)
    shapes = [*_head(content, shown), *frame.grid()]
    steps = [frame.at(leading[0])]
    for entry in leading[1:]:
        x, y = frame.at(entry)
        steps += [(x, steps[-1][1]), (x, y)]
    shapes.append(Line(points=tuple(steps), colour="#f0c3a3", width=1.5))
    named = [*leading, *sorted((e for e in best.values() if e not in leading), key=_by_top1)]
    for entry in sorted(shown, key=lambda e: (e in leading, e in named)):
        x, y = frame.at(entry)
        colour = _FRONT if entry in leading else _BEST if entry in named else _PALE
        title = (
            f"{entry.name}: {entry.top1:.2%}, {entry.macs / 1e9:.2f} GMACs, {entry.image_size} px"
        )
        radius = 3.0 if colour == _PALE else 4.5
        shapes.append(Disc(x=x, y=y, radius=radius, colour=colour, title=title))
    names = [(e.name if e in leading else e.architecture, frame.at(e), e in leading) for e in named]
    return [*shapes, *_names(names, [frame.at(entry) for entry in shown], steps)]


def _by_top1(entry: Entry) -> float:
    return -entry.top1


@dataclass(frozen=True)
class _Frame:
    low: float  # of MACs
    high: float
    floor: float  # of top-1
    ceiling: float

    @classmethod
    def around(cls, content: Sequence[Entry]) -> _Frame:
        macs, top1 = [e.macs for e in content], [e.top1 for e in content]
        floor = math.floor(50 * min(top1) - 0.3) / 50
        ceiling = math.ceil(50 * max(top1) + 0.3) / 50
        return cls(min(macs) / 1.25, max(macs) * 1.35, floor, ceiling)

    def at(self, entry: Entry) -> tuple[float, float]:
        return self.place(entry.macs, entry.top1)

    def place(self, macs: float, top1: float) -> tuple[float, float]:
        across = math.log(macs / self.low) / math.log(self.high / self.low)
        up = (top1 - self.floor) / (self.ceiling - self.floor)
        return _LEFT + (_RIGHT - _LEFT) * across, _BOTTOM - (_BOTTOM - _TOP) * up

    def grid(self) -> Iterator[Shape]:
        for number in range(round(50 * self.floor), round(50 * self.ceiling) + 1):
            _, y = self.place(self.low, number / 50)
            yield Line(points=((_LEFT, y), (_RIGHT, y)), colour=_GRID)
            yield Words(x=_LEFT - 8, y=y, text=f"{2 * number} %", colour=_MUTED, anchor="end")
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        for power, step in product(decades, _STEPS):
            macs = step * 10.0**power
            if self.low <= macs <= self.high:
                x, _ = self.place(macs, self.floor)
                yield Line(points=((x, _TOP), (x, _BOTTOM)), colour=_GRID)
                text = f"{macs / 1e9:g} G"
                yield Words(x=x, y=_BOTTOM + 14, text=text, colour=_MUTED, anchor="middle")


def _head(content: Sequence[Entry], shown: Sequence[Entry]) -> Iterator[Shape]:
    yield Words(
        x=_LEFT, y=22, text="Accuracy against cost: published weights", colour=_INK, large=True
    )
    yield Words(
        x=_LEFT,
        y=44,
        text="top-1 on ImageNet-1k as published, at the size that it was measured at",
        colour=_MUTED,
    )
    x = _LEFT
    for colour, text in (
        (_FRONT, "nothing that costs less is better"),
        (_BEST, "best of its architecture"),
        (_PALE, "others"),
    ):
        yield Disc(x=x + 4, y=62, radius=3.0 if colour == _PALE else 4.5, colour=colour)
        yield Words(x=x + 14, y=62, text=text, colour=_MUTED)
        x += round(LETTER * len(text)) + 34
    middle, left_out = (_LEFT + _RIGHT) / 2, [e for e in content if e not in shown]
    axis = "MACs for one image, logarithmic; 1 MAC is a multiply-add and 2 FLOPs"
    yield Words(x=middle, y=_BOTTOM + 36, text=axis, colour=_MUTED, anchor="middle")
    if left_out:
        figures = ", ".join(f"{e.name} ({e.macs / 1e9:.2g} G, {e.top1:.1%})" for e in left_out)
        text = f"not drawn, below {_LEAST:.0%}: {figures}"
        yield Words(x=middle, y=_BOTTOM + 56, text=text, colour=_MUTED, anchor="middle")


def _names(
    named: Sequence[tuple[str, Point, bool]], places: Sequence[Point], steps: Sequence[Point]
) -> Iterator[Shape]:
    """Write names beside their discs, where they cover neither each other nor a disc."""
    taken: list[Box] = [_around(place, 6) for place in places]
    for (ax, ay), (bx, by) in pairwise(steps):
        taken.append((min(ax, bx) - 1, min(ay, by) - 1, max(ax, bx) + 1, max(ay, by) + 1))
    found: dict[str, Box] = {}
    for _ in range(_SWEEPS):  # each name again, now that the others have their places
        for text, place, _ in named:
            width = LETTER * len(text)
            there = [
                b for n, p, _ in named if n in found and n != text for b in _covered(p, found[n])
            ]
            region = _around(place, _AWAY[-1] + width)
            near = [box for box in (*taken, *there) if _overlap(region, box)]
            found[text] = min(_candidates(place, width), key=lambda box: _cost(place, box, near))
    for text, place, _ in named:
        end = _leader(place, found[text])[-1]
        if math.dist(place, end) > _NEAR:
            yield Line(points=(place, end), colour="#7f8ba3", width=0.8)
    for text, _, leading in named:
        left, top, right, bottom = found[text]
        colour = _FRONT if leading else _INK
        middle = (left + right) / 2
        yield Words(x=middle, y=(top + bottom) / 2, text=text, colour=colour, anchor="middle")


def _covered(place: Point, box: Box) -> list[Box]:
    """Return what a name and the line to it take."""
    leader = _leader(place, box)
    line = leader if math.dist(place, leader[-1]) > _NEAR else []
    return [box, *(_around(point, 1) for point in line)]


def _candidates(place: Point, width: float) -> Iterator[Box]:
    """Yield boxes around a disc, at growing distances."""
    for away, (across, down) in product(_AWAY, _ROUND):
        x = place[0] + across * (away + width / 2)
        y = place[1] + down * (away + LINE / 2)
        box = (x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2)
        if box[0] > _LEFT and box[2] < _RIGHT and box[1] > _TOP and box[3] < _BOTTOM:
            yield box


def _around(place: Point, reach: float) -> Box:
    x, y = place
    return (x - reach, y - reach, x + reach, y + reach)


def _leader(place: Point, box: Box) -> list[Point]:
    """Return points on the way from a disc to the nearest place of a box, the last one there."""
    x, y = place
    to_x, to_y = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    count = max(1, round(math.dist(place, (to_x, to_y)) / 8))
    steps = [k / count for k in range(1, count + 1)]
    return [(x + (to_x - x) * k, y + (to_y - y) * k) for k in steps]


def _cost(place: Point, box: Box, taken: Sequence[Box]) -> float:
    leader = _leader(place, box)
    hull = _hull(place, box)
    near = [other for other in taken if _overlap(hull, other)]
    crossing = sum(_overlap(_around(point, 1), other) for point in leader for other in near)
    covering = sum(_overlap(box, other) for other in near)
    return math.dist(place, leader[-1]) + 10 * covering + 4 * crossing


def _hull(place: Point, box: Box) -> Box:
    x, y = place
    return (min(x, box[0]), min(y, box[1]), max(x, box[2]), max(y, box[3]))


def _overlap(box: Box, other: Box) -> float:
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    return wide * high + 40 if wide > 0 and high > 0 else 0.0
