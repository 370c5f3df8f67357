"""The layers that the name of a network counts, as the marks of a ruler.

A mark is as tall as the kernel is wide. Blocks are close together, and a stage has one colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rezoo.drawing.canvas import (
    GREY,
    INK,
    LINE,
    MUTED,
    SMALL,
    TIMES,
    WIDTH,
    bar,
    canvas,
    fitting,
    text,
)
from rezoo.drawing.columns import stage_colours
from rezoo.drawing.outline import DrawnStage, Outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _TITLE, _RULER, _ROW = 16, 56, 92, 20  # heights, of the last three
_LONGEST = 80  # marks in a row
_BETWEEN_BLOCKS, _BETWEEN_STAGES = 0.45, 1.2  # space, as a part of a mark
_TALLEST = 50


class _Mark(NamedTuple):
    """A layer: its place from the left in marks, its kernel's side, its stage, if that begins."""

    left: float
    kernel: int
    stage: int
    begins: bool


def draw_rulers(outlines: Sequence[Outline]) -> Axes:
    """Draw a ruler for each network; to be called within `canvas.to_svg`."""
    rows = [_rows(outline) for outline in outlines]
    stages = max(len(outline.stages) for outline in outlines) if len(outlines) == 1 else 0
    legend = stages * _ROW + 34
    height = 8 + sum(_TITLE + _RULER * len(marks) for marks in rows) + legend
    axes, colours = canvas(height), stage_colours(outlines)
    longest = max(marks[-1].left + 1 for several in rows for marks in several)
    unit = (WIDTH - 2 * _MARGIN) / longest
    y: float = 8
    for outline, several in zip(outlines, rows, strict=True):
        _write_sum(axes, y, outline)
        y += _TITLE
        for marks in several:
            y += _RULER
            _draw_row(axes, y - 18, marks, unit, outline, colours)
    if stages:
        _write_stages(axes, y, outlines[0], colours)
    words = "a mark: a layer, as tall as its kernel is wide"
    text(axes, _MARGIN, y + stages * _ROW + 12, words, SMALL, ha="left", color=MUTED)
    return axes


def _rows(outline: Outline) -> list[list[_Mark]]:
    """Return the marks of a network, in rows that end behind a block."""
    rows: list[list[_Mark]] = [[]]
    left = 0.0
    for number, stage in enumerate(outline.stages):
        for block in stage.blocks:
            if rows[-1] and len(rows[-1]) + len(block.layers) > _LONGEST:
                rows.append([])
                left = 0.0
            for layer in block.layers:
                begins = layer is stage.layers[0]
                rows[-1].append(_Mark(left, layer.kernel, number, begins))
                left += 1
            left += _BETWEEN_BLOCKS if len(block.layers) > 1 else 0
        left += _BETWEEN_STAGES - _BETWEEN_BLOCKS
    return rows


def _draw_row(
    axes: Axes,
    base: float,
    marks: Sequence[_Mark],
    unit: float,
    outline: Outline,
    colours: Mapping[tuple[int, int], str],
) -> None:
    """Draw marks, and the number of layers above each stage that begins here."""
    for mark in marks:
        tall = min(_TALLEST, 8 + 5 * mark.kernel)
        colour = _colour(outline.stages[mark.stage], colours)
        place = (_MARGIN + mark.left * unit, base - tall, unit * 0.8, tall)
        bar(axes, place, colour)
    for number in (mark.stage for mark in marks if mark.begins):
        own = [mark for mark in marks if mark.stage == number]
        middle = _MARGIN + (own[0].left + own[-1].left + 0.8) / 2 * unit
        tall = min(_TALLEST, 8 + 5 * max(mark.kernel for mark in own))
        words = str(len(outline.stages[number].layers))
        colour = _colour(outline.stages[number], colours)
        text(axes, middle, base - tall - 11, words, 15, weight="bold", color=colour)
    right = _MARGIN + (marks[-1].left + 0.8) * unit
    axes.plot([_MARGIN, right], [base + 2, base + 2], color=INK, lw=1.2)


def _colour(stage: DrawnStage, colours: Mapping[tuple[int, int], str]) -> str:
    return colours[stage.size] if stage.role == "stage" else GREY


def _write_sum(axes: Axes, y: float, outline: Outline) -> None:
    counts = [len(stage.layers) for stage in outline.stages]
    words = f"{outline.name}: {sum(counts)} layers"
    size = fitting(words, WIDTH - 2 * _MARGIN, 17)
    text(axes, _MARGIN, y + 18, words, size, ha="left", weight="bold")
    if len(counts) > 1:
        words = f"{' + '.join(map(str, counts))} = {sum(counts)}"
        text(axes, _MARGIN, y + 42, words, 15, ha="left")


def _write_stages(
    axes: Axes, y: float, outline: Outline, colours: Mapping[tuple[int, int], str]
) -> None:
    """Write a line for each stage: its colour, the size of its maps, its blocks and layers."""
    axes.plot([_MARGIN, WIDTH - _MARGIN], [y - 4, y - 4], color=LINE, lw=1)
    number = 0
    for index, stage in enumerate(outline.stages):
        middle = y + 10 + _ROW * index
        number += stage.role == "stage"
        name = f"stage {number}" if stage.role == "stage" else stage.role
        size = f", {stage.size[0]}{TIMES}{stage.size[1]}" if stage.role != "head" else ""
        bar(axes, (_MARGIN, middle - 6, 12, 12), _colour(stage, colours))
        text(axes, _MARGIN + 20, middle, name + size, SMALL, ha="left")
        text(axes, WIDTH - _MARGIN, middle, _count(stage), SMALL, ha="right")


def _count(stage: DrawnStage) -> str:
    lengths = {len(block.layers) for block in stage.blocks}
    total = len(stage.layers)
    if len(stage.blocks) == 1 or lengths == {1} or len(lengths) > 1:
        return f"{total} layer{'s' * (total > 1)}"
    return f"{len(stage.blocks)} blocks of {lengths.pop()} layers: {total}"
