"""What a training step minimizes, and which answers count as hits: one function a task.

Each takes logits float32 `(B, K)`, labels and the label smoothing, and returns the loss and the
number of hits, scalars on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL

LossAndHits = Callable[..., tuple[Any, Any]]


def cross_entropy(logits: Any, labels: Any, *, smoothing: float) -> tuple[Any, Any]:
    """Return the batch's mean cross-entropy and how many most likely classes are the class.

    Labels are int32 `(B,)`, or float32 `(B, K)`, shares of the classes: then the class is that of
    the largest share. Smoothing s makes (1 - s) t + s / K of a share t.
    """
    classes = logits.shape[-1]
    if len(labels.shape) == 1:
        labels = keras.ops.one_hot(labels, classes)
    targets = labels * (1.0 - smoothing) + smoothing / classes
    loss = keras.ops.mean(keras.losses.categorical_crossentropy(targets, logits, from_logits=True))
    right = keras.ops.argmax(logits, axis=-1) == keras.ops.argmax(labels, axis=-1)
    return loss, keras.ops.sum(keras.ops.cast(right, "int32"))


def binary_cross_entropy(logits: Any, labels: Any, *, smoothing: float) -> tuple[Any, Any]:
    """Return the mean binary cross-entropy and of how many images the likeliest class is theirs.

    The mean is over images and classes. Labels are float32 `(B, K)`, 0 to 1; smoothing s makes
    (1 - s) t + s / 2 of a label t. An image has the classes whose label is 0.5 or more; one that
    has none is a hit where no class has a probability above 0.5.
    """
    targets = labels * (1.0 - smoothing) + smoothing / 2
    loss = keras.ops.mean(keras.losses.binary_crossentropy(targets, logits, from_logits=True))
    best = keras.ops.argmax(logits, axis=-1)[:, None]
    of_best = keras.ops.take_along_axis(labels, best, axis=-1)[:, 0] >= 0.5
    none = keras.ops.max(labels, axis=-1) < 0.5
    hits = keras.ops.where(none, keras.ops.max(logits, axis=-1) <= 0, of_best)
    return loss, keras.ops.sum(keras.ops.cast(hits, "int32"))


LOSSES: dict[str, LossAndHits] = {
    SINGLE_LABEL.name: cross_entropy,
    MULTI_LABEL.name: binary_cross_entropy,
}
