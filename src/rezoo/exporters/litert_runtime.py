"""The runtime of format litert: LiteRT's interpreter, without TensorFlow."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner, archived_metadata

FORMAT = FORMATS["litert"]


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open `model.tflite`; a batch of another size than the last one allocates new buffers.

    With `threads` None all processors are used; LiteRT's own default is one thread.
    """
    path = folder / FORMAT.file
    metadata = archived_metadata(path)
    interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    allocated: tuple[int, ...] = ()

    def call(images: np.ndarray) -> np.ndarray:
        nonlocal allocated
        if images.shape != allocated:
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
            allocated = images.shape
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return Runner(
        format=FORMAT.name,
        runtime=f"LiteRT {version('ai-edge-litert')}",
        metadata=metadata,
        call=call,
    )
