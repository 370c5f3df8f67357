"""Format onnx: a model with one node per layer, named like the layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.onnx_graph import to_onnx


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.onnx`."""
    if bundle.quantizer:
        content = bundle.quantizer.content(bundle)
    else:
        model = to_onnx(bundle)
        if bundle.quantize == "float16":
            store_in_float16(model)
        content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    (folder / FORMATS["onnx"].file).write_bytes(content)


def store_in_float16(model: onnx.ModelProto) -> None:
    """Store the weights of a model in float16; it computes in float32 as before."""
    casts = []
    for constant in list(model.graph.initializer):
        values = numpy_helper.to_array(constant)
        is_weight = constant.data_type == TensorProto.FLOAT and values.ndim >= 2
        if not is_weight or constant.name.startswith("pre."):
            continue
        stored = numpy_helper.from_array(values.astype(np.float16), f"{constant.name}.float16")
        names = [stored.name], [constant.name], stored.name
        casts.append(helper.make_node("Cast", *names, to=TensorProto.FLOAT))
        model.graph.initializer.remove(constant)
        model.graph.initializer.append(stored)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
