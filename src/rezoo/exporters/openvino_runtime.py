"""The runtime of format openvino, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner

FORMAT = FORMATS["openvino"]
# without the first, some processors compute in bfloat16
_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open `model.xml`; it computes in float32 or, if quantized, in int8."""
    core, path = openvino.Core(), folder / FORMAT.file
    model = core.read_model(path)
    if not model.has_rt_info("rezoo"):
        raise IntegrityError(f"{path} was not exported by rezoo")
    settings: dict[str, Any] = {**_SETTINGS}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def call(images: np.ndarray) -> np.ndarray:
        return request.infer([np.ascontiguousarray(images)])[0].copy()

    return Runner(
        format=FORMAT.name,
        runtime=f"OpenVINO {openvino.__version__.partition('-')[0]}",
        metadata=json.loads(model.get_rt_info("rezoo").astype(str)),
        call=call,
    )
