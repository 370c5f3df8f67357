"""Batches on their way from the input pipeline to the device that computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from rezoo.models.devices import ONE, Devices
from rezoo.utils import device

AHEAD = 2  # batches that are copied to a GPU while it computes


def as_backend(batches: Any, devices: Devices = ONE) -> Iterable[Any]:
    """Return tf.data batches as tensors on TensorFlow, and as arrays on other backends.

    If the device is a GPU, they are there before they are needed. Several devices have a part each.
    """
    if keras.config.backend() == "tensorflow":
        return _on_gpu_of_tensorflow(batches) if device.on_gpu() else batches
    arrays = batches.as_numpy_iterator()
    return on_device(arrays, devices) if device.on_gpu() else arrays


def on_device(batches: Iterable[Any], devices: Devices = ONE) -> Iterator[Any]:
    """Yield batches as JAX's arrays, which are copied to the devices two ahead.

    An error of reading a batch is raised in its place, after the batches before it.
    """
    import jax

    put = jax.device_put if devices.mesh is None else lambda batch: tuple(map(devices.whole, batch))
    source, waiting = iter(batches), deque[Any]()
    error: Exception | None = None
    while error is None:
        try:
            waiting.append(put(next(source)))
        except Exception as found:  # also the end
            error = found
        else:
            if len(waiting) > AHEAD:
                yield waiting.popleft()
    yield from waiting
    if not isinstance(error, StopIteration):
        raise error


def _on_gpu_of_tensorflow(batches: Any) -> Iterable[Any]:
    import tensorflow as tf

    return batches.apply(tf.data.experimental.prefetch_to_device("/gpu:0", AHEAD))
