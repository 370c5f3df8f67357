"""Draw the pictures of the documentation: `python examples/draw_pictures.py [FOLDER]`.

The figures in the pictures come from `rezoo.models.profile`. The same version of matplotlib writes
the same bytes each time. `draw_zoo.py` draws the chart of published weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.path import Path as Curve

from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.profile import LayerCost, Profile, profile
from rezoo.registry import architectures

STYLE = {
    "svg.hashsalt": "rezoo",
    "svg.fonttype": "none",  # text stays text; other sans-serif fonts are narrower than this
    "font.sans-serif": ["DejaVu Sans"],
}
HEAD = {"arrowstyle": "-|>,head_length=5,head_width=2.8", "shrinkA": 0, "shrinkB": 0}
TIMES = "\N{MULTIPLICATION SIGN}"
CARD, INK, MUTED, LINE = "#f7f8fb", "#1c2536", "#556074", "#d5dae4"
BLUE, PALE, ORANGE, SAND = "#2f5fc4", "#dfe8fb", "#d2601a", "#fbe6d6"
LAYER, OTHER, PROJECTING = (PALE, BLUE), ("white", MUTED), (SAND, ORANGE)
SHAPE = (224, 224, 3)

Place = tuple[float, float, float, float]  # x and y of the upper left corner, width, height
Look = tuple[str, str]  # colours of the inside and of the edge


@cache
def cost(name: str) -> Profile:
    """Return the cost of a registered network at 224 px."""
    model = start_from_zeros(partial(create_model, name, input_shape=SHAPE))
    return profile(model, input_shape=SHAPE)


def convolutions(name: str, block: str) -> list[LayerCost]:
    """Return the convolutions of one block, `layer1.1` for instance."""
    return [x for x in cost(name).layers if x.macs and x.name.startswith(f"{block}.")]


def block_macs(name: str, stage: int) -> list[int]:
    """Return the MACs of each block of a stage, including the projection shortcut."""
    depth = architectures.get(name).config["depths"][stage - 1]
    blocks = [convolutions(name, f"layer{stage}.{index}") for index in range(depth)]
    return [sum(layer.macs for layer in block) for block in blocks]


def canvas(width: int, height: int) -> Axes:
    """Return axes in picture units, y downwards, on a light card with round corners."""
    axes = Figure(figsize=(width / 72, height / 72), dpi=72).add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    box(axes, (1, 1, width - 2, height - 2), look=(CARD, LINE), radius=14)
    return axes


def text(axes: Axes, x: float, y: float, words: str, size: float = 14, **options: object) -> None:
    """Write words, centred on (x, y) unless options say otherwise."""
    look = {"ha": "center", "va": "center_baseline", "color": INK, "family": "sans-serif"}
    axes.text(x, y, words, fontsize=size, **{**look, **options})


def box(axes: Axes, place: Place, words: str = "", look: Look = LAYER, radius: float = 7) -> None:
    """Draw a box with round corners, and words in its middle."""
    x, y, width, height = place
    shape, (fill, edge) = f"round,pad=0,rounding_size={radius}", look
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, fc=fill, ec=edge, lw=1.3))
    text(axes, x + width / 2, y + height / 2, words)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a straight arrow."""
    axes.add_patch(FancyArrowPatch(start, end, color=INK, lw=1.4, **HEAD))


def arc(axes: Axes, start: float, end: float, y: float) -> None:
    """Draw a shortcut above the line at y, to its sum with that line."""
    points = [(start, y), (start, y - 62), (end, y - 62), (end, y - 11)]
    path = Curve(points, [Curve.MOVETO] + [Curve.CURVE4] * 3)
    axes.add_patch(FancyArrowPatch(path=path, color=ORANGE, lw=2.4, fill=False, **HEAD))
    plus(axes, end, y, 10)


def plus(axes: Axes, x: float, y: float, radius: float = 12) -> None:
    """Draw the sign of addition."""
    axes.add_patch(Circle((x, y), radius, fc=SAND, ec=ORANGE, lw=1.6, zorder=3))
    arm = radius * 0.5
    for dx, dy in ((arm, 0), (0, arm)):
        axes.plot([x - dx, x + dx], [y - dy, y + dy], color=ORANGE, lw=2, zorder=4)


def shortcut(axes: Axes, x: float, top: float, bottom: float, reach: float) -> None:
    """Draw a shortcut from the line at x to its sum with that line, left around the layers."""
    left, turn = x - reach, 16
    upper = [(x, top), (left + turn, top), (left, top), (left, top + turn)]
    lower = [(left, bottom - turn), (left, bottom), (left + turn, bottom), (x - 13, bottom)]
    line, corner = Curve.LINETO, [Curve.CURVE3] * 2
    path = Curve(upper + lower, [Curve.MOVETO, line, *corner, line, *corner, line])
    axes.add_patch(FancyArrowPatch(path=path, color=ORANGE, lw=2.4, fill=False, **HEAD))
    plus(axes, x, bottom)


