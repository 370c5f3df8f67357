"""The line of layers of a network, and what goes around it: shortcuts and gates.

The line goes from the image to the output through the longest branch of each sum. What leaves it
and comes back is a bypass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.profile import LayerCost

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


def refusal(name: str, why: str) -> IncompatibleError:
    """Return the error for a network that cannot be drawn."""
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


def find_line(model: keras.Model, costs: Mapping[str, LayerCost]) -> list[Any]:
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
            raise refusal(model.name, f"{operation.name} joins branches that are not added")
        by_size_and_depth = [(_elements(x), depth[id(x)]) for x in inputs]
        tensor = inputs[by_size_and_depth.index(max(by_size_and_depth))] if inputs else None
    return line[::-1]


def _elements(tensor: Any) -> int:
    return math.prod(side or 1 for side in tensor.shape[1:])


def find_bypasses(name: str, line: Sequence[Any], costs: Mapping[str, LayerCost]) -> list[Bypass]:
    """Return the shortcuts and gates of the operations of a line; see `find_line`."""
    merges = [operation for operation in line if len(_inputs(operation)) > 1]
    found = (_bypass(name, line, merge, costs) for merge in merges)
    return [bypass for bypass in found if bypass is not None]


def _bypass(
    name: str, line: Sequence[Any], merge: Any, costs: Mapping[str, LayerCost]
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
        raise refusal(name, f"{merge.name} adds branches of several convolutions")
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


def main_layers(line: Sequence[Any], costs: Mapping[str, LayerCost]) -> list[MainLayer]:
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
