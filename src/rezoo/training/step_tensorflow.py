"""The training step as TensorFlow graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from rezoo.models.normalization import network_input
from rezoo.specs import Preprocessing
from rezoo.training.losses import Objective
from rezoo.training.update import Gradients, Update
from rezoo.utils import device
from rezoo.utils.device import STEP_WITH_XLA


def compiled_step(
    model: keras.Model,
    update: Update,
    objective: Objective,
    preprocessing: Preprocessing | None,
    micro_batches: int,
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    """Return `run(batch)`, which returns the figures of `step.Figures` as float32 `(4,)`.

    Each image size has its own graph.
    """
    variables = update.optimizer.trained
    apply = _compiled(update) if device.on_gpu() else update

    def differentiate(images: Any, labels: Any) -> tuple[Gradients, Any]:
        """Return the gradients of the multiplied loss, and loss and hits as float32 `(2,)`."""
        inputs = network_input(images, preprocessing)
        trained = [v.value for v in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            loss, hits = objective(model(inputs, training=True), labels)
            multiplied = loss * update.loss_factor()
        gradients = tape.gradient(multiplied, trained, unconnected_gradients="zero")
        return gradients, tf.stack([loss, tf.cast(hits, tf.float32)])

    @tf.function(jit_compile=STEP_WITH_XLA, autograph=False)
    def whole(images: Any, labels: Any) -> Any:
        gradients, found = differentiate(images, labels)
        return tf.concat([found, tf.stack(apply(gradients, 1))], 0)

    if micro_batches == 1:
        return lambda batch: whole(*batch[0])

    sums = [tf.Variable(tf.zeros_like(v.value)) for v in variables]

    @tf.function(jit_compile=STEP_WITH_XLA, autograph=False)
    def add(images: Any, labels: Any) -> Any:
        gradients, found = differentiate(images, labels)
        for total, gradient in zip(sums, gradients, strict=True):
            total.assign_add(gradient)
        return found

    @tf.function(jit_compile=STEP_WITH_XLA, autograph=False)
    def finish(found: list[Any]) -> Any:
        loss_and_hits = tf.add_n(found) / tf.constant([micro_batches, 1.0])
        norms = apply([tf.identity(total) for total in sums], micro_batches)
        for total in sums:
            total.assign(tf.zeros_like(total))  # so that no checkpoint needs them
        return tf.concat([loss_and_hits, tf.stack(norms)], 0)

    return lambda batch: finish([add(*micro_batch) for micro_batch in batch])


def _compiled(update: Update) -> Callable[[Gradients, int], tuple[Any, Any]]:
    """Return the update, compiled by XLA: one by one, a GPU has up to thousands of kernels.

    A CPU is faster without; see docs/concepts/speed.md.
    """

    @tf.function(jit_compile=True, autograph=False)
    def compiled(gradients: Gradients, micro_batches: int) -> tuple[Any, Any]:
        return update(gradients, micro_batches)

    return compiled
