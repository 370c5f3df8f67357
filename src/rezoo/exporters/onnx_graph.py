"""A graph as an ONNX model: channels first inside, channels last at its input."""

from __future__ import annotations

import json

import onnx
from onnx import TensorProto, helper

from rezoo.errors import IncompatibleError
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import INPUT, UNKNOWN
from rezoo.exporters.graph import Graph
from rezoo.exporters.onnx_nodes import WRITERS, OnnxGraph
from rezoo.exporters.onnx_preprocessing import PREPARED, add_preprocessing

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
        write = WRITERS.get(node.kind)
        if write is None:
            raise IncompatibleError(
                f"layer {node.name} ({type(node.layer).__name__}) has no counterpart in ONNX here",
                hint="export to keras, saved_model or litert.",
            )
        pooled = node.kind == "global_average_pool" and not node.options["keepdims"]
        flat = flat or pooled or node.kind == "dense"
        last = node is graph.nodes[-1]
        name = output if last and flat else node.name
        inputs = [names[i] for i in node.inputs]
        names[node.name] = write(made, node, inputs, name)
    if flat:
        return ["N", "classes"]
    # part of a network: move the channels back to the last axis
    made.add("Transpose", [names[graph.output]], output, perm=[0, 2, 3, 1])
    return ["N", "height", "width", "channels"]
