"""A network as a list of nodes with their weights, batch normalization folded.

The writers of formats read it. Weights are NumPy arrays, zero padding is a property of convolutions
and poolings, and layers for training only are absent. Folding multiplies the weights of a
convolution by the factor of the normalization after it, f = gamma / sqrt(variance + eps); the bias
becomes (bias - mean) f + beta.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from rezoo.exporters.formats import INPUT, UNKNOWN
from rezoo.exporters.layer_readers import read_layer

SHORTEST = 1e-12  # length of features by which they are divided, at least


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation on tensors `(N, H, W, C)`.

    Attributes:
        name: Name of the layer, and of its output.
        kind: conv, channel_conv, dense, affine, group_norm, layer_norm, evo_norm, relu, add,
            multiply, concatenate, slice, sum_parts, softmax_parts, max_pool, average_pool,
            global_average_pool, pad, reflect, pad_channels, activation, energy, similarity, or
            keras: any other layer.
        inputs: Names of nodes, or `INPUT`.
        weights: conv: `kernel` (H, W, C / groups, filters) and `bias`; dense: `kernel` (C,
            units) and `bias`; channel_conv: `kernel` (width, 1, 1); affine, the norms and
            evo_norm: `scale` and `offset`, evo_norm `gate` too; similarity: `means` (C, classes),
            of length 1. float32.
        options: stride, pool, dilation (all (H, W)), padding (top, bottom, left, right), groups,
            filters, ceil, keepdims, epsilon, start, size, parts, function, temperature; threshold,
            from which energy and similarity are subtracted.
        layer: The Keras layer with the same output.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    layer: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network with one input and one output, or two.

    Attributes:
        name: Name of the network.
        shape: `(height, width, channels)` of the input.
        nodes: In topological order; the last is the output. Another one that is named `UNKNOWN` is
            the second output, `(N,)`.
    """

    name: str
    shape: tuple[int, int, int]
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Name of the last node."""
        return self.nodes[-1].name

    @property
    def has_unknown(self) -> bool:
        """Whether there is a second output."""
        return any(node.name == UNKNOWN for node in self.nodes)

    def divided(self, divisor: float, width: int) -> Graph:
        """Return the graph with its output `(N, width)` divided, folded into the last layer."""
        scale = np.full(width, 1 / divisor, np.float32)
        weights = {"scale": scale, "offset": 0 * scale}
        last = Node(name="calibrated", kind="affine", inputs=(self.output,), weights=weights)
        return replace(self, nodes=tuple(_fold([*self.nodes, last])))

    def until(self, name: str) -> Graph:
        """Return the subgraph that computes node `name`."""
        wanted, kept = {name}, []
        for node in reversed(self.nodes):
            if node.name in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        return replace(self, nodes=tuple(reversed(kept)))


def read_graph(model: keras.Model, shape: tuple[int, int, int]) -> Graph:
    """Return the folded graph of a functional model for images `(height, width, channels)`.

    The model has one input and one output, and uses each layer once.
    """
    nodes = _merge_padding(_fold(list(_nodes(model))))
    return Graph(name=model.name, shape=shape, nodes=tuple(nodes))


def _nodes(model: keras.Model) -> Iterator[Node]:
    """Yield the layers in topological order."""
    calls = [call for depth in model._nodes_by_depth.values() for call in depth]
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        [call] = (call for call in calls if call.operation is layer)  # each is used once
        parents = (tensor._keras_history.operation for tensor in call.input_tensors)
        names = (INPUT if isinstance(p, keras.layers.InputLayer) else p.name for p in parents)
        what, weights, options = read_layer(layer) or ("keras", {}, {})
        yield Node(
            name=layer.name,
            kind=what,
            inputs=tuple(names),
            weights={name: np.asarray(value, np.float32) for name, value in weights.items()},
            options=options,
            layer=layer,
        )


def _fold(nodes: list[Node]) -> list[Node]:
    """Fold each normalization into the convolution before it, if that has no other user."""
    uses = Counter(name for node in nodes for name in node.inputs)
    by_name = {node.name: node for node in nodes}
    renamed: dict[str, str] = {}
    for node in nodes:
        before = by_name.get(node.inputs[0])
        if node.kind != "affine" or before is None or before.kind not in ("conv", "dense"):
            continue
        if uses[before.name] > 1:
            continue
        scale, offset = node.weights["scale"], node.weights["offset"]
        folded = {
            "kernel": before.weights["kernel"] * scale,
            "bias": before.weights["bias"] * scale + offset,
        }
        by_name[before.name] = replace(before, weights=folded, layer=node.layer)
        renamed[node.name] = before.name
    return [
        replace(by_name[n.name], inputs=tuple(renamed.get(name, name) for name in n.inputs))
        for n in nodes
        if n.name not in renamed
    ]


def _merge_padding(nodes: list[Node]) -> list[Node]:
    """Merge padding layers into the convolutions and max poolings after them.

    A max pooling pads with minus infinity, which is the same as zeros after a ReLU only.
    """
    by_name = {node.name: node for node in nodes}
    merged = []
    for node in nodes:
        pad = by_name.get(node.inputs[0])
        if pad is None or pad.kind != "pad" or not _can_pad(node, by_name.get(pad.inputs[0])):
            merged.append(node)
            continue
        both = zip(node.options["padding"], pad.options["padding"], strict=True)
        options = {**node.options, "padding": tuple(a + b for a, b in both)}
        merged.append(replace(node, inputs=pad.inputs, options=options))
    used = {name for node in merged for name in node.inputs}
    return [n for n in merged if n.kind != "pad" or n.name in used or n is merged[-1]]


def _can_pad(node: Node, before: Node | None) -> bool:
    if node.kind == "conv":
        return True
    return node.kind == "max_pool" and before is not None and before.kind == "relu"
