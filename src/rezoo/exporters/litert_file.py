"""Format litert: TensorFlow Lite's flat file, written by TensorFlow's converter and quantizer.

`tf.lite.experimental.QuantizationDebugger` measures the error of each layer in int8.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.exporters import saved_model
from rezoo.exporters.bundle import RANKED_ON, Bundle
from rezoo.exporters.formats import FORMATS, INPUT


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.tflite`, with the description in an archive at its end."""
    path = folder / FORMATS["litert"].file
    content = bundle.quantizer.content(bundle) if bundle.quantizer else _converted(bundle)
    path.write_bytes(content)
    bundle.describe_archive(path)


def _converted(bundle: Bundle) -> bytes:
    """Return the content of a file in float32 or float16, or with int8 weights (dynamic)."""
    with _converter(bundle) as converter:
        if bundle.quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if bundle.quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


def calibrate(bundle: Bundle, images: np.ndarray) -> LiteRTQuantizer:
    """Compute the range of each activation over prepared images, float32 `(N, H, W, C)`."""

    def calibration() -> Iterator[dict[str, np.ndarray]]:
        for image in images:
            yield {INPUT: image[None]}

    def ranked_on() -> Iterator[list[np.ndarray]]:
        for image in images[:RANKED_ON]:
            yield [image[None]]

    with _converter(bundle) as converter:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=ranked_on
        )
    layers = [node.name for node in bundle.graph.nodes if node.kind in ("conv", "dense")]
    return LiteRTQuantizer(debugger, layers)


class LiteRTQuantizer:
    """A `Quantizer` of LiteRT files, from a calibrated `QuantizationDebugger`.

    `layers` are the names of the convolutions and dense layers.
    """

    def __init__(self, debugger: Any, layers: list[str]) -> None:
        self._debugger, self._layers = debugger, layers
        self._tensors: dict[str, str] = {}  # layer: name of its output in the file

    def content(self, bundle: Bundle) -> bytes:
        """Return the int8 file; layers in `bundle.keep` must have been ranked."""
        names = [self._tensors[name] for name in bundle.keep]
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=names)
        with _without_advice():
            self._debugger.options = options
            return bytes(self._debugger.get_nondebug_quantized_model())

    def rank(self) -> list[str]:
        """Return the convolutions and dense layers, in descending order of the error they add.

        A layer adds the error of its output on its int8 inputs, in steps of the output's scale.
        Rounding alone makes 0.29 of a step.
        """
        table = io.StringIO()
        with _without_advice():
            self._debugger.options = tf.lite.experimental.QuantizationDebugOptions()
            self._debugger.run()
            self._debugger.layer_statistics_dump(table)
        added = {}
        for row in csv.DictReader(table.getvalue().splitlines()):
            for name in self._layers:
                if re.search(rf"/{re.escape(name)}(_\d+)?/", row["tensor_name"]):
                    self._tensors[name] = row["tensor_name"]
                    added[name] = float(row["mean_squared_error"]) ** 0.5 / float(row["scale"])
        return sorted(added, key=lambda name: -added[name])


@contextmanager
def _converter(bundle: Bundle) -> Iterator[Any]:
    """Yield a converter of the network, which reads files as long as the context is open."""
    plain = dataclasses.replace(bundle, quantize="none")
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        saved_model.write(plain, Path(folder) / "model")
        yield tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "model"))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress the warning of TensorFlow's interpreter, which calibrates, about its successor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
