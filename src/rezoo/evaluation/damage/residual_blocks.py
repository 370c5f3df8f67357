"""A network cut before and after each of its blocks, as models over the same layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.factory import deep_graphs
from rezoo.models.naming import block_of

Shortcut = Literal["identity", "padding", "projection", "none"]


@dataclass(frozen=True, eq=False)
class Block:
    """A block of a network.

    Attributes:
        name: What the names of its layers begin with, as in `rezoo.models.naming`.
        shortcut: `"identity"`; `"padding"`: pixels are left out, and channels of zeros added;
            `"projection"`: it has weights; or `"none"` in a plain network.
        whole: The block, from `(N, h, w, C)` to `(N, h', w', C')`.
        without: The block without its residual branch: shortcut and activation. None if nothing is
            left, because the shortcut is the identity without activation, or there is none.
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
    """Cut a functional model whose layers have the names of rezoo's residual networks.

    The parts share the layers, and so the weights, of the network.

    Raises:
        IncompatibleError: The network has no such blocks, or other layers in between.
    """
    named = [(name, layer) for layer in network.layers if (name := block_of(layer.name))]
    layers: dict[str, list[Any]] = {name: [] for name, _ in named}
    for name, layer in named:
        layers[name].append(layer)
    what = f"the network {network.name} has no blocks that can be taken out"
    if not layers:
        raise IncompatibleError(
            f"{what}: no layer is named as in layer1.0.conv1 or stages.0.blocks.0.conv1",
            hint="examine a residual or a plain network of rezoo, not nested in another model.",
        )
    try:
        with deep_graphs():
            blocks = tuple(_block(name, members) for name, members in layers.items())
            starts = [members[0].input for members in layers.values()]
            ends = [members[-1].output for members in layers.values()]
            if any(start is not end for start, end in zip(starts[1:], ends[:-1], strict=True)):
                raise IncompatibleError(f"{what}: they are not one after another")
            stem = keras.Model(network.inputs[0], starts[0], name="stem")
            head = keras.Model(ends[-1], network.outputs[0], name="head")
            return Parts(stem, blocks, head)
    except ValueError as error:
        raise IncompatibleError(
            f"{what}: they are built otherwise than rezoo's",
            hint="rezoo.models.layers has the blocks that can be examined.",
        ) from error


def _block(name: str, layers: list[Any]) -> Block:
    """Return the block of some layers, which are in the order of the network."""
    start, last = layers[0].input, layers[-1]
    whole = keras.Model(start, last.output, name=name)
    add = next((layer for layer in layers if layer.name == f"{name}.add"), None)
    if add is None:
        return Block(name, "none", whole, None, not _changes_shape(whole))
    _, skipped = add.input
    if last is add and skipped is start:  # nothing follows the sum
        return Block(name, "identity", whole, None, True)
    rest = skipped if last is add else last(skipped)
    without = keras.Model(start, rest, name=f"{name}.without")
    if skipped is start:
        return Block(name, "identity", whole, without, True)
    return Block(name, "projection" if without.weights else "padding", whole, without, True)


def _changes_shape(block: keras.Model) -> bool:
    if block.input_shape[-1] != block.output_shape[-1]:
        return True
    # sides may be unknown
    return any(max(getattr(layer, "strides", (1,))) > 1 for layer in block.layers)
