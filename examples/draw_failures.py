"""Draw the simulated failures of a pod: `python examples/draw_failures.py [images/failures.svg]`.

The share of time lost over the time between two saves, for pods of several sizes, with nodes that
seldom fail and with nodes that may be taken away. `simulate_failures.py` has the simulation.
"""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.axes import Axes

import simulate_failures as pod
from draw_pictures import write
from rezoo.drawing.canvas import BLUE, CARD, GREEN, INK, LINE, MUTED, ORANGE, SMALL, canvas, text

WIDTH, HEIGHT = 420, 700
LEFT, PLOT_WIDTH, PLOT_HEIGHT = 54, 346, 200
COLOURS = dict(zip(pod.NODES, (GREEN, BLUE, ORANGE), strict=True))
TICKS = {10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 6 * 3600: "6 h"}
MOST = 0.4  # of the time, on the axis


def plot_area(axes: Axes, top: float) -> Axes:
    """Return axes of the time lost over the interval, on the card of `axes`."""
    bottom = 1 - (top + PLOT_HEIGHT) / HEIGHT
    place = (LEFT / WIDTH, bottom, PLOT_WIDTH / WIDTH, PLOT_HEIGHT / HEIGHT)
    plot = axes.figure.add_axes(place, facecolor=CARD)
    plot.set(xscale="log", xlim=(10, 8 * 3600), ylim=(0, MOST))
    plot.set_xticks(list(TICKS), list(TICKS.values()))
    plot.set_xticks([], minor=True)
    shares = np.arange(0, MOST + 0.01, 0.1)
    plot.set_yticks(shares, [f"{share:.0%}" for share in shares])
    plot.tick_params(length=0, labelsize=SMALL, labelcolor=MUTED)
    plot.tick_params("x", pad=9)
    plot.grid(color=LINE, lw=1)
    plot.spines[:].set_visible(False)
    return plot


def curves(plot: Axes, days: float, lives: np.ndarray) -> None:
    """Draw a curve for each size of a pod, and a dot at the interval of Daly's rule."""
    intervals = np.geomspace(10, 8 * 3600, 80)
    plot.axvline(pod.DEFAULT_S, color=MUTED, lw=1.2, ls=(0, (4, 3)))
    for nodes, colour in COLOURS.items():
        mtbf = days * pod.DAY_S / nodes
        rule = pod.daly(mtbf, pod.SAVE_S)
        found = [pod.lost(lives, mtbf, t, pod.SAVE_S, pod.RESTART_S) for t in (rule, *intervals)]
        plot.plot(intervals, found[1:], color=colour, lw=2.2)
        plot.plot(rule, found[0], "o", color=colour, ms=8, mec=CARD, mew=1.5, zorder=4)


def draw() -> Axes:
    """Draw the picture."""
    lives, axes = pod.lifetimes()[:50_000], canvas(HEIGHT)
    text(axes, WIDTH / 2, 30, "time lost to failures, saving and restarts", 16, weight="bold")
    for number, (nodes, colour) in enumerate(COLOURS.items()):
        x = 26 + 128 * number
        axes.plot([x, x + 22], [60, 60], color=colour, lw=2.2)
        text(axes, x + 29, 60, f"{nodes} node{'s'[: nodes > 1]}", SMALL, ha="left", color=MUTED)
    axes.plot(37, 82, "o", color=INK, ms=8, mec=CARD)
    text(axes, 55, 82, "Daly's rule", SMALL, ha="left", color=MUTED)
    axes.plot([154, 176], [82, 82], color=MUTED, lw=1.2, ls=(0, (4, 3)))
    text(axes, 183, 82, "rezoo's default", SMALL, ha="left", color=MUTED)
    kinds = {pod.STEADY: "a node fails", pod.PREEMPTIBLE: "a node is lost"}
    for top, (days, words) in zip((136, 406), kinds.items(), strict=True):
        often = "once a day" if days == 1 else f"every {days:.0f} days"
        text(axes, LEFT + PLOT_WIDTH / 2, top - 14, f"{words} {often}", 14)
        curves(plot_area(axes, top), days, lives)
    text(axes, WIDTH / 2, 648, "time between two saves", color=MUTED)
    assumed = f"assumed: a save takes {pod.SAVE_S:g} s, a restart {pod.RESTART_S / 60:g} min"
    text(axes, WIDTH / 2, 674, assumed, SMALL, color=MUTED)
    return axes


def main(path: str = "images/failures.svg") -> None:
    """Write the picture as SVG."""
    write(draw, path, "time lost to failures over the time between two saves")


if __name__ == "__main__":
    main(*sys.argv[1:])
