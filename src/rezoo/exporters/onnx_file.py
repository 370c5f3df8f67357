"""Format onnx: written node by node, named as the layers are, and run by onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import FORMATS, INPUT
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle
    from rezoo.exporters.mixed_precision import Quantizer

FORMAT = FORMATS["onnx"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.onnx`."""
    import onnx

    from rezoo.exporters.onnx_graph import to_onnx
    from rezoo.exporters.onnx_quantization import float16_weights, int8

    model = int8(bundle) if bundle.quantize == "int8" else to_onnx(bundle)
    if bundle.quantize == "float16":
        model = float16_weights(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / FORMAT.file)


def quantizer(bundle: Bundle) -> Quantizer:
    """Look at the calibration images."""
    from rezoo.exporters.onnx_quantization import Int8

    return Int8(bundle, run_onnx)


def session(model: bytes | Path, threads: int | None = None) -> Any:
    """Open a model in onnxruntime on the processor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_onnx(content: bytes) -> Any:
    """Return what runs an ONNX model's only output."""
    opened = session(content)
    return lambda images: opened.run(None, {INPUT: images})[0]


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it in onnxruntime."""
    opened = session(folder / FORMAT.file, threads)
    properties = opened.get_modelmeta().custom_metadata_map
    if "rezoo" not in properties:
        raise IntegrityError(f"{folder / FORMAT.file} is no export of rezoo's")
    metadata = json.loads(properties["rezoo"])
    output = metadata["output"]
    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"onnxruntime {onnxruntime.__version__}",
        call=lambda images: opened.run([output], {INPUT: images})[0],
    )
