"""Smaller numbers in ONNX: weights in float16, or weights and activations in int8.

int8 follows onnxruntime's static quantization: ranges of activations from calibration images, one
scale for each channel of a weight, QuantizeLinear and DequantizeLinear around each node. What
runs the file joins them with the node (OpenVINO reads the same file).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry

from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import INPUT
from rezoo.exporters.graph import Graph
from rezoo.exporters.mixed_precision import RANKED_ON, Run
from rezoo.exporters.onnx_file import session
from rezoo.exporters.onnx_graph import to_onnx

_CALIBRATION_BATCH = 16


def float16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights in float16, and compute in float32 as before."""
    casts = []
    for constant in list(model.graph.initializer):
        values = numpy_helper.to_array(constant)
        if (
            constant.data_type != TensorProto.FLOAT
            or values.ndim < 2
            or constant.name[:4] == "pre."
        ):
            continue
        stored = numpy_helper.from_array(values.astype(np.float16), f"{constant.name}.float16")
        casts.append(
            helper.make_node(
                "Cast", [stored.name], [constant.name], stored.name, to=TensorProto.FLOAT
            )
        )
        model.graph.initializer.remove(constant)
        model.graph.initializer.append(stored)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def int8(bundle: Bundle) -> onnx.ModelProto:
    """Return the ONNX model of a bundle in int8; the layers in `bundle.keep` stay in float32.

    Raises:
        SpecError: It has no calibration images.
    """
    ranges = bundle.quantizer.ranges if bundle.quantizer else _ranges(bundle)
    return _quantize(bundle, ranges, bundle.keep)


class Int8:
    """A `Quantizer` of ONNX models, and of what is read from them.

    Args:
        bundle: What to quantize; its calibration images are looked at here.
        run: Runs an ONNX model's only output, in the runtime that will run the export.

    Attributes:
        ranges: Of the activations.

    Raises:
        SpecError: There are no calibration images.
    """

    def __init__(self, bundle: Bundle, run: Run) -> None:
        self._bundle = replace(bundle, takes="tensor")
        self._run = run
        self.ranges = _ranges(bundle)

    def content(self, keep: Sequence[str] = ()) -> bytes:
        """Return the quantized model, serialized."""
        return bytes(_quantize(self._bundle, self.ranges, keep).SerializeToString())

    def run(self, content: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """Return what runs it."""
        return self._run(content)

    def rank(self) -> list[str]:
        """Return the convolutions and fully connected layers, those that add most error first.

        What a layer adds is the error of its output, relative to the output's size, beyond that
        of its inputs.
        """
        graph, images = self._bundle.graph, self._bundle.training_images[:RANKED_ON]
        nodes = [n for n in graph.nodes if n.kind in ("conv", "dense")]
        names = [n.name for n in nodes if n.name != graph.output]
        exact = _values(to_onnx(self._bundle), names, images)
        rough = _values(_quantize(self._bundle, self.ranges), names, images)
        errors = {name: _relative(rough[name], exact[name]) for name in names}
        before = {n.name: _error_before(n.inputs[0], graph, errors) for n in nodes}
        added = {name: errors[name] - before[name] for name in names}
        return sorted(names, key=lambda name: -added[name])


def _quantize(bundle: Bundle, ranges: Any, keep: Sequence[str] = ()) -> onnx.ModelProto:
    whole = to_onnx(bundle)
    first = [node.name for node in whole.graph.node if node.name[:4] == "pre."]
    with _quiet():
        made = QDQQuantizer(
            whole,
            True,  # one scale a channel
            False,  # all 8 bits
            quantization.QuantType.QInt8,
            quantization.QuantType.QUInt8,
            ranges,
            [],
            [*first, "prepared", "probabilities", *keep],
            list(QDQRegistry),
            {"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        made.quantize_model()
        made.model.topological_sort()
    return made.model.model


def _error_before(name: str, graph: Graph, errors: dict[str, float]) -> float:
    """Return the error of the last layer before, through whatever has no weights."""
    by_name = {n.name: n for n in graph.nodes}
    while name not in errors:
        if name == INPUT or name not in by_name:
            return 0.0
        name = by_name[name].inputs[0]
    return errors[name]


def _values(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what nodes give; quantization renames tensors, but not nodes."""
    tensors = {node.name: node.output[0] for node in model.graph.node}
    for name in names:
        kind = helper.make_tensor_value_info(tensors[name], TensorProto.FLOAT, None)
        model.graph.output.append(kind)
    opened = session(model.SerializeToString())
    parts = [opened.run([tensors[n] for n in names], batch) for batch in _batches(images)]
    return {name: np.concatenate(values) for name, *values in zip(names, *parts, strict=True)}


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(((found - wanted) ** 2).mean() / max((wanted**2).mean(), 1e-30)))


def _ranges(bundle: Bundle) -> Any:
    """Return the range of each tensor over all calibration images."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        onnx.save(to_onnx(replace(bundle, takes="tensor")), path)
        calibrator = quantization.calibrate.create_calibrator(
            path,
            None,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Images(bundle.training_images))
        return calibrator.compute_data()


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches = _batches(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None behind the last."""
        return next(self._batches, None)


def _batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for i in range(0, len(images), _CALIBRATION_BATCH):
        yield {INPUT: images[i : i + _CALIBRATION_BATCH]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice about preprocessing, which has been done, from the screen."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
