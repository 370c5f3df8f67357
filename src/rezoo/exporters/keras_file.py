"""Format keras: a `.keras` file of Keras's own layers, which opens without rezoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import FORMATS, INPUT, UNKNOWN
from rezoo.exporters.graph import Graph, Node


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.keras`, a zip archive with the description inside."""
    path = folder / FORMATS["keras"].file
    to_keras(bundle.whole).save(path)
    bundle.describe_archive(path)


def to_keras(graph: Graph) -> keras.Model:
    """Return a model of Keras's own layers that computes a graph, in float32.

    With a second output, the model's outputs are a dictionary.
    """
    values = {INPUT: keras.Input(graph.shape, name=INPUT, dtype="float32")}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = _BUILDERS[node.kind](node, *inputs)
    outputs = values[graph.output]
    if graph.has_unknown:
        outputs = {graph.output: outputs, UNKNOWN: values[UNKNOWN]}
    return keras.Model(values[INPUT], outputs, name=graph.name)


def _padded(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    if not any((top, bottom, left, right)):
        return x
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}.pad")(x)


def _build_conv(node: Node, x: Any) -> Any:
    kernel = node.weights["kernel"]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    centred = node.options["padding"] == (rows, rows, columns, columns)
    same = centred and node.options["stride"] == (1, 1)
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
    kernel, bias = node.weights["kernel"], node.weights["bias"]
    return _filled(keras.layers.Dense(len(bias), name=node.name), x, [kernel, bias])


def _build_affine(node: Node, x: Any) -> Any:
    scale, offset = node.weights["scale"], node.weights["offset"]
    layer = keras.layers.BatchNormalization(epsilon=0.0, name=node.name)
    return _filled(layer, x, [scale, offset, np.zeros_like(scale), np.ones_like(scale)])


def _build_max_pool(node: Node, x: Any) -> Any:
    pool, stride = node.options["pool"], node.options["stride"]
    return keras.layers.MaxPooling2D(pool, stride, name=node.name)(_padded(node, x))


def _build_average_pool(node: Node, x: Any) -> Any:
    padding = "same" if node.options["ceil"] else "valid"
    layer = keras.layers.AveragePooling2D(node.options["pool"], padding=padding, name=node.name)
    return layer(x)


def _build_activation(node: Node, x: Any) -> Any:
    return keras.layers.Activation(node.options["function"], name=node.name)(x)


def _build_energy(node: Node, x: Any) -> Any:
    scale, offset = -node.options["temperature"], node.options["threshold"]
    return keras.layers.Rescaling(scale, offset, name=node.name)(keras.ops.logsumexp(x, axis=-1))


def _build_similarity(node: Node, x: Any) -> Any:
    means = node.weights["means"]
    direction = keras.layers.UnitNormalization(name=f"{node.name}.direction")(x)
    layer = keras.layers.Dense(means.shape[1], use_bias=False, name=f"{node.name}.means")
    nearest = keras.ops.max(_filled(layer, direction, [means]), axis=-1)
    return keras.layers.Rescaling(-1.0, node.options["threshold"], name=node.name)(nearest)


def _build_pad_channels(node: Node, x: Any) -> Any:
    """Build a 1x1 convolution that copies channels: Keras has no layer that pads them."""
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
    "max_pool": _build_max_pool,
    "average_pool": _build_average_pool,
    "global_average_pool": lambda node, x: keras.layers.GlobalAveragePooling2D(name=node.name)(x),
    "pad": _padded,
    "pad_channels": _build_pad_channels,
    "energy": _build_energy,
    "similarity": _build_similarity,
    "activation": _build_activation,
    "keras": _build_keras,
}
