"""Format litert: TensorFlow Lite's flat file, written by TensorFlow's converter."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.exporters.archives import append_metadata, read_metadata
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["litert"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.tflite`; labels and facts are in the archive at its end."""
    import tensorflow as tf

    from rezoo.exporters import saved_model

    with tempfile.TemporaryDirectory() as temporary:
        plain = dataclasses.replace(bundle, quantize="none")
        saved_model.write(plain, Path(temporary) / "model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(temporary) / "model"))
        _SETTINGS[bundle.quantize](converter, bundle)
        with warnings.catch_warnings():  # of its own interpreter, which calibrates
            warnings.simplefilter("ignore", UserWarning)
            content = converter.convert()
    path = folder / FORMAT.file
    path.write_bytes(content)
    append_metadata(path, bundle.metadata(), bundle.labels())


def _float16(converter: Any, bundle: Bundle) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, bundle: Bundle) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, bundle: Bundle) -> None:
    images = bundle.training_images

    def representative() -> Iterator[dict[str, np.ndarray]]:
        for image in images:
            yield {"image": image[None]}

    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative


_SETTINGS: dict[str, Callable[[Any, Bundle], None]] = {
    "none": lambda converter, bundle: None,
    "float16": _float16,
    "dynamic": _dynamic,
    "int8": _int8,
}


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it; batches of another size than the last take a moment for new buffers.

    LiteRT alone of all runtimes would take one thread where nothing is said.
    """
    from ai_edge_litert.interpreter import Interpreter

    path = folder / FORMAT.file
    metadata = read_metadata(path)
    interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
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

    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"LiteRT {version('ai-edge-litert')}",
        call=call,
    )
