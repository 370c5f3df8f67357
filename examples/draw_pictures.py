"""Draw the pictures of the documentation: `python examples/draw_pictures.py [FOLDER]`.

The figures in the pictures are counted from the graphs of rezoo's networks. The same version of
matplotlib writes the same bytes each time. `draw_shortcuts.py` has the pictures of shortcuts,
`draw_zoo.py` draws the chart of published weights, `rezoo draw` draws any network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

import draw_shortcuts
from rezoo.drawing.block_diagrams import draw_blocks
from rezoo.drawing.canvas import (
    BLUE,
    EMPTY,
    LAYER,
    MIDDLE,
    MUTED,
    ORANGE,
    OTHER,
    PALE,
    PROJECTING,
    SMALL,
    TIMES,
    arrow,
    bar,
    box,
    canvas,
    curve,
    plus,
    shortcut,
    text,
    to_svg,
)
from rezoo.drawing.columns import draw_columns
from rezoo.drawing.outline import DrawnStage, Outline
from rezoo.drawing.picture import outline_of
from rezoo.drawing.rulers import draw_rulers


@cache
def network(name: str) -> Outline:
    """Return the outline of a registered network at 224 px."""
    return outline_of(name, input_shape=(224, 224, 3))


def stages_of(name: str) -> list[DrawnStage]:
    """Return the stages of a network without stem and head."""
    return [stage for stage in network(name).stages if stage.role == "stage"]


def two_layers(axes: Axes, x: float, *, residual: bool) -> None:
    """Draw one of the two blocks of `residual_block` around the vertical line at x."""
    kernel = stages_of("resnet18")[0].blocks[0].texts[0].partition(",")[0]
    text(axes, x, 32, "residual block" if residual else "plain block", 17, weight="bold")
    text(axes, x + 12, 70, "x", 16, style="italic", ha="left")
    arrow(axes, (x, 56), (x, 94))
    box(axes, (x - 62, 94, 124, 34), f"{kernel} conv, BN")
    arrow(axes, (x, 128), (x, 152))
    box(axes, (x - 36, 152, 72, 30), "ReLU", OTHER)
    arrow(axes, (x, 182), (x, 206))
    box(axes, (x - 62, 206, 124, 34), f"{kernel} conv, BN")
    arrow(axes, (x, 240), (x, 330))
    text(axes, x + 12, 259, "F(x)" if residual else "H(x)", 16, style="italic", ha="left")
    box(axes, (x - 36, 330, 72, 30), "ReLU", OTHER)
    arrow(axes, (x, 360), (x, 388))
    if residual:
        shortcut(axes, x, 78, 288, reach=84, gap=13)
        text(axes, x - 100, 183, "identity", color=ORANGE, rotation=90)
        text(axes, x + 12, 316, "F(x) + x", 16, style="italic", ha="left", weight="bold")
        plus(axes, x, 288)


def residual_block() -> Axes:
    """Draw two layers without and with an identity shortcut."""
    axes = canvas(456)
    words = (("the layers learn", "the whole mapping H"), ("the layers learn", "only the change F"))
    for x, residual, captions in zip((96, 322), (False, True), words, strict=True):
        two_layers(axes, x, residual=residual)
        for row, caption in enumerate(captions):
            text(axes, x - 8 * residual, 412 + 20 * row, caption, color=MUTED)
    return axes


def feature_map(axes: Axes, x: float, middle: float, shape: tuple[int, ...]) -> None:
    """Draw `(height, width, channels)` to scale as a cuboid centred at x."""
    side, depth = 1.15 * shape[0], shape[2] / 34
    left, top, slant = x - (side + depth) / 2, middle - side / 2, depth * 0.25
    right, bottom = left + side, top + side
    lid = [(left, top), (left + depth, top - slant)]
    lid += [(right + depth, top - slant), (right, top)]
    end = [(right, top), (right + depth, top - slant)]
    end += [(right + depth, bottom - slant), (right, bottom)]
    edge = {"ec": BLUE, "lw": 1.2, "joinstyle": "round"}
    axes.add_patch(Rectangle((left, top), side, side, fc=PALE, **edge))
    axes.add_patch(Polygon(lid, fc=EMPTY, **edge))
    axes.add_patch(Polygon(end, fc=MIDDLE, **edge))


def stage_column(axes: Axes, x: float, number: int, stage: DrawnStage) -> None:
    """Draw one stage of resnet50: its feature map, and a tile for each of its blocks."""
    shape = stage.layers[-1].cost.output_shape
    text(axes, x, 92, f"stage {number}", 15, weight="bold")
    feature_map(axes, x, 150, shape)
    text(axes, x, 212, TIMES.join(map(str, shape)))
    base = 470
    for index, block in enumerate(stage.blocks):
        macs = sum(cost.macs for cost in block.costs) / 1e6
        tall = macs * 0.128
        fill, edge = LAYER if index else PROJECTING
        place = (x - 40, base - tall)
        axes.add_patch(Rectangle(place, 80, tall - 3, fc=fill, ec=edge, lw=1.2))
        text(axes, x, base - tall / 2 - 1.5, f"{macs:.1f} M", SMALL)
        base -= tall
    text(axes, x, base - 12, f"{stage.macs / 1e6:,.0f} M", 14, weight="bold")


def stages() -> Axes:
    """Draw the side, the width and the cost of the stages."""
    axes, found = canvas(562), stages_of("resnet50")
    text(axes, 210, 32, "resnet50: half the side, double the width,", 15, weight="bold")
    text(axes, 210, 54, "the same cost for each block", 15, weight="bold")
    for number, stage in enumerate(found, start=1):
        stage_column(axes, 210 + 100 * (number - 2.5), number, stage)
    whole, inside = network("resnet50").profile.macs, sum(stage.macs for stage in found)
    words = (
        "multiply-adds of each block at 224 px",
        "orange: the block with the projection shortcut",
        f"stem and head add {(whole - inside) / 1e6:.0f} M; in all {whole / 1e6:,.0f} M",
    )
    for row, line in enumerate(words):
        text(axes, 210, 498 + 20 * row, line, color=MUTED)
    return axes


def macs() -> Axes:
    """Draw the cost of networks, including VGG-19, as bars."""
    names = ("resnet18", "resnet34", "resnet50_v1", "resnet50", "resnet101", "resnet152", "vgg19")
    labels = {
        "resnet50_v1": "resnet50_v1 (paper)",
        "resnet50": "resnet50 (v1.5)",
        "vgg19": "VGG-19",
    }
    axes = canvas(500)
    text(axes, 210, 32, "multiply-adds (MACs) and parameters", 16, weight="bold")
    text(axes, 210, 54, f"for one image of 224{TIMES}224", color=MUTED)
    for index, name in enumerate(names):
        cost, y = network(name).profile, 92 + 52 * index
        fill = MUTED if name == "vgg19" else BLUE
        text(axes, 20, y, labels.get(name, name), ha="left")
        text(axes, 400, y, f"{cost.params / 1e6:.1f} M parameters", SMALL, ha="right", color=MUTED)
        length = cost.macs / network("vgg19").profile.macs * 306
        bar(axes, (20, y + 12, length, 18), fill)
        text(axes, 28 + length, y + 21, f"{cost.macs / 1e9:.2f} G", ha="left", weight="bold")
    text(axes, 210, 460, "1 MAC = one multiply-add = 2 FLOPs;", SMALL, color=MUTED)
    text(axes, 210, 479, "what the paper calls FLOPs are MACs", SMALL, color=MUTED)
    return axes


def hero() -> Axes:
    """Draw the banner: the name, and the commands as a residual network."""
    axes = canvas(304)
    text(axes, 210, 52, "rezoo", 50, weight="bold")
    text(axes, 210, 98, "residual networks for Keras 3,", 17, color=MUTED)
    text(axes, 210, 122, "each claim checkable by a command", 17, color=MUTED)
    for x, words in ((24, "name a model"), (232, "name a dataset")):
        box(axes, (x, 152, 164, 40), look=OTHER, radius=20)
        text(axes, x + 82, 172, words, 16)
    plus(axes, 210, 172, 10)
    turn, y = 12, 264
    down = [(210, 183), (210, 198), (210, 206), (202, 206), (26, 206), (14, 206), (14, 218)]
    down += [(14, y - turn), (14, y), (26, y), (40, y)]
    curve(axes, down, [1, 2, 3, 3, 2, 3, 3, 2, 3, 3, 2], color=MUTED, lw=1.4)
    for x, words in ((40, "train"), (166, "eval"), (292, "predict")):
        box(axes, (x, y - 20, 80, 40), radius=9)
        text(axes, x + 40, y, words, 16, weight="bold")
        arrow(axes, (x + 80, y), (min(x + 126, 406), y))
        points = [(x - 14, y), (x - 14, y - 50), (x + 96, y - 50), (x + 96, y - 11)]
        curve(axes, points, [1, 4, 4, 4])
        plus(axes, x + 96, y, 10)
    return axes


def several(draw: Callable[[list[Outline]], Axes], *names: str) -> Callable[[], Axes]:
    """Return what draws some networks with a function of `rezoo.drawing`."""
    return lambda: draw([network(name) for name in names])


PICTURES = {
    "hero": (hero, "rezoo: name a model and a dataset, then train, eval and predict"),
    "residual-block": (residual_block, "a plain block, and a residual block with its shortcut"),
    "side-by-side": (
        several(draw_columns, "vgg19", "plain34", "resnet34"),
        "the layers of VGG-19, plain-34 and ResNet-34",
    ),
    "ruler": (several(draw_rulers, "resnet50"), "the 50 layers of resnet50"),
    "blocks": (several(draw_blocks, "resnet34", "resnet50"), "a basic block and a bottleneck"),
    "stages": (stages, "side, width and cost of the stages of resnet50"),
    "macs": (macs, "multiply-adds and parameters of the ResNets and VGG-19"),
    "options": (
        partial(draw_shortcuts.options, network),
        "three kinds of shortcuts, and what they do to pixels and channels",
    ),
    "paths": (partial(draw_shortcuts.paths, network), "the paths through residual blocks"),
}


def write(draw: Callable[[], Axes], path: str | Path, title: str) -> None:
    """Draw a picture and write it as SVG, with the same bytes each time."""
    Path(path).write_text(to_svg([draw], title), "utf-8")
    print(path)


def main(folder: str = "images") -> None:
    """Write all pictures as SVG into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, (draw, title) in PICTURES.items():
        write(draw, Path(folder, f"{name}.svg"), title)


if __name__ == "__main__":
    main(*sys.argv[1:])
