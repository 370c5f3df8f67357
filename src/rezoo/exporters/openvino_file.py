"""Format openvino: read from the ONNX model, run by OpenVINO in the precision of the file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle
    from rezoo.exporters.mixed_precision import Quantizer

FORMAT = FORMATS["openvino"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.xml` and `model.bin`."""
    from rezoo.exporters.onnx_graph import to_onnx
    from rezoo.exporters.onnx_quantization import int8
    from rezoo.exporters.openvino_preprocessing import prepend

    tensor = dataclasses.replace(bundle, takes="tensor")
    # float16 is OpenVINO's own, at the end
    content = int8(tensor) if bundle.quantize == "int8" else to_onnx(tensor)
    model = openvino.Core().read_model(content.SerializeToString())
    if bundle.takes == "raw":
        model = prepend(model, bundle.preprocessing)
    metadata = bundle.metadata()
    model.set_rt_info(json.dumps(metadata, ensure_ascii=False), "rezoo")
    model.set_rt_info("\n".join(bundle.labels()), ["model_info", "labels"])
    half = bundle.quantize == "float16"
    openvino.save_model(model, folder / FORMAT.file, compress_to_fp16=half)


def quantizer(bundle: Bundle) -> Quantizer:
    """Look at the calibration images."""
    from rezoo.exporters.onnx_quantization import Int8

    return Int8(bundle, run_onnx)


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it; without its hint, OpenVINO computes in bfloat16 on some processors."""
    core = openvino.Core()
    model = core.read_model(folder / FORMAT.file)
    if not model.has_rt_info("rezoo"):
        raise IntegrityError(f"{folder / FORMAT.file} is no export of rezoo's")
    metadata = json.loads(model.get_rt_info("rezoo").astype(str))
    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"OpenVINO {openvino.__version__.partition('-')[0]}",
        call=_compiled(core, model, threads),
    )


def run_onnx(content: bytes) -> Any:
    """Return what runs an ONNX model's only output."""
    core = openvino.Core()
    return _compiled(core, core.read_model(content))


def _compiled(core: Any, model: Any, threads: int | None = None) -> Any:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def call(images: np.ndarray) -> np.ndarray:
        return request.infer([np.ascontiguousarray(images)])[0].copy()

    return call
