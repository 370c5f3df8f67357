"""Format keras: a `.keras` file of Keras's own layers, which opens without rezoo."""

from __future__ import annotations

from functools import partial
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


def to_keras(graph: Graph, *, convolution: type = keras.layers.Conv2D) -> keras.Model:
    """Return a model of Keras's own layers that computes a graph, in float32.

    With a second output, the model's outputs are a dictionary. `convolution` is the class of its
    convolutions: TensorFlow cannot convert the groups of Keras's own.
    """
    builders = _BUILDERS | {"conv": partial(_build_conv, convolution=convolution)}
    values = {INPUT: keras.Input(graph.shape, name=INPUT, dtype="float32")}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = builders[node.kind](node, *inputs)
    outputs = values[graph.output]
    if graph.has_unknown:
        outputs = {graph.output: outputs, UNKNOWN: values[UNKNOWN]}
    return keras.Model(values[INPUT], outputs, name=graph.name)


def _padded(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    if not any((top, bottom, left, right)):
        return x
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}.pad")(x)


def _build_conv(node: Node, x: Any, *, convolution: type) -> Any:
    kernel = node.weights["kernel"]
    dilation = node.options["dilation"]
    rows, columns = (d * (k // 2) for d, k in zip(dilation, kernel.shape, strict=False))
    centred = node.options["padding"] == (rows, rows, columns, columns)
    same = centred and node.options["stride"] == (1, 1)
    layer = convolution(
        kernel.shape[-1],
        kernel.shape[:2],
        strides=node.options["stride"],
        padding="same" if same else "valid",
        groups=node.options["groups"],
        dilation_rate=dilation,
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
    pool, stride = node.options["pool"], node.options["stride"]
    return keras.layers.AveragePooling2D(pool, stride, padding, name=node.name)(x)


def _build_global_average_pool(node: Node, x: Any) -> Any:
    keepdims = node.options["keepdims"]
    return keras.layers.GlobalAveragePooling2D(keepdims=keepdims, name=node.name)(x)


def _build_channel_conv(node: Node, x: Any) -> Any:
    kernel, channels = node.weights["kernel"], x.shape[-1]
    x = keras.layers.Reshape((channels, 1), name=f"{node.name}.before")(x)
    options = {"padding": "same", "use_bias": False, "name": node.name}
    x = _filled(keras.layers.Conv1D(1, len(kernel), **options), x, [kernel])
    return keras.layers.Reshape((1, 1, channels), name=f"{node.name}.after")(x)


def _build_group_norm(node: Node, x: Any) -> Any:
    groups, epsilon = node.options["groups"], node.options["epsilon"]
    layer = keras.layers.GroupNormalization(groups, epsilon=epsilon, name=node.name)
    return _filled(layer, x, [node.weights["scale"], node.weights["offset"]])


def _build_layer_norm(node: Node, x: Any) -> Any:
    layer = keras.layers.LayerNormalization(epsilon=node.options["epsilon"], name=node.name)
    return _filled(layer, x, [node.weights["scale"], node.weights["offset"]])


def _build_evo_norm(node: Node, x: Any) -> Any:
    _, height, width, channels = x.shape
    groups = node.options["groups"]
    apart = (-1, height * width, groups, channels // groups)
    gated = _build_affine(_affine(f"{node.name}.gate", node.weights["gate"]), x)
    active = keras.ops.multiply(x, keras.ops.sigmoid(gated))
    variance = keras.ops.var(keras.ops.reshape(x, apart), axis=(1, 3), keepdims=True)
    deviation = keras.ops.sqrt(keras.ops.add(variance, node.options["epsilon"]))
    normed = keras.ops.divide(keras.ops.reshape(active, apart), deviation)
    normed = keras.ops.reshape(normed, (-1, height, width, channels))
    return _build_affine(_affine(node.name, node.weights["scale"], node.weights["offset"]), normed)


def _affine(name: str, scale: np.ndarray, offset: np.ndarray | None = None) -> Node:
    weights = {"scale": scale, "offset": 0 * scale if offset is None else offset}
    return Node(name=name, kind="affine", inputs=(), weights=weights)


def _build_reflect(node: Node, x: Any) -> Any:
    return keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def _build_slice(node: Node, x: Any) -> Any:
    start = node.options["start"]
    return keras.ops.split(x, [start, start + node.options["size"]], axis=-1)[1]


def _build_sum_parts(node: Node, x: Any) -> Any:
    parts = keras.ops.split(x, node.options["parts"], axis=-1)
    return keras.layers.Add(name=node.name)(parts)


def _build_softmax_parts(node: Node, x: Any) -> Any:
    groups, parts, channels = node.options["groups"], node.options["parts"], x.shape[-1]
    apart = (groups, parts, channels // (groups * parts))
    x = keras.layers.Reshape(apart, name=f"{node.name}.before")(x)
    x = keras.layers.Permute((2, 1, 3), name=f"{node.name}.turned")(x)
    x = keras.layers.Softmax(axis=1, name=node.name)(x)
    return keras.layers.Reshape((1, 1, channels), name=f"{node.name}.after")(x)


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
    "channel_conv": _build_channel_conv,
    "dense": _build_dense,
    "affine": _build_affine,
    "group_norm": _build_group_norm,
    "layer_norm": _build_layer_norm,
    "evo_norm": _build_evo_norm,
    "relu": lambda node, x: keras.layers.ReLU(name=node.name)(x),
    "add": lambda node, *x: keras.layers.Add(name=node.name)(list(x)),
    "multiply": lambda node, *x: keras.layers.Multiply(name=node.name)(list(x)),
    "concatenate": lambda node, *x: keras.layers.Concatenate(name=node.name)(list(x)),
    "slice": _build_slice,
    "sum_parts": _build_sum_parts,
    "softmax_parts": _build_softmax_parts,
    "max_pool": _build_max_pool,
    "average_pool": _build_average_pool,
    "global_average_pool": _build_global_average_pool,
    "pad": _padded,
    "reflect": _build_reflect,
    "pad_channels": _build_pad_channels,
    "energy": _build_energy,
    "similarity": _build_similarity,
    "activation": _build_activation,
    "keras": _build_keras,
}
