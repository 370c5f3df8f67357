"""Blocks with the weights and multiply-adds of each layer.

Without normalization and activations. Blocks of several networks are compared at equal numbers of
channels if they have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rezoo.drawing.canvas import (
    INK,
    LAYER,
    LINE,
    MUTED,
    ORANGE,
    OTHER,
    SMALL,
    TIMES,
    WIDTH,
    arrow,
    box,
    canvas,
    fitting,
    metric,
    plus,
    shortcut,
    text,
)
from rezoo.drawing.outline import DrawnBlock, DrawnStage, Outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _COLUMN = 16, 194
_TOP, _LAYER, _FOOT, _ROW = 96, 62, 132, 20
_BOX = (92, 34)  # width and height of a layer
_ASIDE = 23  # of the line of layers, left of the middle of its column

_Example = tuple[DrawnStage, DrawnBlock]


def draw_blocks(outlines: Sequence[Outline]) -> Axes:
    """Draw a block of each network; to be called within `canvas.to_svg`.

    One network also has a table with the block of each stage.
    """
    examples = [_examples(outline) for outline in outlines]
    shown = _to_compare(examples)
    tallest = max(_parts(block) for _, block in shown)
    rows = examples[0] if len(outlines) == 1 and len(examples[0]) > 1 else []
    body = _TOP + _LAYER * tallest + _FOOT
    height = body + (_ROW * (len(rows) + 2) + 8 if rows else 0)
    width = max(WIDTH, 2 * _MARGIN + _COLUMN * len(outlines))
    axes = canvas(height, width)
    column = (width - 2 * _MARGIN) / len(outlines)
    for index, (outline, (stage, block)) in enumerate(zip(outlines, shown, strict=True)):
        x = _MARGIN + column * (index + 0.5) - _ASIDE
        _draw_block(axes, x, outline.name, stage, block, body - _FOOT)
    note = "weights and multiply-adds (MACs), without normalization"
    text(axes, _MARGIN, body - 18, note, SMALL, ha="left", color=MUTED)
    if rows:
        _write_table(axes, body + 10, rows)
    return axes


def _examples(outline: Outline) -> list[_Example]:
    """Return a block of each stage, one that keeps the shape if there is one."""
    found = []
    for stage in outline.stages:
        if stage.role == "stage":
            keeping = [b for b in stage.blocks if b.shortcut and not b.shortcut.changes]
            plain = [b for b in stage.blocks[1:] if not b.shortcut]
            found.append((stage, (keeping or plain or list(stage.blocks))[0]))
    return found or [(stage, stage.blocks[0]) for stage in outline.stages[:1]]


def _channels(block: DrawnBlock) -> int:
    return block.layers[-1].cost.output_shape[-1]


def _to_compare(examples: Sequence[Sequence[_Example]]) -> list[_Example]:
    """Return the blocks with the fewest channels that all networks have, else the first ones."""
    by_channels = [{_channels(block): (stage, block) for stage, block in e} for e in examples]
    common = set.intersection(*map(set, by_channels))
    if not common:
        return [several[0] for several in examples]
    return [each[min(common)] for each in by_channels]


def _parts(block: DrawnBlock) -> int:
    """Return the number of boxes: of layers, and of a gate."""
    return len(block.layers) + sum(found.kind == "product" for found in block.bypasses)


def _kind(block: DrawnBlock) -> str:
    """Return the name of a block, from the kernels of its layers."""
    kernels = tuple(layer.kernel for layer in block.layers)
    if len(kernels) == 3 and kernels[0] == kernels[2] == 1 < kernels[1]:
        name = "bottleneck"
    else:
        name = "basic block" if len(kernels) == 2 and len(set(kernels)) == 1 else "block"
    return name if block.shortcut else f"{name}, no shortcut" if len(kernels) > 1 else "layer"


def _draw_block(
    axes: Axes, x: float, name: str, stage: DrawnStage, block: DrawnBlock, bottom: float
) -> None:
    size = fitting(name, _COLUMN - 10, 16)
    text(axes, x, 28, name, size, weight="bold")
    text(axes, x, 50, _kind(block), SMALL, color=MUTED)
    height, width = stage.size
    text(axes, x, 72, f"{_channels(block)} channels, {height}{TIMES}{width}", SMALL, color=MUTED)
    wide, tall = _BOX
    step = (bottom - _TOP) / _parts(block)
    y = _TOP + (step - tall) / 2 - 6
    above: float = 86
    for layer in block.layers:
        cost = layer.cost
        _draw_part(axes, x, (above, y), cost.text, cost.params, cost.macs)
        above, y = y + tall, y + step
    for gate in (found for found in block.bypasses if found.kind == "product"):
        params, macs = (sum(getattr(c, key) for c in gate.layers) for key in ("params", "macs"))
        _draw_part(axes, x, (above, y), f"gate, {len(gate.layers)} layers", params, macs)
        above, y = y + tall, y + step
    arrow(axes, (x, above), (x, bottom + 28))
    if block.shortcut:
        shortcut(axes, x, 91, bottom + 8, wide / 2 + 18, gap=11, lw=2.2)
        plus(axes, x, bottom + 8, 10)
        if block.shortcut.layers:
            text(axes, x - wide / 2 - 14, bottom + 24, "projection", SMALL, color=ORANGE)
    params, macs = (sum(getattr(c, key) for c in block.costs) for key in ("params", "macs"))
    text(axes, x, bottom + 48, f"{params:,} weights", 15, weight="bold")
    text(axes, x, bottom + 72, f"{metric(macs, 4)} MACs", 15)


def _draw_part(
    axes: Axes, x: float, place: tuple[float, float], words: str, params: int, macs: int
) -> None:
    """Draw a layer below an arrow, its weights and multiply-adds beside it."""
    above, y = place
    wide, tall = _BOX
    arrow(axes, (x, above), (x, y))
    box(axes, (x - wide / 2, y, wide, tall), words, look=OTHER if "gate" in words else LAYER)
    text(axes, x + wide / 2 + 6, y + tall / 2 - 8, f"{params:,}", SMALL, ha="left", weight="bold")
    text(axes, x + wide / 2 + 6, y + tall / 2 + 9, metric(macs, 4), SMALL, ha="left", color=MUTED)


def _write_table(axes: Axes, y: float, rows: Sequence[_Example]) -> None:
    """Write maps, channels, weights and multiply-adds of a block of each stage."""
    axes.plot([_MARGIN, WIDTH - _MARGIN], [y - 8, y - 8], color=LINE, lw=1)
    rights = (84, 172, 290, WIDTH - _MARGIN)
    lines = [("maps", "channels", "weights", "MACs")]
    for stage, block in rows:
        params, macs = (sum(getattr(c, key) for c in block.costs) for key in ("params", "macs"))
        size = f"{stage.size[0]}{TIMES}{stage.size[1]}"
        lines.append((size, f"{_channels(block)}", f"{params:,}", metric(macs, 4)))
    for index, line in enumerate(lines):
        for right, words in zip(rights, line, strict=True):
            colour = INK if index else MUTED
            text(axes, right, y + 10 + _ROW * index, words, SMALL, ha="right", color=colour)
