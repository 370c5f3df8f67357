"""From a SavedModel to LiteRT's flat file, by TensorFlow's converter and quantizer.

Which layers lose most in int8 is what `tf.lite.experimental.QuantizationDebugger` finds: the
error of each output in steps of its scale.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.exporters import saved_model
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import INPUT
from rezoo.exporters.mixed_precision import RANKED_ON, Run


def converted(bundle: Bundle) -> bytes:
    """Return the content of a file in float32 or float16, or with int8 weights (dynamic)."""
    with _converter(bundle) as converter:
        if bundle.quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if bundle.quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


class Int8:
    """A `Quantizer` of LiteRT files.

    Args:
        bundle: What to quantize; its calibration images are looked at here.
        run: Runs a file's content.

    Raises:
        SpecError: There are no calibration images.
    """

    def __init__(self, bundle: Bundle, run: Run) -> None:
        images, graph = bundle.training_images, bundle.graph
        self._run = run
        self._layers = [n.name for n in graph.nodes if n.kind in ("conv", "dense")]
        self._tensors: dict[str, str] = {}  # of the layers, once they are ranked

        def calibration() -> Iterator[dict[str, np.ndarray]]:
            for image in images:
                yield {INPUT: image[None]}

        def ranked_on() -> Iterator[list[np.ndarray]]:
            for image in images[:RANKED_ON]:
                yield [image[None]]

        with _converter(bundle) as converter:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = calibration
            self._debugger = tf.lite.experimental.QuantizationDebugger(
                converter=converter, debug_dataset=ranked_on
            )

    def content(self, keep: Sequence[str] = ()) -> bytes:
        """Return the quantized file's content."""
        names = [self._tensors[name] for name in keep]
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=names)
        with _quiet():
            self._debugger.options = options
            return bytes(self._debugger.get_nondebug_quantized_model())

    def run(self, content: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """Return what runs it."""
        return self._run(content)

    def rank(self) -> list[str]:
        """Return the convolutions and fully connected layers, those that add most error first.

        What a layer adds is the error of its output on the inputs that it gets in int8, in steps
        of the output's scale: rounding alone makes 0.29 of a step.
        """
        table = io.StringIO()
        with _quiet():
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
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        plain = dataclasses.replace(bundle, quantize="none")
        saved_model.write(plain, Path(temporary) / "model")
        yield tf.lite.TFLiteConverter.from_saved_model(str(Path(temporary) / "model"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow's interpreter, which calibrates, says of its successor to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
