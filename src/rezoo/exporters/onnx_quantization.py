"""Smaller numbers in ONNX: weights in float16, or weights and activations in int8.

int8 follows onnxruntime's static quantization: ranges of activations from calibration images, one
scale for each channel of a weight, QuantizeLinear and DequantizeLinear around each node. What
runs the file joins them with the node (OpenVINO reads the same file).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
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
from rezoo.exporters.onnx_graph import to_onnx

_CALIBRATION_BATCH = 16


def quantized(bundle: Bundle) -> onnx.ModelProto:
    """Return the ONNX model of a bundle, with the numbers that it asks for."""
    if bundle.quantize == "int8":
        return Int8(bundle).model(bundle.keep)
    model = to_onnx(bundle)
    return float16_weights(model) if bundle.quantize == "float16" else model


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


class Int8:
    """A network whose activations have been looked at, to be quantized once or several times.

    Args:
        bundle: What to quantize; its `calibration` images are looked at here.

    Raises:
        SpecError: It has no calibration images.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.ranges = bundle.ranges or _ranges(
            to_onnx(replace(bundle, takes="tensor")), bundle.training_images
        )

    def model(self, keep: Sequence[str] = ()) -> onnx.ModelProto:
        """Return the quantized model; nodes in `keep` stay in float32."""
        whole = to_onnx(self.bundle)
        first = [node.name for node in whole.graph.node if node.name[:4] == "pre."]
        with _quiet():
            made = QDQQuantizer(
                whole,
                True,  # one scale a channel
                False,  # all 8 bits
                quantization.QuantType.QInt8,
                quantization.QuantType.QUInt8,
                self.ranges,
                [],
                [*first, "prepared", "probabilities", *keep],
                list(QDQRegistry),
                {"WeightSymmetric": True, "ActivationSymmetric": False},
            )
            made.quantize_model()
            made.model.topological_sort()
        return made.model.model


def _ranges(model: onnx.ModelProto, images: np.ndarray) -> Any:
    """Return the range of each tensor over all images."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = quantization.calibrate.create_calibrator(
            path,
            None,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Images(images))
        return calibrator.compute_data()


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = (
            images[i : i + _CALIBRATION_BATCH] for i in range(0, len(images), _CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, or None behind the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice about preprocessing, which has been done, from the screen."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
