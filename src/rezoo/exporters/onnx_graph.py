"""A graph as an ONNX model: channels first inside, channels last at its input."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper

from rezoo.data.transforms import LONGEST
from rezoo.errors import IncompatibleError
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import INPUT, UNKNOWN
from rezoo.exporters.graph import Graph
from rezoo.exporters.onnx_nodes import WRITERS, OnnxGraph
from rezoo.specs import Preprocessing

OPSET = 18  # the first whose Resize can antialias
IR_VERSION = 10
PREPARED = "prepared"


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
                hint="export to keras, saved_model, litert or stablehlo.",
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


def add_preprocessing(made: OnnxGraph, preprocessing: Preprocessing) -> str:
    """Add the test transform: uint8 `(N, h, w, C)` to float32 `(N, C, H, W)`.

    ONNX's Resize on uint8 antialiases as Pillow does, up to one grey level.
    """
    height, width = preprocessing.size
    number = made.constant
    target = [int(side / preprocessing.crop_pct) for side in (height, width)]
    for name, value in (("th", target[0]), ("tw", target[1]), ("longest", LONGEST)):
        number(f"pre.{name}", [value], np.int64)
    levels = made.add("Transpose", [INPUT], "pre.levels", perm=[0, 3, 1, 2])
    levels, h, w = _not_too_thin(made, levels)
    by_rows = made.add("Mul", [h, "pre.tw"], "pre.by_rows")
    by_columns = made.add("Mul", [w, "pre.th"], "pre.by_columns")
    rows_decide = made.add("LessOrEqual", [by_rows, by_columns], "pre.rows_decide")
    rows = made.add("Div", [by_rows, w], "pre.rows")
    columns = made.add("Div", [by_columns, h], "pre.columns")
    sides = [
        made.add("Where", [rows_decide, "pre.th", rows], "pre.height"),
        made.add("Where", [rows_decide, columns, "pre.tw"], "pre.width"),
    ]
    rest = made.add("Shape", [levels], "pre.batch_and_channels", start=0, end=2)
    size = made.add("Concat", [rest, *sides], "pre.size", axis=0)
    cubic = preprocessing.interpolation == "bicubic"
    resized = made.add(
        "Resize",
        [levels, "", "", size],
        "pre.resized",
        mode="cubic" if cubic else "linear",
        antialias=1,
        coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=-0.5,
        **({"exclude_outside": 1} if cubic else {}),
    )
    cropped = _centre(made, resized, sides, (height, width))
    values = made.add("Cast", [cropped], "pre.float", to=TensorProto.FLOAT)
    mean, std = (
        np.asarray(v, np.float64)[None, :, None, None]
        for v in (preprocessing.mean, preprocessing.std)
    )
    scaled = made.add("Mul", [values, number("pre.factor", 1 / (255 * std))], "pre.scaled")
    return made.add("Add", [scaled, number("pre.summand", -mean / std)], PREPARED)


def _not_too_thin(made: OnnxGraph, levels: str) -> tuple[str, str, str]:
    """Cut an image to at most `LONGEST` times its shorter side; return it, its height and width."""
    shape = made.add("Shape", [levels], "pre.sides", start=2, end=4)
    shorter = made.add("ReduceMin", [shape], "pre.shorter", keepdims=1)
    most = made.add("Mul", [shorter, "pre.longest"], "pre.most")
    kept = made.add("Min", [shape, most], "pre.kept")
    two = made.constant("pre.two", [2], np.int64)
    start = made.add("Div", [made.add("Sub", [shape, kept], "pre.over"), two], "pre.start")
    end = made.add("Add", [start, kept], "pre.end")
    axes = made.constant("pre.axes", [2, 3], np.int64)
    levels = made.add("Slice", [levels, start, end, axes], "pre.part")
    zero, one = made.constant("pre.0", [0], np.int64), made.constant("pre.1", [1], np.int64)
    h = made.add("Gather", [kept, zero], "pre.h", axis=0)
    w = made.add("Gather", [kept, one], "pre.w", axis=0)
    return levels, h, w


def _centre(made: OnnxGraph, image: str, sides: list[str], size: tuple[int, int]) -> str:
    whole = made.add("Concat", sides, "pre.resized_sides", axis=0)
    crop = made.constant("pre.crop", size, np.int64)
    over = made.add("Sub", [whole, crop], "pre.beside")
    number = made.add("Cast", [over], "pre.beside_float", to=TensorProto.FLOAT)
    half = made.add("Mul", [number, made.constant("pre.half", [0.5])], "pre.beside_half")
    # Round is to even at a half, as in torchvision
    rounded = made.add("Round", [half], "pre.first_float")
    first = made.add("Cast", [rounded], "pre.first", to=TensorProto.INT64)
    end = made.add("Add", [first, crop], "pre.last")
    return made.add("Slice", [image, first, end, "pre.axes"], "pre.cropped")
