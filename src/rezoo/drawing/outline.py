"""What a picture of a network shows, read from its graph: its layers in blocks and stages.

Names of layers only separate blocks and stages that no sum and no size of the maps separates, as in
plain networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import keras

from rezoo.drawing.line import (
    Bypass,
    MainLayer,
    find_beside,
    find_bypasses,
    find_line,
    main_layers,
    refusal,
)
from rezoo.models.profile import LayerCost, Profile, profile


@dataclass(frozen=True, kw_only=True)
class DrawnBlock:
    """Consecutive layers of the line with a shortcut around them, or with a common prefix.

    Attributes:
        layers: The layers with weights.
        bypasses: Shortcut and gates; their indices count from the first layer of the block.
    """

    layers: tuple[MainLayer, ...]
    bypasses: tuple[Bypass, ...]

    @property
    def shortcut(self) -> Bypass | None:
        """The shortcut; None in a plain network."""
        return next((found for found in self.bypasses if found.kind == "sum"), None)

    @property
    def costs(self) -> tuple[LayerCost, ...]:
        """All layers with weights, those of bypasses last."""
        on_line = tuple(cost for layer in self.layers for cost in layer.costs)
        return on_line + tuple(cost for bypass in self.bypasses for cost in bypass.layers)

    @property
    def texts(self) -> tuple[str, ...]:
        """The layers in the notation of the paper."""
        return tuple(layer.text for layer in self.layers)


@dataclass(frozen=True, kw_only=True)
class DrawnStage:
    """Consecutive blocks with maps of one size.

    Attributes:
        role: `"stem"`, `"stage"` or `"head"`.
        size: Height and width of the maps.
        blocks: The blocks.
    """

    role: Literal["stem", "stage", "head"]
    size: tuple[int, int]
    blocks: tuple[DrawnBlock, ...]

    @property
    def layers(self) -> tuple[MainLayer, ...]:
        """The layers with weights on the line."""
        return tuple(layer for block in self.blocks for layer in block.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds, including those of bypasses."""
        return sum(cost.macs for block in self.blocks for cost in block.costs)

    @property
    def runs(self) -> list[tuple[tuple[str, ...], int]]:
        """Texts of the layers of consecutive equal blocks, and the number of these blocks."""
        return [(texts, len(list(run))) for texts, run in groupby(b.texts for b in self.blocks)]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A network as a stack of stages.

    Attributes:
        name: Of the network.
        profile: The cost of all layers.
        line: Convolutions, fully connected layers and pooling from the image to the output.
        stages: The same in stages, without pooling.
    """

    name: str
    profile: Profile
    line: tuple[MainLayer, ...]
    stages: tuple[DrawnStage, ...]


def outline(model: keras.Model) -> Outline:
    """Read the line of layers, the blocks and the stages of a functional model.

    Args:
        model: A functional model with an input `(height, width, channels)` of a fixed size.

    Raises:
        IncompatibleError: The model is no stack of stages.
    """
    if not getattr(model, "outputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise refusal(model.name, "it is no functional model with one input and one output")
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        raise refusal(model.name, "one of its layers is a model itself")
    found = profile(model, input_shape=tuple(model.input_shape[1:]))
    costs = {layer.name: layer for layer in found.layers}
    operations = find_line(model, costs)
    bypasses = find_bypasses(model.name, operations, costs)
    beside = find_beside(model.name, operations, costs)
    off_line = [*(bypass.layers for bypass in bypasses), *beside.values()]
    covered = {cost.name for several in off_line for cost in several}
    covered |= {operation.name for operation in operations}
    if left := [layer.name for layer in found.layers if layer.macs and layer.name not in covered]:
        raise refusal(model.name, f"the layer {left[0]} is in a branch beside the others")
    line = main_layers(operations, costs, beside)
    counted = [layer for layer in line if layer.counted]
    if not counted or len(counted[0].cost.output_shape) != 3:
        raise refusal(model.name, "it does not begin with a convolution")
    return Outline(
        name=model.name,
        profile=found,
        line=tuple(line),
        stages=tuple(_stages(_blocks(counted, bypasses))),
    )


def _blocks(counted: Sequence[MainLayer], bypasses: Sequence[Bypass]) -> list[DrawnBlock]:
    """Group layers by the shortcut around them, else by the prefix of their names."""
    sums = [bypass for bypass in bypasses if bypass.kind == "sum"]

    def key(index: int) -> tuple[Any, ...]:
        around = [b for b in sums if b.first <= index <= b.last]
        if around:
            return ("sum", max(b.first for b in around))
        layer = counted[index]
        return (layer.head, layer.cost.name.rpartition(".")[0], layer.size)

    blocks = []
    for _, indices in groupby(range(len(counted)), key):
        first, *_, last = [*indices] * 2
        inside = [b for b in bypasses if first <= b.first <= b.last <= last]
        moved = [replace(b, first=b.first - first, last=b.last - first) for b in inside]
        layers = tuple(counted[first : last + 1])
        blocks.append(DrawnBlock(layers=layers, bypasses=tuple(moved)))
    return blocks


def _stages(blocks: Iterable[DrawnBlock]) -> list[DrawnStage]:
    """Group blocks by the size of their maps and the first part of their names."""

    def key(block: DrawnBlock) -> tuple[Any, ...]:
        layer = block.layers[-1]
        if layer.head:
            return (True,)
        prefix, dot, _ = layer.cost.name.partition(".")
        return (False, prefix if dot else "", layer.size)

    groups = [(name, tuple(run)) for name, run in groupby(blocks, key)]
    stages = []
    for index, (name, run) in enumerate(groups):
        following = groups[index + 1][0][1:2] if index + 1 < len(groups) else ()
        first = index == 0 and following and following != name[1:2]
        role: Literal["stem", "stage", "head"] = "stem" if first else "stage"
        if name[0]:
            role = "head"
        stages.append(DrawnStage(role=role, size=run[-1].layers[-1].size, blocks=run))
    return stages
