"""Format litert: TensorFlow Lite's flat file, written by TensorFlow's converter."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rezoo.exporters.archives import append_metadata, read_metadata
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle
    from rezoo.exporters.mixed_precision import Quantizer

FORMAT = FORMATS["litert"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.tflite`; labels and facts are in the archive at its end."""
    from rezoo.exporters.litert_conversion import converted

    if bundle.quantize == "int8":
        content = (bundle.quantizer or quantizer(bundle)).content(bundle.keep)
    else:
        content = converted(bundle)
    path = folder / FORMAT.file
    path.write_bytes(content)
    append_metadata(path, bundle.metadata(), bundle.labels())


def quantizer(bundle: Bundle) -> Quantizer:
    """Look at the calibration images."""
    from rezoo.exporters.litert_conversion import Int8

    return Int8(bundle, lambda content: _called(Interpreter(model_content=content)))


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it; batches of another size than the last take a moment for new buffers.

    LiteRT alone of all runtimes would take one thread where nothing is said.
    """
    path = folder / FORMAT.file
    metadata = read_metadata(path)
    interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"LiteRT {version('ai-edge-litert')}",
        call=_called(interpreter),
    )


def _called(interpreter: Any) -> Callable[[np.ndarray], np.ndarray]:
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    ready: list[tuple[int, ...]] = []

    def call(images: np.ndarray) -> np.ndarray:
        if ready != [images.shape]:
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
            ready[:] = [images.shape]
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return call
