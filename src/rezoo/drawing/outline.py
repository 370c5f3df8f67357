"""What a picture of a network shows, read from its graph: its line of layers in blocks and stages.

The line goes from the image to the output through the longest branch of each sum. What leaves it
and comes back, a shortcut or a gate, is a bypass. Names of layers only separate blocks and stages
that no sum and no size of the maps separates, as in plain networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.profile import LayerCost, Profile, profile

_MERGES = {"Add": "sum", "Multiply": "product"}  # classes of layers and of operations


@dataclass(frozen=True, kw_only=True)
class MainLayer:
    """A convolution, fully connected layer or pooling on the line of layers.

    Attributes:
        cost: Its cost for one image.
        kernel: Side of its kernel; 1 for a fully connected layer.
        head: Whether it is fully connected, or a pooling that follows the last block.
    """

    cost: LayerCost
    kernel: int
    head: bool

    @property
    def counted(self) -> bool:
        """Whether it has weights: one of the layers that the name of a network counts."""
        return self.cost.macs > 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its output; 1, 1 behind the pooling over all positions."""
        shape = self.cost.output_shape
        return (shape[0], shape[1]) if len(shape) == 3 else (1, 1)


@dataclass(frozen=True, kw_only=True)
class Bypass:
    """A shortcut or a gate around consecutive layers of the line.

    Attributes:
        kind: `"sum"` for a shortcut, `"product"` for a gate such as squeeze-and-excitation.
        first: Index of the first counted layer that it goes around, or that a gate multiplies.
        last: Index of the last one.
        layers: Its own layers with weights.
        changes: Whether a shortcut is no identity: it changes the number of pixels or channels.
    """

    kind: Literal["sum", "product"]
    first: int
    last: int
    layers: tuple[LayerCost, ...]
    changes: bool


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
        return tuple(x.cost for x in self.layers) + tuple(
            x for b in self.bypasses for x in b.layers
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The layers in the notation of the paper."""
        return tuple(layer.cost.text for layer in self.layers)


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
        raise _other(model.name, "it is no functional model with one input and one output")
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        raise _other(model.name, "one of its layers is a model itself")
    found = profile(model, input_shape=tuple(model.input_shape[1:]))
    costs = {layer.name: layer for layer in found.layers}
    operations = _line(model, costs)
    sums = [_bypass(model.name, operations, merge, costs) for merge in _merges(operations)]
    bypasses = [bypass for bypass in sums if bypass is not None]
    covered = {cost.name for bypass in bypasses for cost in bypass.layers}
    covered |= {operation.name for operation in operations}
    if left := [layer.name for layer in found.layers if layer.macs and layer.name not in covered]:
        raise _other(model.name, f"the layer {left[0]} is in a branch beside the others")
    line = _main_layers(operations, costs)
    counted = [layer for layer in line if layer.counted]
    if not counted or len(counted[0].cost.output_shape) != 3:
        raise _other(model.name, "it does not begin with a convolution")
    return Outline(
        name=model.name,
        profile=found,
        line=tuple(line),
        stages=tuple(_stages(_blocks(counted, bypasses))),
    )


def _other(name: str, why: str) -> IncompatibleError:
    return IncompatibleError(
        f"{name} cannot be drawn: {why}",
        hint="networks can be drawn whose convolutions follow one another, as in a ResNet or a "
        "VGG; branches may only be added to the others as shortcuts, or multiplied as gates.",
    )


def _inputs(operation: Any) -> list[Any]:
    if isinstance(operation, keras.layers.InputLayer):
        return []
    found: list[Any] = keras.tree.flatten(operation.input)
    return found


def _line(model: keras.Model, costs: dict[str, LayerCost]) -> list[Any]:
    """Return the operations from the input to the output, by the longest branch of each merge."""
    depth: dict[int, int] = {}
    made = {}
    for operation in model.operations:  # inputs come before what reads them
        own = bool(costs[operation.name].macs) if operation.name in costs else False
        before = max((depth[id(tensor)] for tensor in _inputs(operation)), default=0)
        for tensor in keras.tree.flatten(operation.output):
            depth[id(tensor)], made[id(tensor)] = before + own, operation
    tensor, line = model.outputs[0], []
    while tensor is not None:
        operation = made[id(tensor)]
        line.append(operation)
        inputs = _inputs(operation)
        if len(inputs) > 1 and type(operation).__name__ not in _MERGES:
            raise _other(model.name, f"{operation.name} joins branches that are not added")
        by_size_and_depth = [(_elements(x), depth[id(x)]) for x in inputs]
        tensor = inputs[by_size_and_depth.index(max(by_size_and_depth))] if inputs else None
    return line[::-1]


def _elements(tensor: Any) -> int:
    product = 1
    for side in tensor.shape[1:]:
        product *= side or 1
    return product


def _merges(line: Sequence[Any]) -> list[Any]:
    return [operation for operation in line if len(_inputs(operation)) > 1]


def _bypass(
    name: str, line: Sequence[Any], merge: Any, costs: dict[str, LayerCost]
) -> Bypass | None:
    """Return what a merge adds to the line or multiplies it with; None without layers between."""
    place = {id(op.output): index for index, op in enumerate(line)}
    end = line.index(merge)
    made = {id(merge.output): merge}
    branch: list[Any] = []
    waiting = [tensor for tensor in _inputs(merge) if tensor is not line[end - 1].output]
    starts = set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in place:
            starts.add(place[id(tensor)])
        elif id(tensor) not in made:
            operation = tensor._keras_history.operation
            made[id(tensor)] = operation
            branch.append(operation)
            waiting += _inputs(operation)
    counted = [i for i, op in enumerate(line) if op.name in costs and costs[op.name].macs]
    around = [n for n, i in enumerate(counted) if starts and min(starts) < i < end]
    own = tuple(costs[op.name] for op in branch if op.name in costs and costs[op.name].macs)
    kind = _MERGES[type(merge).__name__]
    if kind == "sum" and (len(own) > 1 or len(starts) != 1):
        raise _other(name, f"{merge.name} adds branches of several convolutions")
    if kind == "product" and not around:  # a gate reads the layer that it multiplies
        around = [n for n, i in enumerate(counted) if i < end][-1:]
    if not around:
        return None
    shapes = (line[min(starts)].output.shape, merge.output.shape)
    return Bypass(
        kind="sum" if kind == "sum" else "product",
        first=around[0],
        last=around[-1],
        layers=own[::-1],
        changes=bool(own) or shapes[0] != shapes[1],
    )


def _main_layers(line: Sequence[Any], costs: dict[str, LayerCost]) -> list[MainLayer]:
    """Return the layers of the line with weights, and pooling; the head is found from the end."""
    layers, head = [], True
    for operation in reversed(line):
        cost = costs.get(operation.name)
        if cost is None or not cost.text:
            continue
        (kernel, *_) = getattr(operation, "kernel_size", None) or (1,)
        if cost.macs:
            before = operation.input.shape
            whole = len(before) == 2 or tuple(before[1:3]) == tuple(operation.kernel_size)
            head = head and whole and _is_flat(cost)
        layers.append(MainLayer(cost=cost, kernel=kernel, head=head and _is_flat(cost)))
    return layers[::-1]


def _is_flat(cost: LayerCost) -> bool:
    return len(cost.output_shape) == 1 or tuple(cost.output_shape[:2]) == (1, 1)


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
        moved = [
            Bypass(
                kind=b.kind,
                first=b.first - first,
                last=b.last - first,
                layers=b.layers,
                changes=b.changes,
            )
            for b in inside
        ]
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
