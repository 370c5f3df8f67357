"""Networks as columns of layers, side by side as in figure 3 of arXiv:1512.03385.

A bar is a layer, as wide as it has channels. Layers with maps of one size are at one height in all
columns. Below the layers of a stage are its notation in the paper and its multiply-adds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rezoo.drawing.canvas import (
    CARD,
    GREY,
    INK,
    LINE,
    MUTED,
    SMALL,
    STAGES,
    TIMES,
    WIDTH,
    bar,
    canvas,
    fitting,
    metric,
    shortcut,
    text,
)
from rezoo.drawing.line import MainLayer
from rezoo.drawing.outline import DrawnBlock, DrawnStage, Outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _ARC, _GAP = 16, 15, 14  # around the columns, for shortcuts, between columns
_BAR, _STEP, _POOL, _BLOCK = 8, 11, 8, 5  # heights: of a bar, with space, of pooling, of a gap
_ROW = 17  # height of a line of text
_SHOWN, _MOST = 3, 8  # of more than 8 equal blocks, the first three and the last are drawn
_TOP, _BOTTOM, _BAND = 66, 76, 30  # heights above, below, and of the title of a band
_LEGEND = 16  # height of a line of the legend
_NARROWEST = 120  # column
_LETTER, _BOLD = 0.58 * SMALL, 0.68 * SMALL  # width of a letter
_ASIDE = 2  # space between the bars of layers that are side by side

Size = tuple[int, int] | None  # of maps; None for the head


@dataclass(frozen=True)
class _Group:
    """Pooling and the stage that follows it; one of them may be missing."""

    pools: tuple[MainLayer, ...]
    stage: DrawnStage | None

    @property
    def folded(self) -> list[DrawnBlock | int]:
        """The blocks to be drawn, and in place of the others their number."""
        if self.stage is None:
            return []
        blocks, number = self.stage.blocks, len(self.stage.blocks)
        same = len({block.texts for block in blocks}) == 1
        if not same or number <= _MOST:
            return list(blocks)
        return [*blocks[:_SHOWN], number - _SHOWN - 1, blocks[-1]]

    @property
    def bars_height(self) -> float:
        """Height of the bars."""
        parts = self.folded
        layers = sum(len(part.layers) for part in parts if isinstance(part, DrawnBlock))
        folds = sum(isinstance(part, int) for part in parts)
        gaps = _BLOCK * max(len(parts) - 1, 0)
        return _POOL * len(self.pools) + _STEP * layers + _ROW * folds + gaps

    @property
    def lines(self) -> list[str]:
        """The layers in the notation of the paper."""
        if self.stage is None:
            return [pool.cost.text for pool in self.pools]
        lines: list[str] = []
        for texts, blocks in self.stage.runs:
            layers = len(texts) * blocks
            if len(set(texts)) == 1:
                lines += [texts[0]] + [f"{layers} layers"] * (layers > 1)
            else:
                lines += [*texts] + [f"{TIMES} {blocks} blocks"] * (blocks > 1)
        return lines


@dataclass(frozen=True)
class _Layout:
    """Where things are.

    Attributes:
        wide: Whether there is one column, with its texts to the right of the bars.
        width: Of a column.
        bars: Width of its widest bar.
        scale: Width of a channel.
    """

    wide: bool
    width: float
    bars: float
    scale: float

    def height(self, groups: Sequence[_Group]) -> float:
        """Return the height of the groups of a band in a column."""
        return sum(self.group_height(group) for group in groups)

    def group_height(self, group: _Group) -> float:
        """Return the height of a group, with the space below it."""
        lines = _ROW * (len(group.lines) + (group.stage is not None))
        both = max(group.bars_height, lines) if self.wide else group.bars_height + lines + 4
        return both + 12


def draw_columns(outlines: Sequence[Outline]) -> Axes:
    """Draw networks side by side; to be called within `canvas.to_svg`."""
    columns = [_bands(outline) for outline in outlines]
    sizes = {size for column in columns for size in column}
    ordered: list[Size] = [*sorted(filter(None, sizes), key=math.prod, reverse=True)]
    ordered += [None] * (None in sizes)
    number = len(outlines)
    width = max(WIDTH, 2 * _MARGIN + number * (_narrowest(outlines, columns) + _GAP) - _GAP)
    layout = _layout(outlines, (width - 2 * _MARGIN + _GAP) / number - _GAP)
    heights = [max(layout.height(c.get(size, [])) for c in columns) for size in ordered]
    legend = _legend(outlines)
    height = _TOP + sum(heights) + _BAND * len(ordered) + _BOTTOM + _LEGEND * len(legend)
    axes, colours = canvas(height, width), stage_colours(outlines)
    y: float = _TOP
    for size, tall in zip(ordered, heights, strict=True):
        axes.plot([_MARGIN, width - _MARGIN], [y, y], color=LINE, lw=1)
        words = f"maps of {size[0]}{TIMES}{size[1]}" if size else "head"
        text(axes, _MARGIN, y + 14, words, SMALL, ha="left", color=MUTED)
        for index, column in enumerate(columns):
            x = _MARGIN + index * (layout.width + _GAP)
            _draw_groups(axes, (x, y + _BAND), column.get(size, []), layout, colours)
        y += _BAND + tall
    for index, outline in enumerate(outlines):
        x = _MARGIN + index * (layout.width + _GAP)
        _write_totals(axes, x, y, outline, layout)
    for index, line in enumerate(legend):
        text(axes, _MARGIN, y + 72 + _LEGEND * index, line, SMALL, ha="left", color=MUTED)
    return axes


def _narrowest(
    outlines: Sequence[Outline], columns: Sequence[Mapping[Size, list[_Group]]]
) -> float:
    """Return the width of a column that has room for all its texts; a single one is wide."""
    if len(outlines) == 1:
        return _NARROWEST
    groups = [group for column in columns for groups in column.values() for group in groups]
    lines = max(len(line) for group in groups for line in group.lines)
    names = max(len(outline.name) for outline in outlines)
    return max(_NARROWEST, _ARC + _LETTER * lines, _BOLD * names)


def stage_colours(outlines: Sequence[Outline]) -> dict[tuple[int, int], str]:
    """Return the colour of each size of maps; the smallest ones have the last colours."""
    sizes = {s.size for o in outlines for s in o.stages if s.role == "stage"}
    ordered = sorted(sizes, key=math.prod)
    return {size: STAGES[max(-1 - i, -len(STAGES))] for i, size in enumerate(ordered)}


def _bands(outline: Outline) -> dict[Size, list[_Group]]:
    """Return the groups of a network by the size of their maps, in order."""
    stages = {id(s.layers[0]): s for s in outline.stages}
    bands: dict[Size, list[_Group]] = {}
    pools: list[MainLayer] = []
    for layer in outline.line:
        if not layer.counted:
            pools.append(layer)
        elif id(layer) in stages:
            stage = stages[id(layer)]
            size = None if stage.role == "head" else stage.size
            inside = tuple(p for p in pools if (None if p.head else p.size) == size)
            for pool in (p for p in pools if p not in inside):
                bands.setdefault(pool.size, []).append(_Group((pool,), None))
            bands.setdefault(size, []).append(_Group(inside, stage))
            pools = []
    return bands


def _layout(outlines: Sequence[Outline], width: float) -> _Layout:
    wide = len(outlines) == 1
    bars = width * 0.53 if wide else width - _ARC
    layers = [x for o in outlines for s in o.stages if s.role != "head" for x in s.layers]
    return _Layout(wide, width, bars, bars / max(x.channels for x in layers))


def _draw_groups(
    axes: Axes,
    place: tuple[float, float],
    groups: Sequence[_Group],
    layout: _Layout,
    colours: Mapping[tuple[int, int], str],
) -> None:
    x, y = place
    for group in groups:
        stage = group.stage
        is_stage = stage is not None and stage.role == "stage"
        colour = colours[stage.size] if stage and is_stage else GREY
        _draw_bars(axes, x + _ARC, y, group, layout, colour)
        if layout.wide:
            _write_lines(axes, x + _ARC + layout.bars + 18, y + 3, group)
        else:
            _write_lines(axes, x + _ARC, y + group.bars_height + 10, group)
        y += layout.group_height(group)


def _draw_bars(axes: Axes, x: float, y: float, group: _Group, layout: _Layout, colour: str) -> None:
    for pool in group.pools:
        width = _bar_width(pool, layout)
        bar(axes, (x + 0.5, y, width - 1, 4), CARD, ec=MUTED, lw=1)
        y += _POOL
    for part in group.folded:
        if isinstance(part, int):
            words = f"\N{VERTICAL ELLIPSIS} {part} more blocks"
            text(axes, x + 2, y + _ROW / 2 - 2, words, SMALL, ha="left", color=MUTED)
            y += _ROW + _BLOCK
            continue
        tops = [y + _STEP * index for index in range(len(part.layers))]
        for top, layer in zip(tops, part.layers, strict=True):
            width, number = _bar_width(layer, layout), len(layer.costs)
            for index in range(number):
                space = min(_ASIDE, 0.4 * width / number) if index else 0
                left, right = (x + width * i / number for i in (index, index + 1))
                bar(axes, (left + space, top, right - left - space, _BAR), colour)
            if layer.channels * layout.scale > layout.bars:
                _break(axes, x + width - 14, top)
        if part.shortcut:
            first, last = tops[part.shortcut.first], tops[part.shortcut.last]
            style = (0, (2.2, 1.4)) if part.shortcut.changes else "-"
            look: dict[str, Any] = {"lw": 1.5, "ls": style, "turn": 6}
            shortcut(axes, x - 1, first - 0.5, last + _BAR + 0.5, 10, **look)
        y = tops[-1] + _STEP + _BLOCK


def _bar_width(layer: MainLayer, layout: _Layout) -> float:
    return min(layout.bars, max(2.0, layer.channels * layout.scale))


def _break(axes: Axes, x: float, y: float) -> None:
    """Draw two strokes through a bar that would be wider than the column."""
    for shift in (0, 5):
        axes.plot([x + shift, x + shift + 4], [y + _BAR + 1, y - 1], color=CARD, lw=1.8)


def _write_lines(axes: Axes, x: float, y: float, group: _Group) -> None:
    for index, line in enumerate(group.lines):
        text(axes, x, y + _ROW * index, line, SMALL, ha="left")
    if group.stage:
        words = f"{metric(group.stage.macs)} MACs"
        y += _ROW * len(group.lines)
        text(axes, x, y, words, SMALL, ha="left", weight="bold")


def _write_totals(axes: Axes, x: float, y: float, outline: Outline, layout: _Layout) -> None:
    """Write the name above a column, and below it what all layers cost."""
    height, width, channels = outline.profile.input_shape
    size = fitting(outline.name, layout.width, 17)
    text(axes, x, 26, outline.name, size, ha="left", weight="bold")
    text(axes, x, 48, f"{height}{TIMES}{width}{TIMES}{channels}", SMALL, ha="left", color=MUTED)
    axes.plot([x, x + layout.width], [y, y], color=INK, lw=1.2)
    counted = sum(len(stage.layers) for stage in outline.stages)
    rows = (
        f"{counted} layers",
        f"{metric(outline.profile.macs)} MACs",
        f"{metric(outline.profile.params)} params",
    )
    for index, words in enumerate(rows):
        weight = "bold" if index == 1 else "normal"
        text(
            axes,
            x,
            y + 15 + 18 * index,
            words,
            14 if index == 1 else SMALL,
            ha="left",
            weight=weight,
        )


def _legend(outlines: Sequence[Outline]) -> list[str]:
    lines = ["bar: a layer, as wide as its channels (//: wider)"]
    stages = [stage for outline in outlines for stage in outline.stages]
    if any(block.shortcut for stage in stages for block in stage.blocks):
        lines.append("arc: shortcut, broken if the shape changes")
    if any(layer.beside for stage in stages for layer in stage.layers):
        lines.append("bars side by side: their channels are joined")
    return [*lines, "frame: pooling"]
