"""A network cut before and after each of its blocks, as models over the same layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.factory import deep_graphs

Shortcut = Literal["identity", "padding", "projection", "none"]
_NAME = re.compile(r"(layer\d+\.\d+)\.")  # rezoo's and timm's names of layers


@dataclass(frozen=True, eq=False)
class Block:
    """A block of a network.

    Attributes:
        name: What the names of its layers begin with: `layer1.0`.
        shortcut: `"identity"`; `"padding"`: pixels are left out, and channels of zeros added;
            `"projection"`: it has weights; or `"none"` in a plain network.
        whole: The block, from `(N, h, w, C)` to `(N, h', w', C')`.
        without: The block without its residual branch: shortcut and activation. None if there is
            no shortcut.
        removable: Whether the output can have the shape of the input, or there is a shortcut.
    """

    name: str
    shortcut: Shortcut
    whole: keras.Model
    without: keras.Model | None
    removable: bool


@dataclass(frozen=True, eq=False)
class Parts:
    """A network in parts, each of which takes the output of the one before.

    Attributes:
        stem: From images to the input of the first block.
        blocks: The blocks in their order.
        head: From the output of the last block to logits.
    """

    stem: keras.Model
    blocks: tuple[Block, ...]
    head: keras.Model


def cut_at_blocks(network: keras.Model) -> Parts:
    """Cut a functional model whose layers have the names of rezoo's ResNets.

    The parts share the layers, and so the weights, of the network.

    Raises:
        IncompatibleError: The network has no such blocks, or other layers in between.
    """
    layers = {layer.name: layer for layer in network.layers}
    names = dict.fromkeys(found[1] for name in layers if (found := _NAME.match(name)))
    what = f"the network {network.name} has no blocks that can be taken out"
    if not names:
        raise IncompatibleError(
            f"{what}: no layer is named as in layer1.0.conv1",
            hint="examine a ResNet or a plain network of rezoo, not nested in another model.",
        )
    try:
        with deep_graphs():
            blocks = tuple(_block(layers, name) for name in names)
            starts = [_start(layers, name) for name in names]
            ends = [layers[f"{name}.act"].output for name in names]
            if any(start is not end for start, end in zip(starts[1:], ends[:-1], strict=True)):
                raise IncompatibleError(f"{what}: they are not one after another")
            stem = keras.Model(network.inputs[0], starts[0], name="stem")
            head = keras.Model(ends[-1], network.outputs[0], name="head")
            return Parts(stem, blocks, head)
    except (KeyError, ValueError) as error:
        raise IncompatibleError(
            f"{what}: they are built otherwise than rezoo's",
            hint="rezoo.models.layers has the blocks that can be examined.",
        ) from error


def _block(layers: dict[str, Any], name: str) -> Block:
    start, activation = _start(layers, name), layers[f"{name}.act"]
    whole = keras.Model(start, activation.output, name=name)
    add = layers.get(f"{name}.add")
    if add is None:
        return Block(name, "none", whole, None, not _changes_shape(whole))
    _, skipped = add.input
    without = keras.Model(start, activation(skipped), name=f"{name}.without")
    if skipped is start:
        return Block(name, "identity", whole, without, True)
    return Block(name, "projection" if without.weights else "padding", whole, without, True)


def _start(layers: dict[str, Any], name: str) -> Any:
    """Return the tensor that is the input of a block."""
    first = layers.get(f"{name}.conv1.pad") or layers[f"{name}.conv1"]
    return first.input


def _changes_shape(block: keras.Model) -> bool:
    if block.input_shape[-1] != block.output_shape[-1]:
        return True
    # sides may be unknown
    return any(max(getattr(layer, "strides", (1,))) > 1 for layer in block.layers)
