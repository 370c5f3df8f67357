"""The pictures of shortcuts for `draw_pictures.py`: options A, B and C, and unrolled paths.

What a shortcut does to pixels and channels is measured on the layers themselves: each value of a
small input is changed, and the values of the output that change with it are those that read it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes

from rezoo.drawing.canvas import (
    BLUE,
    CARD,
    EMPTY,
    INK,
    LINE,
    MUTED,
    SMALL,
    STAGES,
    TIMES,
    arrow,
    bar,
    box,
    canvas,
    curve,
    text,
)
from rezoo.drawing.outline import Outline
from rezoo.models import shortcuts

CELL, SHIFT = 14, 8  # sides of a pixel, and the shift from one channel to the next
CHANNELS = (BLUE, STAGES[1])  # colours of the channels of the input
MIXED = STAGES[5]  # colour of a channel made of several
Reads = np.ndarray  # bool (height, width, channels, height', width', channels')


def reads(shortcut: Callable[..., Any], side: int, filters: int, stride: int) -> Reads:
    """Return which values of its input each value of a shortcut's output depends on."""
    pixels = keras.Input((side, side, len(CHANNELS)))
    network = keras.Model(pixels, shortcut(pixels, filters, stride=stride, name="block"))
    zeros = np.zeros((1, side, side, len(CHANNELS)), np.float32)
    at_rest = np.asarray(network(zeros))
    found = np.zeros((*zeros.shape[1:], *at_rest.shape[1:]), bool)
    for place in np.ndindex(*zeros.shape[1:]):
        changed = zeros.copy()
        changed[(0, *place)] = 1
        found[place] = (np.asarray(network(changed)) != at_rest)[0]
    return found


def sheet(axes: Axes, x: float, y: float, colours: np.ndarray, cell: float = CELL) -> None:
    """Draw a channel: `(height, width)` colours of pixels, with the upper left corner at x, y."""
    for row, column in np.ndindex(*colours.shape):
        place = (x + cell * column, y + cell * row, cell - 1, cell - 1)
        fill = colours[row, column]
        bar(axes, place, fill, lw=0.8, ec=LINE if fill == EMPTY else fill)


def sheets(axes: Axes, x: float, y: float, colours: np.ndarray) -> None:
    """Draw channels one behind the other: `(height, width, channels)` colours."""
    side = CELL * colours.shape[0]
    for channel in reversed(range(colours.shape[2])):
        shift = SHIFT * channel
        place = (x + shift - 2, y - shift - 2, side + 3, side + 3)
        bar(axes, place, CARD, ec=MUTED, lw=0.8)
        sheet(axes, x + shift, y - shift, colours[..., channel])


def colours_before(found: Reads) -> np.ndarray:
    """Return the colours of the input: those of its channels where the output reads a pixel."""
    return np.where(found.any(axis=(3, 4, 5)), np.array(CHANNELS), EMPTY)


def colours_after(found: Reads) -> np.ndarray:
    """Return the colours of the output: of the channel it is made of, of a mixture, or of none."""
    read = found.any(axis=(0, 1))  # (channels, height', width', channels')
    one = np.array(CHANNELS)[read.argmax(axis=0)]
    return np.where(read.sum(axis=0) > 1, MIXED, np.where(read.any(axis=0), one, EMPTY))


def mapping(axes: Axes, x: float, middle: float, found: Reads) -> float:
    """Draw the input of a shortcut, an arrow and its output; return where they end."""
    for number, colours in enumerate((colours_before(found), colours_after(found))):
        if number:
            arrow(axes, (x, middle), (x + 30, middle))
            x += 42
        side, more = CELL * colours.shape[0], SHIFT * (colours.shape[2] - 1)
        sheets(axes, x, middle - (side - more) / 2, colours)
        x += side + more + 12
    return x


def option(axes: Axes, y: float, words: tuple[str, str, str], shortcut: Callable[..., Any]) -> None:
    """Draw an option: its name, what it does where the shape changes, and where it stays."""
    name, cost, elsewhere = words
    axes.plot([16, 404], [y, y], color=LINE, lw=1)
    text(axes, 16, y + 20, name, 15, ha="left", weight="bold")
    text(axes, 404, y + 20, cost, SMALL, ha="right", color=MUTED)
    mapping(axes, 22, y + 84, reads(shortcut, side=4, filters=4, stride=2))
    mapping(axes, 262, y + 78, reads(shortcut, side=2, filters=2, stride=1))
    text(axes, 404, y + 122, elsewhere, SMALL, ha="right")


