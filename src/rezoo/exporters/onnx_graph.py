"""A graph as an ONNX model: channels first inside, channels last at its input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from rezoo.errors import IncompatibleError
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import INPUT, UNKNOWN
from rezoo.exporters.graph import SHORTEST, Graph, Node
from rezoo.exporters.onnx_preprocessing import PREPARED, OnnxGraph, add_preprocessing

OPSET = 18  # the first whose Resize can antialias
IR_VERSION = 10


def to_onnx(bundle: Bundle) -> onnx.ModelProto:
    """Return the ONNX model of a bundle."""
    graph, made = bundle.whole, OnnxGraph()
    height, width, channels = graph.shape
    sides: list[int | str]
    if bundle.takes == "raw":
        kind, sides = TensorProto.UINT8, ["H", "W"]
        prepared = add_preprocessing(made, bundle.preprocessing)
    else:
        kind, sides = TensorProto.FLOAT, [height, width]
        prepared = made.add("Transpose", [INPUT], PREPARED, perm=[0, 3, 1, 2])
    shape = add_network(made, graph, prepared, output=bundle.gives)
    inputs = [helper.make_tensor_value_info(INPUT, kind, ["N", *sides, channels])]
    results = [helper.make_tensor_value_info(bundle.gives, TensorProto.FLOAT, shape)]
    if graph.has_unknown:
        results.append(helper.make_tensor_value_info(UNKNOWN, TensorProto.FLOAT, ["N"]))
    built = helper.make_graph(made.nodes, graph.name, inputs, results, made.constants)
    model = helper.make_model(
        built,
        producer_name="rezoo",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    metadata = bundle.metadata()
    texts = {
        "rezoo": json.dumps(metadata, ensure_ascii=False),
        "labels": "\n".join(bundle.labels()),
        "licence": metadata["licence"],
    }
    helper.set_model_props(model, {k: v for k, v in texts.items() if v})
    return model


def add_network(made: OnnxGraph, graph: Graph, prepared: str, *, output: str) -> list[str]:
    """Add the nodes of a graph, and name the last value `output`. Return its axes."""
    names, flat = {INPUT: prepared}, False
    for node in graph.nodes:
        write = _WRITERS.get(node.kind)
        if write is None:
            raise IncompatibleError(
                f"layer {node.name} ({type(node.layer).__name__}) has no counterpart in ONNX here",
                hint="export to keras, saved_model, litert or stablehlo.",
            )
        flat = flat or node.kind in ("dense", "global_average_pool")
        last = node is graph.nodes[-1]
        name = output if last and flat else node.name
        inputs = [names[i] for i in node.inputs]
        names[node.name] = write(made, node, inputs, name)
    if flat:
        return ["N", "classes"]
    # part of a network: move the channels back to the last axis
    made.add("Transpose", [names[graph.output]], output, perm=[0, 2, 3, 1])
    return ["N", "height", "width", "channels"]


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
    pool, ceil = node.options["pool"], int(node.options["ceil"])
    return made.add(
        "AveragePool",
        inputs,
        name,
        kernel_shape=pool,
        strides=pool,
        ceil_mode=ceil,
        count_include_pad=0,
    )


def _global_average_pool(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    averaged = made.add("GlobalAveragePool", inputs, f"{node.name}.mean")
    return made.add("Flatten", [averaged], name, axis=1)


def _pad(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    top, bottom, left, right = node.options["padding"]
    sides = [0, 0, top, left, 0, 0, bottom, right]
    pads = made.constant(f"{node.name}.sides", sides, np.int64)
    return made.add("Pad", [*inputs, pads], name)


def _pad_channels(made: OnnxGraph, node: Node, inputs: list[str], name: str) -> str:
    stride, shape = node.options["stride"], node.layer.input.shape
    more = node.options["filters"] - shape[-1]
    sides = [0, more // 2, 0, 0, 0, more - more // 2, 0, 0]
    end = np.iinfo(np.int64).max
    bounds = {"starts": [0, 0], "ends": [end, end], "axes": [2, 3], "steps": [stride, stride]}
    names = [made.constant(f"{node.name}.{k}", v, np.int64) for k, v in bounds.items()]
    pixels = made.add("Slice", [*inputs, *names], f"{node.name}.pixels")
    return made.add("Pad", [pixels, made.constant(f"{node.name}.sides", sides, np.int64)], name)


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
    return made.add(node.options["function"].capitalize(), inputs, name)  # Softmax or Sigmoid


_WRITERS: dict[str, Any] = {
    "conv": _conv,
    "dense": _dense,
    "affine": _affine,
    "relu": lambda made, node, inputs, name: made.add("Relu", inputs, name),
    "add": lambda made, node, inputs, name: made.add("Add", inputs, name),
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": _global_average_pool,
    "pad": _pad,
    "pad_channels": _pad_channels,
    "energy": _energy,
    "similarity": _similarity,
    "activation": _activation,
}
