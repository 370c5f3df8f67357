"""Residual networks made of parts that a config names, and the specs of their families.

A network is a stem, stages of blocks and a head. What the families of ResNets differ in are the
parts: see `parts` for their names. Loads without Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

NamedPart = str | tuple[str, Mapping[str, Any]]
"""Key of a part, or its key and options."""


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: Sequence[int],
    blocks: Sequence[tuple[str, int]],
    stem: tuple[str, Sequence[int]] = ("plain", (64,)),
    pool: NamedPart = "max",
    shortcut: NamedPart = "projection",
    norm: NamedPart = "batch",
    stochastic_depth: float = 0.0,
    seed: int = 0,
    **block_parts: Any,
) -> keras.Model:
    """Build a residual network.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`.
        num_classes: Width of the head.
        classifier_activation: Activation after the logits, or None.
        depths: Number of blocks of each stage.
        blocks: Key of `parts.BLOCKS` and width, for each stage.
        stem: Key of `parts.STEMS` and the widths of its convolutions.
        pool: What follows the stem, of `parts.POOLS`.
        shortcut: Of `parts.SHORTCUTS`.
        norm: Normalization of the whole network, of `parts.NORMS`.
        stochastic_depth: Probability to drop the residual branch of the last block.
        seed: Seed of stochastic depth.
        **block_parts: Further arguments of the blocks: `attention` of `parts.ATTENTIONS`,
            `antialias` of `parts.ANTIALIASING`, and numbers such as `groups`.
    """
    import keras

    from rezoo.models import layers, parts
    from rezoo.models.drop_path import drop_paths

    residual_blocks = 0 if shortcut == "none" else sum(depths)
    drops = iter(drop_paths(stochastic_depth, blocks=residual_blocks, seed=seed))
    normalize = parts.part(parts.NORMS, norm)
    kind, widths = stem
    inputs = keras.Input(input_shape, name="image")
    x = parts.STEMS[kind](inputs, *widths, norm=normalize)
    x = parts.part(parts.POOLS, pool)(x, norm=normalize)  # most: (N, H/4, W/4, widths[-1])
    shared = {
        "norm": normalize,
        "shortcut": parts.part(parts.SHORTCUTS, shortcut),
        **parts.of_block(block_parts),
    }
    for stage, ((block, width), depth) in enumerate(zip(blocks, depths, strict=True), start=1):
        for index in range(depth):
            x = parts.BLOCKS[block](
                x,
                width,
                stride=2 if stage > 1 and index == 0 else 1,
                drop_path=next(drops, None),
                name=f"layer{stage}.{index}",
                **shared,
            )
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(inputs, outputs, name=name)


class Style(NamedTuple):
    """What members of different depths share.

    Attributes:
        words: Its words in the summary.
        source: Paper and section.
        config: Arguments of `build`.
        in_timm: Whether timm has networks of this style.
    """

    words: str
    source: str
    config: Mapping[str, Any]
    in_timm: bool = True


def member(
    name: str,
    body: Mapping[str, Any],
    *styles: Style,
    family: str,
    layers: int,
    params: int,
    macs: int,
    image_size: int = 224,
    build: Callable[..., keras.Model] = build,
    num_classes: int = 1000,
) -> ModelSpec:
    """Return the spec of a member of a family.

    Args:
        name: Name of the architecture.
        body: Its `depths` and `blocks`.
        *styles: What it shares with other members; a later one overrides an earlier one.
        family: Name of the family.
        layers: Number of layers with weights, for the summary.
        params: Trainable parameters for `num_classes` classes.
        macs: Multiply-adds for one image of `image_size` pixels.
        image_size: Height and width that published figures assume.
        build: Builds the network from `body` and the styles.
        num_classes: Number of classes that they assume.
    """
    config = dict(body)
    for style in styles:
        config |= style.config
    return ModelSpec(
        name=name,
        build=build,
        config=config,
        family=family,
        summary=", ".join(filter(None, (f"{layers} layers", *(s.words for s in styles)))),
        source="; ".join(dict.fromkeys(style.source for style in styles)),
        image_size=image_size,
        num_classes=num_classes,
        params=params,
        macs=macs,
        in_timm=all(style.in_timm for style in styles),
    )


def stages(block: str) -> tuple[tuple[str, int], ...]:
    """Return four stages of a block, of the widths of arXiv:1512.03385, table 1."""
    return tuple((block, width) for width in (64, 128, 256, 512))


BASIC, BOTTLENECK = stages("basic"), stages("bottleneck")
R18 = {"depths": (2, 2, 2, 2), "blocks": BASIC}
R26 = {"depths": (2, 2, 2, 2), "blocks": BOTTLENECK}
R34 = {"depths": (3, 4, 6, 3), "blocks": BASIC}
R50 = {"depths": (3, 4, 6, 3), "blocks": BOTTLENECK}
R101 = {"depths": (3, 4, 23, 3), "blocks": BOTTLENECK}
R152 = {"depths": (3, 8, 36, 3), "blocks": BOTTLENECK}
R200 = {"depths": (3, 24, 36, 3), "blocks": BOTTLENECK}
R269 = {"depths": (3, 30, 48, 8), "blocks": BOTTLENECK}

PAPER = "He et al. 2015, arXiv:1512.03385, table 1"
TRICKS = "He et al. 2018, arXiv:1812.01187, figure 2"
PLAIN = Style("", PAPER, {})
V15 = Style("", f"{PAPER}; stride in the 3x3 (v1.5)", {})
D = Style(
    "deep stem, pooled shortcuts",
    f"{TRICKS} (ResNet-D)",
    {"stem": ("deep", (32, 32, 64)), "shortcut": "pooled"},
)
T = Style(
    "tiered stem, pooled shortcuts",
    f"{TRICKS} (ResNet-D); stem widths of timm",
    {"stem": ("deep", (24, 32, 64)), "shortcut": "pooled"},
)
SE = Style(
    "squeeze and excitation", "Hu et al. 2017, arXiv:1709.01507, section 3", {"attention": "se"}
)


def grouped(groups: int, width: int) -> Style:
    """Return the style of a ResNeXt, whose first stage has groups of `width` channels."""
    return Style(
        f"{groups} groups of {width}",
        "Xie et al. 2016, arXiv:1611.05431, table 1",
        {"groups": groups, "base_width": width},
    )
