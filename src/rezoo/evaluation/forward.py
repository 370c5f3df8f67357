"""The compiled forward pass of a network, and the network of a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.logits import Forward
from rezoo.models.devices import divided, on_this_host
from rezoo.models.factory import deep_graphs
from rezoo.models.layers import PROBABILITIES
from rezoo.models.normalization import network_input
from rezoo.sources.any_model import AnyModel
from rezoo.sources.load import load
from rezoo.sources.references import Source
from rezoo.specs import Preprocessing


def network_of(model: AnyModel, source: Source) -> keras.Model:
    """Return the model itself, or the network of its source with the weights; it gives logits.

    Raises:
        SpecError: The network gives features: it has no head.
        IncompatibleError: The head of a model has another width than its `rezoo_config`.
    """
    classes = source.config.num_classes
    network = model if isinstance(model, keras.Model) else load(source)
    if not classes:
        raise SpecError(
            f"{source.reference} has no classes: it gives features",
            hint="load it without num_classes=0.",
        )
    if tuple(network.output_shape[1:]) != (classes,):
        raise IncompatibleError(
            f"{source.reference} gives outputs {network.output_shape}, its config has {classes} "
            "classes",
            hint="set model.rezoo_config to the ModelConfig of this model.",
        )
    last = network.layers[-1]
    if last.name != PROBABILITIES:
        return network
    with deep_graphs():
        logits = keras.Model(network.inputs, last.input, name=network.name)
    for name in ("rezoo_origin", "rezoo_class_means"):
        setattr(logits, name, getattr(network, name, None))
    return logits


def compiled_forward(model: keras.Model, preprocessing: Preprocessing | None = None) -> Forward:
    """Return a function from images `(B, H, W, C)` to logits, NumPy `(B, K)`.

    For arguments and devices see `compiled_outputs`.
    """
    outputs = compiled_outputs(model, preprocessing)
    return lambda images: outputs(images)[0]


def compiled_outputs(
    model: keras.Model, preprocessing: Preprocessing | None = None
) -> Callable[[Any], list[np.ndarray]]:
    """Return a function from images `(B, H, W, C)` to the outputs of a model, in their order.

    The model runs in inference mode, with the values that its variables have at each call. It runs
    on the devices of this host that its variables are on; other hosts are not waited for.

    Args:
        model: The network.
        preprocessing: Of the images, which are then whole grey levels, uint8, of its size, and are
            normalized on the device. If None, they are the network's input, float32.
    """
    backend = keras.config.backend()

    def network(x: Any) -> list[Any]:
        return list(keras.tree.flatten(model(network_input(x, preprocessing), training=False)))

    if backend == "tensorflow":
        import tensorflow as tf

        kind = tf.TensorSpec(model.inputs[0].shape, tf.float32)
        if preprocessing is not None:
            kind = tf.TensorSpec((None, *preprocessing.size, preprocessing.channels), tf.uint8)
        function = tf.function(network)
        # otherwise TensorFlow takes the first trace of a second network for a retracing and warns
        traced = function.get_concrete_function(kind)  # for any number of images

        def run(images: Any, model: keras.Model = model) -> list[np.ndarray]:  # keeps it alive
            return [np.asarray(x.numpy()) for x in traced(tf.convert_to_tensor(images))]

        return run
    if backend == "jax":
        return _outputs_on_jax(model, preprocessing)
    return lambda images: [keras.ops.convert_to_numpy(x) for x in network(np.asarray(images))]


def _outputs_on_jax(
    model: keras.Model, preprocessing: Preprocessing | None
) -> Callable[[Any], list[np.ndarray]]:
    import jax

    @jax.jit
    def apply(trained: Any, others: Any, x: Any) -> Any:
        x = network_input(x, preprocessing)
        return keras.tree.flatten(model.stateless_call(trained, others, x, training=False)[0])

    largest: dict[tuple[int, ...], int] = {}  # batch of each image size

    def forward(images: Any) -> list[np.ndarray]:
        trained = [on_this_host(v.value) for v in model.trainable_variables]
        others = [on_this_host(v.value) for v in model.non_trainable_variables]
        count, values = len(images), np.asarray(images)
        # a smaller last batch would be compiled anew
        size = largest[values.shape[1:]] = max(largest.get(values.shape[1:], 0), count)
        where = next(iter([*trained, *others])).sharding
        size += -size % where.num_devices  # each has as many images
        if count < size:
            blank = np.zeros((size - count, *values.shape[1:]), values.dtype)
            values = np.concatenate([values, blank])
        return [np.asarray(x)[:count] for x in apply(trained, others, divided(values, where))]

    return forward