def options(network: Callable[[str], Outline]) -> Axes:
    """Draw options A, B and C of arXiv:1512.03385, section 3.3.

    Args:
        network: Returns the outline of a registered network.
    """
    blocks = [block for stage in network("resnet34").stages for block in stage.blocks]
    cuts = [(block, block.shortcut) for block in blocks if block.shortcut]
    own = sum(cost.params for _, cut in cuts for cost in cut.layers)
    widths = [block.layers[-1].cost.output_shape[-1] for block, cut in cuts if not cut.changes]
    everywhere = own + sum(width * width for width in widths)
    axes, tall = canvas(606), 142
    text(axes, 16, 30, "three kinds of shortcuts", 17, ha="left", weight="bold")
    text(axes, 16, 56, "where the shape changes", SMALL, color=MUTED, ha="left")
    text(axes, 404, 56, "where it stays", SMALL, color=MUTED, ha="right")
    option(axes, 72, ("A: zeros", "0 weights", "identity"), shortcuts.padded_shortcut)
    words = ("B: projection or identity", f"{own:,} weights", "identity")
    option(axes, 72 + tall, words, shortcuts.projection_shortcut)
    words = ("C: projection everywhere", f"{everywhere:,} weights", f"1{TIMES}1 convolution")
    option(axes, 72 + 2 * tall, words, shortcuts.projection_everywhere)
    axes.plot([16, 404], [72 + 3 * tall] * 2, color=LINE, lw=1)
    legend(axes, 88 + 3 * tall)
    return axes


def legend(axes: Axes, y: float) -> None:
    """Write what the colours and the weights of the options are."""
    lines = (
        (CHANNELS, "made of one channel; a sheet is a channel"),
        ((MIXED,), "made of all channels"),
        ((EMPTY,), "not read, or zero"),
    )
    for row, (colours, words) in enumerate(lines):
        for place, fill in enumerate(colours):
            edge = MUTED if fill == EMPTY else fill
            bar(axes, (17 + 15 * place, y + 20 * row - 4, 11, 11), fill, lw=0.8, ec=edge)
        text(axes, 54, y + 20 * row + 2, words, SMALL, ha="left")
    words = "weights: of all shortcuts of resnet34, as convolutions"
    text(axes, 16, y + 68, words, SMALL, ha="left", color=MUTED)


def path(axes: Axes, y: float, through: tuple[bool, ...]) -> None:
    """Draw one path: through a block, or over its shortcut."""
    x = 24.0
    for inside in through:
        axes.plot([x, x + 20], [y, y], color=INK, lw=1.4)
        if inside:
            box(axes, (x + 20, y - 8, 40, 16), radius=4)
        else:
            points = [(x + 20, y), (x + 26, y - 13), (x + 54, y - 13), (x + 60, y)]
            curve(axes, points, [1, 4, 4, 4], lw=1.8, arrowstyle="-")
        x += 60
    arrow(axes, (x, y), (x + 26, y))


def paths(network: Callable[[str], Outline]) -> Axes:
    """Draw the paths through three blocks, and count those through the blocks of resnet50.

    The unrolled view of arXiv:1605.06431, section 3.

    Args:
        network: Returns the outline of a registered network.
    """
    axes, few = canvas(590), 3
    text(axes, 16, 30, f"{few} residual blocks: {2**few} paths", 17, ha="left", weight="bold")
    words = "boxes: through a block; arcs: over its shortcut"
    text(axes, 16, 54, words, SMALL, ha="left", color=MUTED)
    every = sorted(itertools.product((False, True), repeat=few), key=lambda p: (sum(p), p[::-1]))
    y = 86.0
    for length, alike in itertools.groupby(every, key=sum):
        start = y
        for through in alike:
            path(axes, y, through)
            y += 24
        number = math.comb(few, length)
        words = f"{number} of length {length}"
        text(axes, 404, (start + y - 24) / 2, words, SMALL, ha="right", color=MUTED)
        y += 8
    blocks = [b for s in network("resnet50").stages for b in s.blocks if b.shortcut]
    histogram(axes, y + 2, len(blocks))
    return axes


def histogram(axes: Axes, y: float, blocks: int) -> None:
    """Draw the number of paths by the number of blocks they go through."""
    axes.plot([16, 404], [y, y], color=LINE, lw=1)
    words = f"resnet50: {blocks} blocks, {2**blocks:,} paths"
    text(axes, 16, y + 26, words, 17, ha="left", weight="bold")
    counts = [math.comb(blocks, length) for length in range(blocks + 1)]
    base, step = y + 196, 388 / len(counts)
    for length, count in enumerate(counts):
        tall = count / max(counts) * 116
        bar(axes, (16 + step * length + 1, base - tall, step - 2, max(tall, 0.6)), BLUE)
        if length % 4 == 0:
            text(axes, 16 + step * (length + 0.5), base + 14, str(length), SMALL)
    highest = counts.index(max(counts))
    text(axes, 16 + step * (highest + 0.5), base - 128, f"{max(counts):,}", SMALL)
    axes.plot([16, 404], [base + 1, base + 1], color=INK, lw=1.2)
    text(axes, 210, base + 36, "number of blocks that a path goes through", SMALL, color=MUTED)
    low = next(n for n in range(blocks) if sum(counts[n + 1 : -n - 1]) < 0.9 * 2**blocks)
    share = sum(counts[low : blocks - low + 1]) / 2**blocks
    words = f"{share:.0%} of the paths go through {low} to {blocks - low} of the blocks"
    text(axes, 210, base + 56, words, SMALL, color=MUTED)
