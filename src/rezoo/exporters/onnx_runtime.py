"""The runtime of format onnx: onnxruntime on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import FORMATS, INPUT
from rezoo.exporters.runner import Runner

FORMAT = FORMATS["onnx"]


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open `model.onnx`."""
    path = folder / FORMAT.file
    session = open_session(path, threads=threads)
    properties = session.get_modelmeta().custom_metadata_map
    if "rezoo" not in properties:
        raise IntegrityError(f"{path} was not exported by rezoo")
    metadata = json.loads(properties["rezoo"])
    return Runner(
        format=FORMAT.name,
        runtime=f"onnxruntime {onnxruntime.__version__}",
        metadata=metadata,
        call=lambda images: session.run([metadata["output"]], {INPUT: images})[0],
    )


def open_session(
    model: bytes | Path, *, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Open a model, serialized or in a file, without onnxruntime's warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
