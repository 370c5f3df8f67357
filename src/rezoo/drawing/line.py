"""The line of layers of a network, and what goes around it: shortcuts and gates.

The line goes from the image to the output through the longest branch of each sum, and through the
first of branches that are concatenated. What leaves it and comes back is a bypass, or beside it.
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
        beside: Layers of the same kernel and width, whose channels are joined with its own.
    """

    cost: LayerCost
    kernel: int
    head: bool
    beside: tuple[LayerCost, ...] = ()

    @property
    def costs(self) -> tuple[LayerCost, ...]:
        """Its cost, and that of each layer beside it."""
        return (self.cost, *self.beside)

    @property
    def channels(self) -> int:
        """Channels of its output, and of those beside it."""
        return sum(cost.output_shape[-1] for cost in self.costs)

    @property
    def text(self) -> str:
        """The layer in the notation of the paper: `3×3, 64`, or `2 × (3×3, 64)`."""
        own = self.cost.text
        return f"{len(self.costs)} × ({own})" if self.beside else own

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
        "VGG; branches may be added to the others as shortcuts, multiplied as gates, or "
        "concatenated if their convolutions are of one shape.",
    )


def _inputs(operation: Any) -> list[Any]:
    if isinstance(operation, keras.layers.InputLayer):
        return []
    found: list[Any] = keras.tree.flatten(operation.input)
    return found


def find_line(model: keras.Model, costs: Mapping[str, LayerCost]) -> list[Any]:
    """Return the operations from the input to the output, by one branch of each merge."""
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
        if len(inputs) > 1 and type(operation).__name__ not in _MERGES and not _is_join(operation):
            raise refusal(model.name, f"{operation.name} joins branches that are not added")
        if _is_join(operation):
            inputs = inputs[:1]
        tensor = max(inputs, key=lambda x: (_elements(x), depth[id(x)]), default=None)
    return line[::-1]


def _is_join(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Concatenate)


def _elements(tensor: Any) -> int:
    return math.prod(side or 1 for side in tensor.shape[1:])


def find_bypasses(name: str, line: Sequence[Any], costs: Mapping[str, LayerCost]) -> list[Bypass]:
    """Return the shortcuts and gates of the operations of a line; see `find_line`."""
    merges = [op for op in line if len(_inputs(op)) > 1 and not _is_join(op)]
    found = (_bypass(name, line, merge, costs) for merge in merges)
    return [bypass for bypass in found if bypass is not None]


def _bypass(
    name: str, line: Sequence[Any], merge: Any, costs: Mapping[str, LayerCost]
) -> Bypass | None:
    """Return what a merge adds to the line or multiplies it with; None without layers between."""
    end = line.index(merge)
    starts, own = _branches(line, merge, costs)
    counted = [i for i, op in enumerate(line) if op.name in costs and costs[op.name].macs]
    around = [n for n, i in enumerate(counted) if starts and min(starts) < i < end]
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
        layers=own,
        changes=bool(own) or shapes[0] != shapes[1],
    )


def _branches(
    line: Sequence[Any], merge: Any, costs: Mapping[str, LayerCost]
) -> tuple[set[int], tuple[LayerCost, ...]]:
    """Return where the other branches of a merge leave the line, and their layers with weights."""
    place = {id(op.output): index for index, op in enumerate(line)}
    before = line[line.index(merge) - 1].output
    made = {id(merge.output): merge}
    branch: list[Any] = []
    waiting = [tensor for tensor in _inputs(merge) if tensor is not before]
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
    own = [costs[op.name] for op in branch if op.name in costs and costs[op.name].macs]
    return starts, tuple(own[::-1])


def find_beside(
    name: str, line: Sequence[Any], costs: Mapping[str, LayerCost]
) -> dict[str, tuple[LayerCost, ...]]:
    """Return the layers beside those of a line, by the names of the latter; see `find_line`."""
    beside = {}
    for end, join in ((i, op) for i, op in enumerate(line) if _is_join(op)):
        starts, others = _branches(line, join, costs)
        inside = line[min(starts, default=end) + 1 : end]
        own = [costs[op.name] for op in inside if op.name in costs and costs[op.name].macs]
        if len(own) != 1 or {cost.text for cost in others} - {own[0].text}:
            raise refusal(name, f"{join.name} joins convolutions of several shapes")
        if not others and join.output.shape[-1] > line[min(starts)].output.shape[-1]:
            raise refusal(name, f"{join.name} adds channels to those before it")
        beside[own[0].name] = others
    return beside


def main_layers(
    line: Sequence[Any],
    costs: Mapping[str, LayerCost],
    beside: Mapping[str, tuple[LayerCost, ...]],
) -> list[MainLayer]:
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
        others = beside.get(operation.name, ())
        own_head = head and _is_flat(cost)
        layers.append(MainLayer(cost=cost, kernel=kernel, head=own_head, beside=others))
    return layers[::-1]


def _is_flat(cost: LayerCost) -> bool:
    return len(cost.output_shape) == 1 or tuple(cost.output_shape[:2]) == (1, 1)
