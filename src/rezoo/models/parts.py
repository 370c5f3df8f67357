"""The parts of residual networks by the names that specs use, so that specs load without Keras.

A config names a part by its key, or by its key and options: `"se"`, `("se", {"ratio": 0.25})`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rezoo.models import antialiasing, attention, blocks, layers, shortcuts, stems
from rezoo.models.res2net import res2net_block
from rezoo.models.resnest import split_attention_block
from rezoo.models.sknet import selective_basic_block, selective_bottleneck_block

Part = Callable[..., Any]

NORMS: dict[str, Part] = {"batch": layers.norm, "group": layers.group_norm}
STEMS: dict[str, Part] = {
    "plain": stems.plain_stem,
    "deep": stems.deep_stem,
    "small": stems.small_stem,
}
POOLS: dict[str, Part] = {
    "max": stems.max_pooling,
    "none": stems.no_pooling,
    "average": stems.average_pooling,
    "blur": stems.blurred_max_pooling,
    "convolution": stems.convolution_pooling,
}
SHORTCUTS: dict[str, Part] = {
    "projection": shortcuts.projection_shortcut,
    "projection_everywhere": shortcuts.projection_everywhere,
    "pooled": shortcuts.pooled_shortcut,
    "padded": shortcuts.padded_shortcut,
    "none": shortcuts.no_shortcut,
}
BLOCKS: dict[str, Part] = {
    "basic": blocks.basic_block,
    "bottleneck": blocks.bottleneck_block,
    "bottleneck_v1": partial(blocks.bottleneck_block, stride_in="1x1"),
    "res2net": res2net_block,
    "split_attention": split_attention_block,
    "selective_basic": selective_basic_block,
    "selective_bottleneck": selective_bottleneck_block,
}
ATTENTIONS: dict[str, Part] = {
    "se": attention.squeeze_excite,
    "eca": attention.efficient_channel_attention,
}
ANTIALIASING: dict[str, Part] = {"average": antialiasing.average, "blur": antialiasing.blur}


def part(table: Mapping[str, Part], named: str | tuple[str, Mapping[str, Any]]) -> Part:
    """Return a part by its key, or by its key and options."""
    if isinstance(named, str):
        return table[named]
    key, options = named
    return partial(table[key], **options)


def of_block(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a block with the parts that they name."""
    tables = {"attention": ATTENTIONS, "antialias": ANTIALIASING}
    return {
        key: part(tables[key], value) if key in tables else value for key, value in config.items()
    }
