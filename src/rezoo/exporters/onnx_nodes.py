"""The nodes of a graph as operations of ONNX, channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from rezoo.exporters.graph import SHORTEST, Node


class OnnxGraph:
    """Nodes and constants of an ONNX model under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node whose output has the node's name; return the name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def _conv(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    kernel = node.weights["kernel"].transpose(3, 2, 0, 1)
    top, bottom, left, right = node.options["padding"]
    weights = made.constant(f"{node.name}.weight", kernel)
    bias = made.constant(f"{node.name}.bias", node.weights["bias"])
    return made.add(
        "Conv",
        [*inputs, weights, bias],
        name,
        kernel_shape=kernel.shape[2:],
        strides=node.options["stride"],
        pads=[top, left, bottom, right],
        group=node.options["groups"],
        dilations=node.options["dilation"],
    )


def _dense(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    weights = made.constant(f"{node.name}.weight", node.weights["kernel"].T)
    bias = made.constant(f"{node.name}.bias", node.weights["bias"])
    return made.add("Gemm", [*inputs, weights, bias], name, transB=1)


def _affine(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    scale, offset = node.weights["scale"], node.weights["offset"]
    values = {"weight": scale, "bias": offset, "mean": scale * 0, "variance": scale * 0 + 1}
    names = [made.constant(f"{node.name}.{key}", value) for key, value in values.items()]
    return made.add("BatchNormalization", [*inputs, *names], name, epsilon=0.0)


def _max_pool(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    top, bottom, left, right = node.options["padding"]
    pool, stride = node.options["pool"], node.options["stride"]
    pads = [top, left, bottom, right]
    return made.add("MaxPool", inputs, name, kernel_shape=pool, strides=stride, pads=pads)


def _average_pool(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    pool, stride = node.options["pool"], node.options["stride"]
    return made.add(
        "AveragePool",
        inputs,
        name,
        kernel_shape=pool,
        strides=stride,
        ceil_mode=int(node.options["ceil"]),
        count_include_pad=0,
    )


def _global_average_pool(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    if node.options["keepdims"]:
        return made.add("GlobalAveragePool", inputs, name)
    averaged = made.add("GlobalAveragePool", inputs, f"{node.name}.mean")
    return made.add("Flatten", [averaged], name, axis=1)


def _pad(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    top, bottom, left, right = node.options["padding"]
    sides = [0, 0, top, left, 0, 0, bottom, right]
    pads = made.constant(f"{node.name}.sides", sides, np.int64)
    return made.add("Pad", [*inputs, pads], name)


def _reflect(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    pads = made.constant(f"{node.name}.sides", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    return made.add("Pad", [*inputs, pads], name, mode="reflect")


def _channel_conv(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    """Add a convolution over `(N, 1, C, 1)`, of `(N, C, 1, 1)`."""
    kernel = node.weights["kernel"].transpose(2, 1, 0)[..., None]
    width = kernel.shape[2]
    weight = made.constant(f"{node.name}.weight", kernel)
    x = made.add("Transpose", inputs, f"{node.name}.before", perm=[0, 2, 1, 3])
    pads, shape = [width // 2, 0, width // 2, 0], [width, 1]
    x = made.add("Conv", [x, weight], f"{node.name}.conv", kernel_shape=shape, pads=pads)
    return made.add("Transpose", [x], name, perm=[0, 2, 1, 3])


def _group_norm(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    """Normalize each group as an instance of its own: opset 18 has no scale for each channel."""
    part, groups = f"{node.name}.{{}}".format, node.options["groups"]
    apart = made.constant(part("apart"), [0, groups, -1], np.int64)
    ones, zeros = (made.constant(part(k), [v] * groups) for k, v in (("ones", 1), ("zeros", 0)))
    shape = made.add("Shape", inputs, part("shape"))
    x = made.add("Reshape", [*inputs, apart], part("groups"))
    epsilon = node.options["epsilon"]
    x = made.add("InstanceNormalization", [x, ones, zeros], part("normed"), epsilon=epsilon)
    x = made.add("Reshape", [x, shape], part("whole"))
    scale, offset = (
        made.constant(part(k), node.weights[k][:, None, None]) for k in ("scale", "offset")
    )
    return made.add("Add", [made.add("Mul", [x, scale], part("scaled")), offset], name)


def _layer_norm(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    """Normalize over axis 1, the channels: the operation of ONNX takes the last axes only."""
    part, axis = f"{node.name}.{{}}".format, made.constant(f"{node.name}.axis", [1], np.int64)
    shape = (-1,) + (1,) * (len(node.layer.output.shape) - 2)
    scale, offset = (
        made.constant(part(key), node.weights[key].reshape(shape)) for key in ("scale", "offset")
    )
    mean = made.add("ReduceMean", [*inputs, axis], part("mean"))
    centred = made.add("Sub", [*inputs, mean], part("centred"))
    square = made.add("Mul", [centred, centred], part("square"))
    variance = made.add("ReduceMean", [square, axis], part("variance"))
    epsilon = made.constant(part("epsilon"), node.options["epsilon"])
    deviation = made.add("Sqrt", [made.add("Add", [variance, epsilon], part("sum"))], part("std"))
    normed = made.add("Div", [centred, deviation], part("normed"))
    return made.add("Add", [made.add("Mul", [normed, scale], part("scaled")), offset], name)


def _evo_norm(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    """Divide the gated input by the deviation of each group, then scale and shift the channels."""
    part, groups = f"{node.name}.{{}}".format, node.options["groups"]
    gate, scale, offset = (
        made.constant(part(key), node.weights[key][:, None, None])
        for key in ("gate", "scale", "offset")
    )
    gated = made.add("Sigmoid", [made.add("Mul", [*inputs, gate], part("inner"))], part("sigmoid"))
    active = made.add("Mul", [*inputs, gated], part("active"))
    apart = made.constant(part("apart"), [0, groups, -1], np.int64)
    last = made.constant(part("axis"), [2], np.int64)
    shape = made.add("Shape", inputs, part("shape"))
    x = made.add("Reshape", [*inputs, apart], part("groups"))
    centred = made.add("Sub", [x, made.add("ReduceMean", [x, last], part("mean"))], part("centred"))
    square = made.add("Mul", [centred, centred], part("square"))
    variance = made.add("ReduceMean", [square, last], part("variance"))
    epsilon = made.constant(part("epsilon"), node.options["epsilon"])
    deviation = made.add("Sqrt", [made.add("Add", [variance, epsilon], part("sum"))], part("std"))
    y = made.add("Reshape", [active, apart], part("active_groups"))
    y = made.add("Reshape", [made.add("Div", [y, deviation], part("normed")), shape], part("whole"))
    return made.add("Add", [made.add("Mul", [y, scale], part("scaled")), offset], name)


def _pad_channels(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    stride, shape = node.options["stride"], node.layer.input.shape
    more = node.options["filters"] - shape[-1]
    sides = [0, more // 2, 0, 0, 0, more - more // 2, 0, 0]
    end = np.iinfo(np.int64).max
    bounds = {"starts": [0, 0], "ends": [end, end], "axes": [2, 3], "steps": [stride, stride]}
    names = [made.constant(f"{node.name}.{k}", v, np.int64) for k, v in bounds.items()]
    pixels = made.add("Slice", [*inputs, *names], f"{node.name}.pixels")
    return made.add("Pad", [pixels, made.constant(f"{node.name}.sides", sides, np.int64)], name)


def _slice(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    start = node.options["start"]
    return _channels(made, node.name, inputs[0], (start, start + node.options["size"]), name)


def _channels(made: OnnxGraph, prefix: str, x: str, part: tuple[int, int], name: str) -> str:
    """Add a part of the channels."""
    bounds = zip(("start", "end", "axis"), (*part, 1), strict=True)
    names = [made.constant(f"{prefix}.{key}", [value], np.int64) for key, value in bounds]
    return made.add("Slice", [x, *names], name)


def _sum_parts(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    width = node.layer.output.shape[-1]
    parts = []
    for i in range(node.options["parts"]):
        prefix = f"{node.name}.{i}"
        part = (i * width, (i + 1) * width)
        parts.append(_channels(made, prefix, inputs[0], part, f"{prefix}.part"))
    return made.add("Sum", parts, name)


def _softmax_parts(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    part, groups, parts = f"{node.name}.{{}}".format, node.options["groups"], node.options["parts"]
    channels = node.layer.output.shape[-1]
    apart = [0, groups, parts, channels // (groups * parts)]
    shapes = {"apart": apart, "whole": [0, channels, 1, 1]}
    names = {key: made.constant(part(key), value, np.int64) for key, value in shapes.items()}
    x = made.add("Reshape", [*inputs, names["apart"]], part("parts"))
    x = made.add("Transpose", [x], part("turned"), perm=[0, 2, 1, 3])
    x = made.add("Softmax", [x], part("weights"), axis=1)
    return made.add("Reshape", [x, names["whole"]], name)


def _energy(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    """Add T logsumexp(x) in single steps: OpenVINO's own exponentiates without a shift."""
    part, last = f"{node.name}.{{}}".format, made.constant(f"{node.name}.axis", [1], np.int64)
    largest = made.add("ReduceMax", [*inputs, last], part("largest"))
    powers = made.add("Exp", [made.add("Sub", [*inputs, largest], part("rest"))], part("powers"))
    total = made.add("Log", [made.add("ReduceSum", [powers, last], part("sum"))], part("log"))
    whole = made.add("Squeeze", [made.add("Add", [largest, total], part("2d")), last], part("1d"))
    temperature = made.constant(part("temperature"), node.options["temperature"])
    return _below(made, node, made.add("Mul", [whole, temperature], part("score")), name)


def _similarity(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    part, last = f"{node.name}.{{}}".format, made.constant(f"{node.name}.axis", [1], np.int64)
    means = made.constant(part("means"), node.weights["means"])
    products = made.add("MatMul", [*inputs, means], part("products"))
    nearest = made.add("ReduceMax", [products, last], part("nearest"), keepdims=0)
    norm = made.add("ReduceL2", [*inputs, last], part("norm"), keepdims=0)
    length = made.add("Max", [norm, made.constant(part("shortest"), SHORTEST)], part("length"))
    return _below(made, node, made.add("Div", [nearest, length], part("score")), name)


def _below(made: OnnxGraph, node: Node, score: str, name: str) -> str:
    """Add the threshold minus the score."""
    threshold = made.constant(f"{node.name}.threshold", node.options["threshold"])
    return made.add("Sub", [threshold, score], name)


def _activation(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    if node.options["function"] != "gelu":
        return made.add(node.options["function"].capitalize(), inputs, name)  # Softmax or Sigmoid
    part = f"{node.name}.{{}}".format  # opset 20 is the first with GELU: x / 2 (1 + erf(x / √2))
    numbers = {"root": 0.5**0.5, "half": 0.5, "one": 1.0}
    root, half, one = (made.constant(part(key), value) for key, value in numbers.items())
    error = made.add("Erf", [made.add("Mul", [*inputs, root], part("scaled"))], part("erf"))
    halved = made.add("Mul", [*inputs, half], part("halved"))
    return made.add("Mul", [halved, made.add("Add", [error, one], part("factor"))], name)


WRITERS: dict[str, Any] = {
    "conv": _conv,
    "channel_conv": _channel_conv,
    "dense": _dense,
    "affine": _affine,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "evo_norm": _evo_norm,
    "relu": lambda made, node, inputs, name: made.add("Relu", inputs, name),
    "add": lambda made, node, inputs, name: made.add("Add", inputs, name),
    "multiply": lambda made, node, inputs, name: made.add("Mul", inputs, name),
    "concatenate": lambda made, node, inputs, name: made.add("Concat", inputs, name, axis=1),
    "slice": _slice,
    "sum_parts": _sum_parts,
    "softmax_parts": _softmax_parts,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": _global_average_pool,
    "pad": _pad,
    "reflect": _reflect,
    "pad_channels": _pad_channels,
    "energy": _energy,
    "similarity": _similarity,
    "activation": _activation,
}