def two_layers(axes: Axes, x: float, *, residual: bool) -> None:
    """Draw one of the two blocks of `residual_block` around the vertical line at x."""
    kernel = convolutions("resnet18", "layer1.0")[0].text.partition(",")[0]
    text(axes, x, 34, "residual block" if residual else "plain block", 17, weight="bold")
    text(axes, x + 14, 76, "x", 16, style="italic", ha="left")
    arrow(axes, (x, 62), (x, 100))
    box(axes, (x - 75, 100, 150, 34), f"{kernel} conv, BN")
    arrow(axes, (x, 134), (x, 160))
    box(axes, (x - 40, 160, 80, 30), "ReLU", OTHER)
    arrow(axes, (x, 190), (x, 216))
    box(axes, (x - 75, 216, 150, 34), f"{kernel} conv, BN")
    arrow(axes, (x, 250), (x, 352))
    text(axes, x + 14, 271, "F(x)" if residual else "H(x)", 16, style="italic", ha="left")
    box(axes, (x - 40, 352, 80, 30), "ReLU", OTHER)
    arrow(axes, (x, 382), (x, 414))
    if residual:
        shortcut(axes, x, 84, 304, reach=112)
        text(axes, x - 122, 194, "identity", color=ORANGE, ha="right")
        text(axes, x + 14, 334, "F(x) + x", 16, style="italic", ha="left", weight="bold")


def residual_block() -> Axes:
    """Draw two layers without and with an identity shortcut."""
    axes = canvas(760, 470)
    for x, residual in ((180, False), (590, True)):
        two_layers(axes, x, residual=residual)
    axes.plot([380, 380], [60, 414], color=LINE, lw=1.3)
    text(axes, 180, 440, "the layers learn the whole mapping H", color=MUTED)
    text(axes, 590, 440, "the layers learn only the change F", color=MUTED)
    return axes


def one_block(axes: Axes, x: float, title: str, name: str, nets: str) -> None:
    """Draw the convolutions of one block, and bars as long as their multiply-adds."""
    layers = convolutions(name, "layer1.1")
    height, width, channels = layers[-1].output_shape
    text(axes, x, 34, title, 17, weight="bold")
    text(axes, x, 58, nets, color=MUTED)
    text(axes, x, 88, f"{height}{TIMES}{width}, {channels} channels")
    tops = [130, 195, 260] if len(layers) == 3 else [150, 240]
    above = 100
    for top, layer in zip(tops, layers, strict=True):
        arrow(axes, (x, above), (x, top))
        box(axes, (x - 55, top, 110, 34), layer.text)
        bar = layer.macs / 1e6 * 0.62
        axes.add_patch(Rectangle((x + 70, top + 21), bar, 11, fc=BLUE))
        text(axes, x + 70, top + 9, f"{layer.macs / 1e6:.1f} M", ha="left")
        above = top + 34
    arrow(axes, (x, above), (x, 322))
    shortcut(axes, x, 112, 334, reach=92)
    arrow(axes, (x, 346), (x, 372))
    total = sum(layer.macs for layer in layers) / 1e6
    text(axes, x, 392, f"{total:.1f} M multiply-adds", 16, weight="bold")


def blocks() -> Axes:
    """Draw the basic block and the bottleneck, with the cost of each convolution."""
    axes = canvas(760, 420)
    one_block(axes, 190, "basic block", "resnet18", "resnet18, resnet34")
    one_block(axes, 560, "bottleneck", "resnet50", "resnet50, resnet101, resnet152")
    axes.plot([380, 380], [30, 396], color=LINE, lw=1.3)
    return axes


def feature_map(axes: Axes, x: float, middle: float, shape: tuple[int, ...]) -> None:
    """Draw `(height, width, channels)` to scale as a cuboid centred at x."""
    side, depth = 1.9 * shape[0], shape[2] / 22
    left, top, slant = x - (side + depth) / 2, middle - side / 2, depth * 0.25
    right, bottom = left + side, top + side
    lid = [(left, top), (left + depth, top - slant)]
    lid += [(right + depth, top - slant), (right, top)]
    end = [(right, top), (right + depth, top - slant)]
    end += [(right + depth, bottom - slant), (right, bottom)]
    edge = {"ec": BLUE, "lw": 1.2, "joinstyle": "round"}
    axes.add_patch(Rectangle((left, top), side, side, fc=PALE, **edge))
    axes.add_patch(Polygon(lid, fc="white", **edge))
    axes.add_patch(Polygon(end, fc="#b9cdf4", **edge))


