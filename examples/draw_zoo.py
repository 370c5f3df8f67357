"""Draw the chart of published weights: `python examples/draw_zoo.py [images/zoo.svg]`.

Published top-1 over MACs for all weights of the catalogue. Weights are on the front if none with
fewer MACs are better; their labels are to the left, above the front, where there are no dots.
"""

from __future__ import annotations

import sys

from matplotlib.axes import Axes

from draw_pictures import BLUE, CARD, INK, LINE, MUTED, ORANGE, STYLE, canvas, text, write
from rezoo.sources import catalogue
from rezoo.specs import WeightsSpec

WIDTH, HEIGHT = 760, 760
LEFT, RIGHT, TOP, BOTTOM = 62, 742, 112, 686  # the plot
LEAST = 0.6  # top-1 of the lowest weights on the chart
LINE_HEIGHT = 15  # of labels
# places of labels relative to their dots, in points: to the right, above, and the alignment
PLACES = {
    "resnet10t": (4, -15, "left"),
    "resnet14t": (7, -11, "left"),
    "resnet18": (0, 11, "center"),
    "resnet26d": (0, -15, "center"),
    "resnet26t": (9, -9, "left"),
    "resnet34": (-5, 11, "right"),
    "resnet50c": (-8, -2, "right"),
    "resnet50s": (-7, 6, "right"),
    "resnet101s": (0, 11, "center"),
    "wide_resnet50_2": (2, -15, "center"),
    "wide_resnet101_2": (16, 9, "center"),
}


def entries() -> list[WeightsSpec]:
    """Return the weights with published top-1 and MACs, those with the fewest MACs first."""
    known = [spec for spec in catalogue.describe() if spec.top1 and spec.macs]
    return sorted(known, key=lambda spec: (spec.macs, -(spec.top1 or 0)))


def front(weights: list[WeightsSpec]) -> list[WeightsSpec]:
    """Return the weights that are better than all with fewer MACs."""
    best: list[WeightsSpec] = []
    for spec in weights:
        if not best or spec.top1 > best[-1].top1:
            best.append(spec)
    return best


def plot_area(axes: Axes) -> Axes:
    """Return axes of top-1 in percent over billions of MACs, on the card of `axes`."""
    place = (LEFT / WIDTH, 1 - BOTTOM / HEIGHT, (RIGHT - LEFT) / WIDTH, (BOTTOM - TOP) / HEIGHT)
    plot = axes.figure.add_axes(place, facecolor=CARD)
    ticks = (1, 2, 5, 10, 20)
    plot.set(xscale="log", xlim=(0.95, 38), ylim=(67, 87.4))
    plot.set_xticks(ticks, [f"{tick} G" for tick in ticks])
    plot.set_xticks([], minor=True)
    plot.set_yticks(range(68, 87, 2), [f"{tick} %" for tick in range(68, 87, 2)])
    plot.tick_params(length=0, labelsize=13, labelcolor=MUTED)
    plot.grid(color=LINE, lw=1)
    plot.spines[:].set_visible(False)
    plot.set_axisbelow(True)
    return plot


def label(plot: Axes, spec: WeightsSpec, words: str, colour: str) -> None:
    """Write a label at its place; by default, to the right of the dot."""
    x, y, side = PLACES.get(spec.architecture, (8, -1, "left"))
    plot.annotate(
        words,
        (spec.macs / 1e9, 100 * spec.top1),
        (x, y),
        textcoords="offset points",
        ha=side,
        va="center_baseline",
        fontsize=13,
        color=colour,
    )


def label_front(plot: Axes, weights: list[WeightsSpec]) -> None:
    """Write labels to the left of the dots, each at least a line above the one before."""
    low, high = plot.get_ylim()
    line = LINE_HEIGHT * (high - low) / (BOTTOM - TOP)
    height = low
    for spec in weights:
        if spec.architecture in PLACES:
            label(plot, spec, spec.name, ORANGE)
            continue
        top1 = 100 * spec.top1
        height = max(top1, height + line)
        offset = (height - top1) / line * LINE_HEIGHT
        leader = {"arrowstyle": "-", "color": ORANGE, "lw": 0.7, "shrinkA": 0, "shrinkB": 4}
        leader["relpos"] = (1, 0)
        plot.annotate(
            spec.name,
            (spec.macs / 1e9, top1),
            (-14 - offset / 2, offset),
            textcoords="offset points",
            ha="right",
            va="center_baseline",
            fontsize=13,
            color=ORANGE,
            arrowprops=leader if offset > 5 else None,
        )


def draw() -> Axes:
    """Draw the chart."""
    weights = entries()
    shown = [spec for spec in weights if spec.top1 >= LEAST]
    leading = front(shown)
    by_top1 = sorted(shown, key=lambda spec: spec.top1)
    best = {spec.architecture: spec for spec in by_top1}.values()
    axes = canvas(WIDTH, HEIGHT)
    text(axes, WIDTH / 2, 34, "accuracy and cost of published weights", 17, weight="bold")
    line = "top-1 on ImageNet-1k as published, at the image size of the evaluation"
    text(axes, WIDTH / 2, 60, line, color=MUTED)
    plot = plot_area(axes)
    plot.step(
        [spec.macs / 1e9 for spec in leading],
        [100 * spec.top1 for spec in leading],
        where="post",
        color=ORANGE,
        alpha=0.4,
        lw=1.5,
    )
    kinds = (
        (shown, "#b9c8ea", 14, "all weights"),
        (best, BLUE, 40, "the best of an architecture"),
        (leading, ORANGE, 40, "better than all with fewer MACs"),
    )
    for number, (specs, colour, size, words) in enumerate(kinds):
        macs, top1 = [spec.macs / 1e9 for spec in specs], [100 * spec.top1 for spec in specs]
        plot.scatter(macs, top1, s=size, c=colour, lw=0, zorder=3 + number)
        x = (70, 196, 426)[number]
        axes.scatter(x, 88, s=size, c=colour, lw=0)
        text(axes, x + 10, 88, words, 13, ha="left", color=MUTED)
    label_front(plot, leading)
    for spec in best:
        if spec not in leading:
            label(plot, spec, spec.architecture, INK)
    text(
        axes, WIDTH / 2, 722, "MACs for one image; 1 MAC = one multiply-add = 2 FLOPs", color=MUTED
    )
    rest = ", ".join(f"{s.name} ({s.top1:.1%})" for s in weights if s not in shown)
    if rest:
        text(axes, WIDTH / 2, 743, f"below {LEAST:.0%} and not shown: {rest}", 12, color=MUTED)
    return axes


def main(path: str = "images/zoo.svg") -> None:
    """Write the chart as SVG."""
    write(draw, path, {**STYLE, "font.family": "sans-serif"})


if __name__ == "__main__":
    main(*sys.argv[1:])
