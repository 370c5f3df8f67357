"""Format saved_model: TensorFlow's own, each weight once.

Keras's exporter writes every weight twice; here a `tf.Module` holds them. Signatures:
`serving_default` takes `image`. With raw input there is `encoded` as well, which takes the bytes
of image files: JPEG, PNG, BMP or GIF. It ignores EXIF orientation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rezoo.exporters.formats import FORMATS, METADATA
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:  # it imports Keras, which is no part of the runtime
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["saved_model"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write the files of a SavedModel; the description goes to `assets.extra`."""
    from rezoo.exporters.keras_file import to_keras

    module = tf.Module()
    model = to_keras(bundle.whole)
    module.weights = [weight.value for weight in model.weights]
    signatures = {"serving_default": _signature(bundle, model)}
    if bundle.takes == "raw":
        signatures["encoded"] = _encoded(bundle, model)
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures=signatures)
    extra = folder / "assets.extra"
    extra.mkdir()
    bundle.describe(extra)


def _signature(bundle: Bundle, model: Any) -> Any:
    height, width, channels = bundle.graph.shape
    if bundle.takes == "tensor":
        kind = tf.TensorSpec((None, height, width, channels), tf.float32, "image")

        def run(image: Any) -> dict[str, Any]:
            return {bundle.gives: model(image, training=False)}

        return tf.function(run, [kind], autograph=False)
    from rezoo.data.transforms import test_transform

    transform = test_transform(bundle.preprocessing, encoded=False)
    kind = tf.TensorSpec((None, None, None, channels), tf.uint8, "image")
    return tf.function(_prepared(bundle, model, transform), [kind], autograph=False)


def _encoded(bundle: Bundle, model: Any) -> Any:
    from rezoo.data.transforms import test_transform

    channels = bundle.preprocessing.channels
    transform = test_transform(bundle.preprocessing, encoded=False)
    kind = tf.TensorSpec((None,), tf.string, "image")

    def decoded(contents: Any) -> Any:
        """Decode with TensorFlow's operations alone: what rezoo adds to them is no graph."""
        image = tf.cond(
            tf.io.is_jpeg(contents),
            lambda: tf.io.decode_jpeg(contents, channels, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(contents, channels, expand_animations=False),
        )
        return transform(tf.ensure_shape(image, (None, None, channels)))

    return tf.function(_prepared(bundle, model, decoded), [kind], autograph=False)


def _prepared(bundle: Bundle, model: Any, transform: Any) -> Any:
    kind = tf.TensorSpec(bundle.graph.shape, tf.float32)

    def run(image: Any) -> dict[str, Any]:
        images = tf.map_fn(transform, image, fn_output_signature=kind)
        return {bundle.gives: model(images, training=False)}

    return run


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open a SavedModel; `threads` is ignored, since TensorFlow sets it for the whole process."""
    metadata = json.loads((folder / "assets.extra" / METADATA).read_text(encoding="utf-8"))
    loaded = tf.saved_model.load(str(folder))
    run, output = loaded.signatures["serving_default"], metadata["output"]

    def call(images: Any) -> Any:
        return run(image=tf.constant(images))[output].numpy()

    call.loaded = loaded  # type: ignore[attr-defined]  # the signature does not keep its variables
    return Runner(
        format=FORMAT.name,
        runtime=f"TensorFlow {tf.__version__}",
        metadata=metadata,
        call=call,
    )
