"""int8 in ONNX, for onnxruntime and OpenVINO.

This is onnxruntime's static quantization: the range of each activation comes from calibration
images, each channel of a weight has its own scale, and QuantizeLinear and DequantizeLinear
surround each node. The runtimes fuse them with the node.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry

from rezoo.exporters.bundle import RANKED_ON, Bundle
from rezoo.exporters.comparing import in_batches
from rezoo.exporters.formats import INPUT, UNKNOWN
from rezoo.exporters.graph import Graph
from rezoo.exporters.onnx_graph import to_onnx
from rezoo.exporters.runtimes import onnx_session


def calibrate(bundle: Bundle, images: np.ndarray) -> OnnxQuantizer:
    """Compute the range of each activation over prepared images, float32 `(N, H, W, C)`."""
    tensor = replace(bundle, takes="tensor")
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder) / "model.onnx"
        onnx.save(to_onnx(tensor), path)
        calibrator = quantization.calibrate.create_calibrator(
            path,
            None,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Batches(images))
        return OnnxQuantizer(tensor, calibrator.compute_data(), images[:RANKED_ON])


class OnnxQuantizer:
    """A `Quantizer` of ONNX models.

    Args:
        bundle: The network, with prepared images as input.
        ranges: onnxruntime's range of each activation.
        images: Prepared images, float32 `(N, H, W, C)`, on which errors are measured.
    """

    def __init__(self, bundle: Bundle, ranges: Any, images: np.ndarray) -> None:
        self._bundle, self._ranges, self._images = bundle, ranges, images

    def content(self, bundle: Bundle) -> bytes:
        """Return the int8 model, serialized; the nodes in `bundle.keep` stay in float32."""
        return bytes(self._quantized(bundle).SerializeToString())

    def rank(self) -> list[str]:
        """Return the convolutions and dense layers, in descending order of the error they add.

        A layer adds the error of its output, relative to the output, minus that of its input.
        """
        graph = self._bundle.graph
        nodes = [n for n in graph.nodes if n.kind in ("conv", "dense") and n.name != graph.output]
        names = [n.name for n in nodes]
        exact = _values(to_onnx(self._bundle), names, self._images)
        rough = _values(self._quantized(self._bundle), names, self._images)
        errors = {name: _relative(rough[name], exact[name]) for name in names}
        added = {n.name: errors[n.name] - _error_before(n.inputs[0], graph, errors) for n in nodes}
        return sorted(names, key=lambda name: -added[name])

    def _quantized(self, bundle: Bundle) -> onnx.ModelProto:
        model = to_onnx(bundle)
        names = (node.name for node in model.graph.node)
        beside = [name for name in names if name.startswith(("pre.", UNKNOWN))]
        with _without_advice():
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=quantization.QuantType.QInt8,
                activation_qType=quantization.QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=[],  # all but the excluded
                nodes_to_exclude=[*beside, "prepared", "probabilities", *bundle.keep],
                op_types_to_quantize=list(QDQRegistry),
                extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        return quantizer.model.model


def _error_before(name: str, graph: Graph, errors: dict[str, float]) -> float:
    """Return the error of the last layer with weights before a node, or 0 at the input."""
    by_name = {n.name: n for n in graph.nodes}
    while name not in errors:
        if name not in by_name:
            return 0.0
        name = by_name[name].inputs[0]
    return errors[name]


def _values(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of nodes; quantization renames tensors, but not nodes."""
    tensors = {node.name: node.output[0] for node in model.graph.node}
    for name in names:
        kind = helper.make_tensor_value_info(tensors[name], TensorProto.FLOAT, None)
        model.graph.output.append(kind)
    session = onnx_session(model.SerializeToString())
    outputs = [tensors[name] for name in names]
    parts = [session.run(outputs, {INPUT: batch}) for batch in in_batches(images)]
    return {name: np.concatenate(values) for name, *values in zip(names, *parts, strict=True)}


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(((found - wanted) ** 2).mean() / max((wanted**2).mean(), 1e-30)))


class _Batches(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches = iter(in_batches(images))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress onnxruntime's advice on preprocessing, which the folded graph does not need."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