def stage_column(axes: Axes, x: float, stage: int) -> None:
    """Draw one stage of resnet50: its feature map, and a tile for each of its blocks."""
    layers = convolutions("resnet50", f"layer{stage}.1")
    height, width, channels = layers[-1].output_shape
    text(axes, x, 72, f"stage {stage}", 15, weight="bold")
    feature_map(axes, x, 156, layers[-1].output_shape)
    text(axes, x, 232, f"{height}{TIMES}{width}, {channels}")
    text(axes, x, 252, f"bottleneck width {layers[0].output_shape[-1]}", 13, color=MUTED)
    macs = block_macs("resnet50", stage)
    base = 520
    for index, block in enumerate(macs):
        tall = block / 1e6 * 0.14
        fill, edge = LAYER if index else PROJECTING
        tile = Rectangle((x - 55, base - tall), 110, tall - 3, fc=fill, ec=edge, lw=1.2)
        axes.add_patch(tile)
        text(axes, x, base - tall / 2 - 1.5, f"{block / 1e6:.1f} M", 13)
        base -= tall
    text(axes, x, base - 14, f"{len(macs)} blocks: {sum(macs) / 1e6:,.0f} M", 13.5, weight="bold")


def stages() -> Axes:
    """Draw the side, the width and the cost of the stages."""
    axes = canvas(760, 590)
    title = "resnet50: half the side, double the width, the same cost for each block"
    text(axes, 380, 34, title, 16, weight="bold")
    for stage in range(1, 5):
        x = 110 + 180 * (stage - 1)
        stage_column(axes, x, stage)
    legend = "multiply-adds at 224 px; orange: the block with the projection shortcut"
    text(axes, 380, 546, legend, color=MUTED)
    whole, inside = cost("resnet50").macs, sum(sum(block_macs("resnet50", s)) for s in range(1, 5))
    rest = f"stem and classifier add {(whole - inside) / 1e6:.0f} M; in all {whole / 1e6:,.0f} M"
    text(axes, 380, 568, rest, color=MUTED)
    return axes


def macs() -> Axes:
    """Draw the cost of networks, including VGG-19, as bars."""
    names = ("resnet18", "resnet34", "resnet50_v1", "resnet50", "resnet101", "resnet152", "vgg19")
    labels = {
        "resnet50_v1": "resnet50_v1 (paper)",
        "resnet50": "resnet50 (v1.5)",
        "vgg19": "VGG-19",
    }
    axes = canvas(760, 400)
    text(axes, 380, 34, f"multiply-adds for one image of 224{TIMES}224", 17, weight="bold")
    text(axes, 188, 72, "MACs", color=MUTED, ha="left")
    text(axes, 730, 72, "parameters", color=MUTED, ha="right")
    for index, name in enumerate(names):
        params, count = cost(name).params, cost(name).macs
        y, bar = 106 + 38 * index, count / cost("vgg19").macs * 330
        fill = MUTED if name == "vgg19" else BLUE
        text(axes, 176, y, labels.get(name, name), ha="right")
        axes.add_patch(Rectangle((188, y - 12), bar, 24, fc=fill))
        text(axes, 196 + bar, y, f"{count / 1e9:.2f} G", ha="left")
        text(axes, 730, y, f"{params / 1e6:.1f} M", ha="right")
    note = "1 MAC = one multiply-add = 2 FLOPs; what the paper calls FLOPs are MACs"
    text(axes, 380, 376, note, color=MUTED)
    return axes


def hero() -> Axes:
    """Draw the banner: the name, and the commands as a residual network."""
    axes = canvas(1000, 300)
    text(axes, 500, 66, "rezoo", 60, weight="bold")
    line = "residual networks for Keras 3, each claim checkable by a command"
    text(axes, 500, 122, line, 20, color=MUTED)
    y = 238
    for x, words in ((30, "name a model"), (218, "name a dataset")):
        box(axes, (x, y - 22, 156, 44), look=OTHER, radius=22)
        text(axes, x + 78, y, words, 16)
    plus(axes, 202, y, 10)
    arrow(axes, (374, y), (430, y))
    for x, words in ((430, "train"), (610, "eval"), (790, "predict")):
        box(axes, (x, y - 22, 100, 44), radius=9)
        text(axes, x + 50, y, words, 18, weight="bold")
        arrow(axes, (x + 100, y), (x + 180, y))
        arc(axes, x - 27, x + 127, y)
    return axes


PICTURES = (residual_block, blocks, stages, macs, hero)


def write(draw: Callable[[], Axes], path: str | Path, style: Mapping[str, Any]) -> None:
    """Draw a picture and write it as SVG, with the same bytes each time."""
    with matplotlib.rc_context(dict(style)):
        metadata = {"Date": None, "Creator": None}
        draw().figure.savefig(Path(path), metadata=metadata, transparent=True)
    print(path)


def main(folder: str = "images") -> None:
    """Write all pictures as SVG into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for draw in PICTURES:
        write(draw, Path(folder, draw.__name__.replace("_", "-")).with_suffix(".svg"), STYLE)


if __name__ == "__main__":
    main(*sys.argv[1:])
