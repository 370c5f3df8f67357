"""Draw the chart of published weights: `python examples/draw_zoo.py [images/zoo.svg]`.

Published top-1 over MACs for all weights of the catalogue. Weights are on the front if none with
fewer MACs are better; they are numbered in the chart and named below it. Triangles and `+` stand
for training data other than ImageNet-1k, hollow marks and `!` for licences without commercial use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from matplotlib.axes import Axes

from draw_pictures import write
from rezoo.drawing.canvas import CARD, LINE, MUTED, ORANGE, SKY, SMALL, canvas, fitting, text
from rezoo.sources import catalogue
from rezoo.specs import WeightsSpec

WIDTH, PLOT = 420, 380  # of the picture; height of the plot
LEFT, RIGHT, TOP = 52, 404, 126  # of the plot
LEAST = 0.6  # top-1 of the lowest weights on the chart
LOOKS = [(False, False), (True, False), (False, True), (True, True)]  # more data, non-commercial
ROW = 20  # height of a line of text


def entries() -> list[WeightsSpec]:
    """Return the weights with published top-1 and MACs, those with the fewest MACs first."""
    known = [spec for spec in catalogue.describe() if spec.top1 and spec.macs]
    return sorted(known, key=lambda spec: (spec.macs, -(spec.top1 or 0)))


def front(weights: Sequence[WeightsSpec]) -> list[WeightsSpec]:
    """Return the weights that are better than all with fewer MACs."""
    best: list[WeightsSpec] = []
    for spec in weights:
        if not best or spec.top1 > best[-1].top1:
            best.append(spec)
    return best


def plot_area(axes: Axes, height: float, shown: Sequence[WeightsSpec]) -> Axes:
    """Return axes of top-1 in percent over billions of MACs, on the card of `axes`."""
    place = (LEFT / WIDTH, 1 - (TOP + PLOT) / height, (RIGHT - LEFT) / WIDTH, PLOT / height)
    plot = axes.figure.add_axes(place, facecolor=CARD)
    most, low = max(spec.macs for spec in shown) / 1e9, min(spec.top1 for spec in shown)
    high = max(spec.top1 for spec in shown)
    plot.set(xscale="log", xlim=(min(spec.macs for spec in shown) / 1.5e9, most * 1.3))
    plot.set(ylim=(100 * low - 1, 100 * high + 4))
    ticks = [tick for tick in (0.2, 1, 5, 20, 100) if tick < most * 1.2]
    plot.set_xticks(ticks, [f"{tick} G" for tick in ticks])
    plot.set_xticks([], minor=True)
    percent = [tick for tick in range(60, 100, 4) if tick > 100 * low - 1 and tick < 100 * high + 4]
    plot.set_yticks(percent, [f"{tick} %" for tick in percent])
    plot.tick_params(length=0, labelsize=SMALL, labelcolor=MUTED)
    plot.grid(color=LINE, lw=1)
    plot.spines[:].set_visible(False)
    plot.set_axisbelow(True)
    return plot


def marked_name(spec: WeightsSpec) -> str:
    """Return the name with the marks of `rezoo list --weights`."""
    return spec.name + " +" * bool(spec.extra_data) + " !" * spec.non_commercial


def dots(axes: Axes, specs: Sequence[WeightsSpec], colour: str, size: int) -> None:
    """Draw a dot for each weights: a triangle for more data, hollow for no commercial use."""
    for look in LOOKS:
        some = [s for s in specs if (bool(s.extra_data), s.non_commercial) == look]
        places = [s.macs / 1e9 for s in some], [100 * s.top1 for s in some]
        scatter(axes, *places, colour, size, *look)


def scatter(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    colour: str,
    size: int,
    more_data: bool,
    hollow: bool,
) -> None:
    """Draw dots, or triangles, filled or hollow."""
    look = {"marker": "^" if more_data else "o", "fc": CARD if hollow else colour, "ec": colour}
    axes.scatter(x, y, s=size, lw=1.2 if hollow else 0, zorder=3, **look)


def number_front(plot: Axes, weights: Sequence[WeightsSpec]) -> None:
    """Write numbers above the dots; if dots are close, each above the one before, with a line."""
    last_x = last_y = 0.0
    for number, spec in enumerate(weights, start=1):
        dot = (spec.macs / 1e9, 100 * spec.top1)
        x, y = plot.transData.transform(dot)
        left, height = x - 12, y + 10
        if left - last_x < 19:
            left, height = min(left, last_x + 9), max(height, last_y + 13)
        last_x, last_y = left, height
        leader = {"arrowstyle": "-", "color": ORANGE, "lw": 0.8, "shrinkA": 0, "shrinkB": 4}
        plot.annotate(
            str(number),
            dot,
            (left - x, height - y),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=SMALL,
            color=ORANGE,
            arrowprops={**leader, "relpos": (0.5, 0)} if height - y > 14 else None,
        )


def name_front(axes: Axes, y: float, weights: Sequence[WeightsSpec]) -> None:
    """Write number, name, top-1 and MACs of each weights."""
    for number, spec in enumerate(weights, start=1):
        text(axes, 36, y, str(number), SMALL, ha="right", color=ORANGE, weight="bold")
        name = marked_name(spec)
        text(axes, 46, y, name, fitting(name, 246, SMALL, least=8), ha="left")
        text(axes, 346, y, f"{spec.top1:.1%}", SMALL, ha="right")
        text(axes, 404, y, f"{spec.macs / 1e9:.1f} G", SMALL, ha="right", color=MUTED)
        y += ROW


def draw() -> Axes:
    """Draw the chart."""
    weights = entries()
    shown = [spec for spec in weights if spec.top1 >= LEAST]
    leading = front(shown)
    below = [f"{s.name} ({s.top1:.1%})" for s in weights if s not in shown]
    height = TOP + PLOT + 70 + ROW * (len(leading) + len(below) + bool(below))
    axes = canvas(height)
    text(axes, WIDTH / 2, 30, "accuracy and cost of published weights", 16, weight="bold")
    text(axes, WIDTH / 2, 54, "top-1 on ImageNet-1k as published, MACs for one image", SMALL)
    for x, y, colour, size, look, words in (
        (40, 80, SKY, 30, LOOKS[0], "all weights"),
        (160, 80, ORANGE, 40, LOOKS[0], "better than all with fewer MACs"),
        (40, 102, SKY, 30, LOOKS[1], "+ more training data"),
        (206, 102, SKY, 30, LOOKS[2], "! no commercial use"),
    ):
        scatter(axes, [x], [y], colour, size, *look)
        text(axes, x + 10, y, words, SMALL, ha="left", color=MUTED)
    plot = plot_area(axes, height, shown)
    steps = {"where": "post", "color": ORANGE, "alpha": 0.4, "lw": 1.5}
    for specs, colour, size in ((shown, SKY, 24), (leading, ORANGE, 40)):
        dots(plot, specs, colour, size)
    macs, top1 = [spec.macs / 1e9 for spec in leading], [100 * spec.top1 for spec in leading]
    plot.step(macs, top1, **steps)
    number_front(plot, leading)
    name_front(axes, TOP + PLOT + 48, leading)
    y = TOP + PLOT + 48 + ROW * len(leading)
    for row, words in enumerate([f"below {LEAST:.0%} and not shown:", *below] if below else []):
        text(axes, 46, y + ROW * row, words, SMALL, ha="left", color=MUTED)
    return axes


def main(path: str = "images/zoo.svg") -> None:
    """Write the chart as SVG."""
    write(draw, path, "top-1 and multiply-adds of published weights")


if __name__ == "__main__":
    main(*sys.argv[1:])
