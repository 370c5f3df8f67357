"""Format saved_model: TensorFlow's own, each weight once.

Keras's exporter writes every weight twice; here a `tf.Module` holds them. Signatures:
`serving_default` takes `image`. With raw input there is `encoded` as well, which takes the bytes
of image files: JPEG, PNG, BMP or GIF. It ignores EXIF orientation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from rezoo.data.transforms import test_transform
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.keras_file import to_keras
from rezoo.models.primitives import Conv2D


def write(bundle: Bundle, folder: Path) -> None:
    """Write the files of a SavedModel; the description goes to `assets.extra`."""
    module = tf.Module()
    model = to_keras(bundle.whole, convolution=Conv2D)
    module.weights = [weight.value for weight in model.weights]
    signatures = _signatures(bundle, model)
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures=signatures)
    extra = folder / "assets.extra"
    extra.mkdir()
    bundle.describe(extra)


def _signatures(bundle: Bundle, model: Any) -> dict[str, Any]:
    shape, channels = bundle.graph.shape, bundle.preprocessing.channels

    def run(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return outputs if isinstance(outputs, dict) else {bundle.gives: outputs}

    if bundle.takes == "tensor":
        return {"serving_default": _function(run, (None, *shape), tf.float32)}
    transform = test_transform(bundle.preprocessing, encoded=False)
    prepared = tf.TensorSpec(shape, tf.float32)

    def run_raw(image: Any) -> dict[str, Any]:
        return run(tf.map_fn(transform, image, fn_output_signature=prepared))

    def transform_encoded(content: Any) -> Any:
        return transform(_decoded(content, channels))

    def run_encoded(image: Any) -> dict[str, Any]:
        return run(tf.map_fn(transform_encoded, image, fn_output_signature=prepared))

    return {
        "serving_default": _function(run_raw, (None, None, None, channels), tf.uint8),
        "encoded": _function(run_encoded, (None,), tf.string),
    }


def _function(run: Callable[[Any], Any], shape: tuple[int | None, ...], dtype: Any) -> Any:
    return tf.function(run, [tf.TensorSpec(shape, dtype, "image")], autograph=False)


def _decoded(content: Any, channels: int) -> Any:
    """Decode with TensorFlow's operations alone: what rezoo adds to them is no graph."""
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(content, channels, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, channels))
