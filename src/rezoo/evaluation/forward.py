"""The compiled forward pass, on the backend that Keras runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Forward = Callable[[Any], np.ndarray]


def compiled_forward(model: keras.Model) -> Forward:
    """Return `forward(images) -> outputs`: float32 `(B, H, W, C)` to a NumPy array `(B, K)`.

    The model's current variables are used at each call, in inference mode.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        shape = model.inputs[0].shape
        images_of_any_number = tf.TensorSpec(shape, tf.float32)  # one trace for all batches
        function = tf.function(lambda x: model(x, training=False))
        # TensorFlow would take a second network's first trace for a repeated one, and warn
        traced = function.get_concrete_function(images_of_any_number)

        def run(images: Any, model: keras.Model = model) -> np.ndarray:  # which keeps it alive
            return np.asarray(traced(tf.convert_to_tensor(images)).numpy())

        return run
    if backend == "jax":
        import jax

        apply = jax.jit(
            lambda t, n, x: model.stateless_call(t, n, x, training=False)[0],
        )

        def forward(images: Any) -> np.ndarray:
            trained = [v.value for v in model.trainable_variables]
            others = [v.value for v in model.non_trainable_variables]
            return np.asarray(apply(trained, others, np.asarray(images)))

        return forward
    return lambda images: keras.ops.convert_to_numpy(model(np.asarray(images), training=False))
