"""A graph as a model of Keras's own layers, which opens where rezoo is not installed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rezoo.exporters.formats import INPUT
from rezoo.exporters.graph import NO_PADDING, Graph, Node


def to_keras(graph: Graph, *, outputs: tuple[str, ...] = ()) -> keras.Model:
    """Build a model of Keras's own layers that computes a graph.

    Args:
        graph: What to build.
        outputs: Nodes whose values it returns; the graph's output where not given.
    """
    values = {INPUT: keras.Input(graph.shape, name=INPUT)}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = _BUILDERS[node.kind](node, *inputs)
    wanted = [values[name] for name in outputs or (graph.output,)]
    return keras.Model(values[INPUT], wanted if outputs else wanted[0], name=graph.name)


def _padded(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    if (top, bottom, left, right) == NO_PADDING:
        return x
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}.pad")(x)


def _build_conv(node: Node, x: Any) -> Any:
    kernel = node.weights["kernel"]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    same = node.options["stride"] == (1, 1) and node.options["padding"] == (
        rows,
        rows,
        columns,
        columns,
    )
    layer = keras.layers.Conv2D(
        kernel.shape[-1],
        kernel.shape[:2],
        strides=node.options["stride"],
        padding="same" if same else "valid",
        groups=node.options["groups"],
        name=node.name,
    )
    return _filled(layer, x if same else _padded(node, x), [kernel, node.weights["bias"]])


def _build_dense(node: Node, x: Any) -> Any:
    kernel = node.weights["kernel"]
    layer = keras.layers.Dense(kernel.shape[-1], name=node.name)
    return _filled(layer, x, [kernel, node.weights["bias"]])


def _build_affine(node: Node, x: Any) -> Any:
    scale, offset = node.weights["scale"], node.weights["offset"]
    layer = keras.layers.BatchNormalization(epsilon=0.0, name=node.name)
    return _filled(layer, x, [scale, offset, np.zeros_like(scale), np.ones_like(scale)])


def _build_pad_channels(node: Node, x: Any) -> Any:
    """A 1x1 convolution that copies: Keras has no layer that pads channels."""
    filters, stride = node.options["filters"], node.options["stride"]
    channels = x.shape[-1]
    kernel = np.zeros((1, 1, channels, filters), np.float32)
    first = (filters - channels) // 2
    kernel[0, 0, np.arange(channels), first + np.arange(channels)] = 1.0
    layer = keras.layers.Conv2D(filters, 1, strides=stride, use_bias=False, name=node.name)
    return _filled(layer, x, [kernel])


def _build_keras(node: Node, *inputs: Any) -> Any:
    layer = node.layer.__class__.from_config(node.layer.get_config())
    values = [keras.ops.convert_to_numpy(w) for w in node.layer.weights]
    return _filled(layer, inputs[0] if len(inputs) == 1 else list(inputs), values)


def _filled(layer: Any, x: Any, values: list[np.ndarray]) -> Any:
    y = layer(x)
    layer.set_weights(values)
    return y


_BUILDERS: dict[str, Any] = {
    "conv": _build_conv,
    "dense": _build_dense,
    "affine": _build_affine,
    "relu": lambda node, x: keras.layers.ReLU(name=node.name)(x),
    "add": lambda node, *x: keras.layers.Add(name=node.name)(list(x)),
    "max_pool": lambda node, x: keras.layers.MaxPooling2D(
        node.options["pool"], node.options["stride"], name=node.name
    )(_padded(node, x)),
    "average_pool": lambda node, x: keras.layers.AveragePooling2D(
        node.options["pool"], padding="same" if node.options["ceil"] else "valid", name=node.name
    )(x),
    "global_average_pool": lambda node, x: keras.layers.GlobalAveragePooling2D(name=node.name)(x),
    "pad": _padded,
    "pad_channels": _build_pad_channels,
    "activation": lambda node, x: keras.layers.Activation(node.options["function"], name=node.name)(
        x
    ),
    "keras": _build_keras,
}
