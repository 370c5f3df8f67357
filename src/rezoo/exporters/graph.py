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
from rezoo.models.primitives import PaddedShortcut

SHORTEST = 1e-12  # length of features by which they are divided, at least


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation on tensors `(N, H, W, C)`.

    Attributes:
        name: Name of the layer, and of its output.
        kind: conv, dense, affine, relu, add, max_pool, average_pool, global_average_pool, pad,
            pad_channels, activation, energy, similarity, or keras: any other layer.
        inputs: Names of nodes, or `INPUT`.
        weights: conv: `kernel` (H, W, C / groups, filters) and `bias`; dense: `kernel` (C,
            units) and `bias`; affine: `scale` and `offset`; similarity: `means` (C, classes), of
            length 1. float32.
        options: stride, pool (both (H, W)), padding (top, bottom, left, right), groups, filters,
            function, temperature; threshold, from which energy and similarity are subtracted.
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
        known = next((read(layer) for kind, read in _READERS if isinstance(layer, kind)), None)
        what, weights, options = known or ("keras", {}, {})
        yield Node(
            name=layer.name,
            kind=what,
            inputs=tuple(names),
            weights={name: np.asarray(value, np.float32) for name, value in weights.items()},
            options=options,
            layer=layer,
        )


_Known = tuple[str, dict[str, Any], dict[str, Any]] | None


def _read_conv(layer: Any) -> _Known:
    if layer.data_format != "channels_last" or layer.dilation_rate != (1, 1):
        return None
    odd = all(k % 2 for k in layer.kernel_size)
    if layer.padding == "same" and (layer.strides != (1, 1) or not odd):
        return None  # the padding depends on the size of the image
    if layer.activation is not keras.activations.linear:
        return None
    above, beside = ((k // 2 if layer.padding == "same" else 0) for k in layer.kernel_size)
    options = {
        "stride": tuple(layer.strides),
        "padding": (above, above, beside, beside),
        "groups": layer.groups,
    }
    return "conv", _kernel_and_bias(layer), options


def _read_norm(layer: Any) -> _Known:
    if layer.axis not in (-1, 3):
        return None
    scale = 1.0 / np.sqrt(_value(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        scale = scale * _value(layer.gamma)
    offset = -_value(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _value(layer.beta)
    return "affine", {"scale": scale, "offset": offset}, {}


def _read_dense(layer: Any) -> _Known:
    if layer.activation is not keras.activations.linear:
        return None
    return "dense", _kernel_and_bias(layer), {}


def _read_relu(layer: Any) -> _Known:
    if layer.negative_slope or layer.threshold or layer.max_value is not None:
        return None
    return "relu", {}, {}


def _read_activation(layer: Any) -> _Known:
    names = {"relu": "relu", "softmax": "activation", "sigmoid": "activation"}
    name = getattr(layer.activation, "__name__", "")
    return (names[name], {}, {"function": name}) if name in names else None


def _read_max_pool(layer: Any) -> _Known:
    if layer.padding != "valid":
        return None
    pool, stride = tuple(layer.pool_size), tuple(layer.strides)
    return "max_pool", {}, {"pool": pool, "stride": stride, "padding": (0, 0, 0, 0)}


def _read_average_pool(layer: Any) -> _Known:
    if tuple(layer.pool_size) != tuple(layer.strides):
        return None  # "same" then pads at the end of odd sides only
    options = {"pool": tuple(layer.pool_size), "ceil": layer.padding == "same"}
    return "average_pool", {}, options


def _read_padding(layer: Any) -> _Known:
    (top, bottom), (left, right) = layer.padding
    return "pad", {}, {"padding": (top, bottom, left, right)}


# The first match is used. A reader returns None if only Keras can run the layer.
_READERS: tuple[tuple[type, Any], ...] = (
    (keras.layers.DepthwiseConv2D, lambda layer: None),
    (keras.layers.Conv2D, _read_conv),
    (keras.layers.BatchNormalization, _read_norm),
    (keras.layers.Dense, _read_dense),
    (keras.layers.ReLU, _read_relu),
    (keras.layers.Activation, _read_activation),
    (keras.layers.Add, lambda layer: ("add", {}, {})),
    (keras.layers.MaxPooling2D, _read_max_pool),
    (keras.layers.AveragePooling2D, _read_average_pool),
    (
        keras.layers.GlobalAveragePooling2D,
        lambda layer: None if layer.keepdims else ("global_average_pool", {}, {}),
    ),
    (keras.layers.ZeroPadding2D, _read_padding),
    (
        PaddedShortcut,
        lambda layer: ("pad_channels", {}, {"filters": layer.filters, "stride": layer.stride}),
    ),
)


def _kernel_and_bias(layer: Any) -> dict[str, np.ndarray]:
    kernel = _value(layer.kernel)
    bias = _value(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
    return {"kernel": kernel, "bias": bias}


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


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
