"""Blocks with the weights and multiply-adds of each layer.

Without normalization and activations. Blocks of several networks are compared at equal numbers of
channels if they have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
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
    Look,
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
from rezoo.models.profile import LayerCost

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _COLUMN, _BESIDE = 16, 194, 2  # blocks beside each other
_TOP, _LAYER, _FOOT, _NOTE, _ROW = 96, 62, 104, 34, 20
_BOX = (92, 34)  # width and height of a layer
_LINE = 12  # characters that fit into it
_ASIDE = 23  # of the line of layers, left of the middle of its column

_Example = tuple[DrawnStage, DrawnBlock]


def draw_blocks(outlines: Sequence[Outline]) -> Axes:
    """Draw a block of each network; to be called within `canvas.to_svg`.

    One network also has a table with the block of each stage.
    """
    examples = [_examples(outline) for outline in outlines]
    shown = _to_compare(examples)
    body = _TOP + _LAYER * max(_parts(block) for _, block in shown) + _FOOT
    columns, lines = min(len(outlines), _BESIDE), -(-len(outlines) // _BESIDE)
    rows = examples[0] if len(outlines) == 1 and len(examples[0]) > 1 else []
    axes = canvas(body * lines + _NOTE + (_ROW * (len(rows) + 2) if rows else 0))
    column = (WIDTH - 2 * _MARGIN) / columns
    for index, (outline, (stage, block)) in enumerate(zip(outlines, shown, strict=True)):
        x = _MARGIN + column * (index % columns + 0.5) - _ASIDE
        top = body * (index // columns)
        _draw_block(axes, (x, top), outline.name, stage, block, body - _FOOT)
    y = body * lines
    note = "weights and multiply-adds (MACs), without normalization"
    text(axes, _MARGIN, y + 10, note, SMALL, ha="left", color=MUTED)
    if rows:
        _write_table(axes, y + _NOTE, rows)
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
    return sum(1 for _ in _boxes(block))


def _kind(block: DrawnBlock) -> str:
    """Return the name of a block, from the kernels of its layers."""
    kernels = tuple(layer.kernel for layer in block.layers)
    if not block.shortcut:
        return f"{len(kernels)} layer{'s' * (len(kernels) > 1)}, no shortcut"
    if len(kernels) == 3 and kernels[0] == kernels[2] == 1 < kernels[1]:
        return "bottleneck"
    return "basic block" if len(kernels) == 2 and len(set(kernels)) == 1 else "block"


def _draw_block(
    axes: Axes,
    place: tuple[float, float],
    name: str,
    stage: DrawnStage,
    block: DrawnBlock,
    height: float,
) -> None:
    """Draw a block, of which a place is in the middle above; its layers end at `height`."""
    (x, top), (wide, tall) = place, _BOX
    text(axes, x, top + 28, name, fitting(name, _COLUMN - 10, 16), weight="bold")
    text(axes, x, top + 50, _kind(block), SMALL, color=MUTED)
    size = TIMES.join(map(str, stage.size))
    text(axes, x, top + 72, f"{_channels(block)} channels, {size}", SMALL, color=MUTED)
    step, bottom = (height - _TOP) / _parts(block), top + height
    y, above = top + _TOP + (step - tall) / 2 - 6, top + 86
    for words, look, costs in _boxes(block):
        arrow(axes, (x, above), (x, y))
        box(axes, (x - wide / 2, y, wide, tall), look=look)
        lines = wrap(words, _LINE)
        letters = 14 if len(lines) == 1 else SMALL
        text(axes, x, y + tall / 2, "\n".join(lines), letters, va="center", linespacing=1.05)
        params, macs = _sums(costs)
        right, middle = x + wide / 2 + 6, y + tall / 2
        text(axes, right, middle - 8, f"{params:,}", SMALL, ha="left", weight="bold")
        text(axes, right, middle + 9, metric(macs, 4), SMALL, ha="left", color=MUTED)
        above, y = y + tall, y + step
    arrow(axes, (x, above), (x, bottom + 28))
    if block.shortcut:
        shortcut(axes, x, top + 91, bottom + 8, wide / 2 + 18, gap=11, lw=2.2)
        plus(axes, x, bottom + 8, 10)
        if block.shortcut.layers:
            text(axes, x - wide / 2 - 14, bottom + 24, "projection", SMALL, color=ORANGE)
    params, macs = _sums(block.costs)
    text(axes, x, bottom + 48, f"{params:,} weights", 15, weight="bold")
    text(axes, x, bottom + 72, f"{metric(macs, 4)} MACs", 15)


def _boxes(block: DrawnBlock) -> Iterator[tuple[str, Look, tuple[LayerCost, ...]]]:
    """Yield words, colours and layers of each box: of a layer, or of a gate."""
    for layer in block.layers:
        yield layer.text, LAYER, layer.costs
    for gate in (found for found in block.bypasses if found.kind == "product"):
        yield "gate", OTHER, gate.layers


def _sums(costs: Iterable[LayerCost]) -> tuple[int, int]:
    """Return weights and multiply-adds."""
    found = tuple(costs)
    return sum(cost.params for cost in found), sum(cost.macs for cost in found)


def _write_table(axes: Axes, y: float, rows: Sequence[_Example]) -> None:
    """Write maps, channels, weights and multiply-adds of a block of each stage."""
    axes.plot([_MARGIN, WIDTH - _MARGIN], [y - 8, y - 8], color=LINE, lw=1)
    rights = (84, 172, 290, WIDTH - _MARGIN)
    lines = [("maps", "channels", "weights", "MACs")]
    for stage, block in rows:
        params, macs = _sums(block.costs)
        size = f"{stage.size[0]}{TIMES}{stage.size[1]}"
        lines.append((size, f"{_channels(block)}", f"{params:,}", metric(macs, 4)))
    for index, line in enumerate(lines):
        for right, words in zip(rights, line, strict=True):
            colour = INK if index else MUTED
            text(axes, right, y + 10 + _ROW * index, words, SMALL, ha="right", color=colour)
