"""What the name of a layer says: head, stage and block. The names are timm's.

| networks                           | head      | a block               | its stage  |
|------------------------------------|-----------|-----------------------|------------|
| ResNets and their variants, plain  | `fc`      | `layer1.0`            | `layer1`   |
| pre-activation networks, ConvNeXt  | `head.fc` | `stages.0.blocks.0`   | `stages.0` |
| RegNets                            | `head.fc` | `s1.b1`               | `s1`       |
"""

from __future__ import annotations

import re

import keras

HEADS = ("fc", "head.fc")  # the last linear layer, which is replaced for other classes
HEAD_PREFIXES = tuple(f"{name}." for name in HEADS)  # of its tensors
_STAGE = re.compile(r"(layer\d+|stages\.\d+|s\d+)\.")
_BLOCK = re.compile(r"(layer\d+\.\d+|stages\.\d+\.blocks\.\d+|s\d+\.b\d+)\.")


def head_of(model: keras.Model) -> keras.layers.Dense | None:
    """Return the head of a network, or None: it gives features, or has names of its own."""
    named = (layer for layer in model.layers if layer.name in HEADS)
    return next((layer for layer in named if isinstance(layer, keras.layers.Dense)), None)


def stage_of(name: str) -> str:
    """Return the stage that a layer belongs to; empty for stem, final layers and other names."""
    found = _STAGE.match(name)
    return found[1] if found else ""


def block_of(name: str) -> str:
    """Return the block that a layer belongs to; empty for a layer outside blocks."""
    found = _BLOCK.match(name)
    return found[1] if found else ""


def numbers(block: str) -> str:
    """Return the numbers in the name of a block: `1.0` for `layer1.0`."""
    return ".".join(re.findall(r"\d+", block))
