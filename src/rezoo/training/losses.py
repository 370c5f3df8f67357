"""The losses of training, and the number of correct predictions ("hits").

Each loss takes logits float32 `(B, K)` and labels, and returns the loss and the number of hits as
scalar tensors. The values are those of PyTorch and timm for the same targets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from rezoo.data.examples import Examples
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import Task

Objective = Callable[[Any, Any], tuple[Any, Any]]


def objective(recipe: Recipe, task: Task, class_weights: np.ndarray | None = None) -> Objective:
    """Return a recipe's loss for a task, a function of `(logits, labels)`.

    Multi-label data always use `binary_cross_entropy`; single-label data use `recipe.loss`.

    Args:
        recipe: Its loss, label smoothing and threshold are used.
        task: Single-label or multi-label.
        class_weights: float32 `(K,)`, from `class_weights`, or None.
    """
    threshold, smoothing = recipe.bce_threshold, recipe.label_smoothing
    if task.multi_label:
        return partial(binary_cross_entropy, smoothing=smoothing, threshold=threshold)
    if recipe.loss == "binary_cross_entropy":
        return partial(
            one_against_all, smoothing=smoothing, threshold=threshold, weights=class_weights
        )
    return partial(cross_entropy, smoothing=smoothing, weights=class_weights)


def cross_entropy(
    logits: Any, labels: Any, *, smoothing: float, weights: np.ndarray | None = None
) -> tuple[Any, Any]:
    """Return the mean cross-entropy and the number of images whose predicted class is correct.

    Labels are int32 `(B,)`, or float32 `(B, K)`, shares of the classes: then the class with the
    largest share is the correct one. Smoothing s turns a share t into (1 - s) t + s / K.

    A class's weight multiplies the loss of its smoothed share, as in PyTorch's
    `CrossEntropyLoss(weight)`. The mean is weighted if each image has one class, and plain if
    images have shares of several. It is taken over a micro-batch.
    """
    shares = _shares(logits, labels)
    targets = _smooth(shares, smoothing, logits.shape[-1])
    if weights is None:
        losses = keras.losses.categorical_crossentropy(targets, logits, from_logits=True)
    else:  # such targets add up to another sum than 1, which the function above assumes
        losses = -ops.sum(targets * weights * ops.log_softmax(logits, axis=-1), axis=-1)
    return _mean(losses, labels, shares, weights), _matches(logits, shares)


def one_against_all(
    logits: Any,
    labels: Any,
    *,
    smoothing: float,
    threshold: float = 0.0,
    weights: np.ndarray | None = None,
) -> tuple[Any, Any]:
    """Return the mean binary cross-entropy of one label among K, and hits as `cross_entropy` does.

    Each class is a binary target, so a mixed image has two ("ResNet strikes back", Wightman
    et al. 2021, arXiv:2110.00476, section 2); the mean is over images and classes. Labels and
    smoothing are those of `cross_entropy`. If `threshold` is not 0, a target above it then
    becomes 1, any other 0 (timm's `BinaryCrossEntropy`).

    The weight of an image is the mean of its classes' weights by their shares; the mean over
    images is weighted if each image has one class. (PyTorch's weights for this loss would
    multiply a class's column, also for images without the class, which balances nothing.)
    """
    shares = _shares(logits, labels)
    targets = _above(_smooth(shares, smoothing, logits.shape[-1]), threshold)
    losses = keras.losses.binary_crossentropy(targets, logits, from_logits=True)
    if weights is not None:
        losses = losses * ops.sum(shares * weights, axis=-1)
    return _mean(losses, labels, shares, weights), _matches(logits, shares)


def binary_cross_entropy(
    logits: Any, labels: Any, *, smoothing: float, threshold: float = 0.0
) -> tuple[Any, Any]:
    """Return the mean binary cross-entropy and the number of images whose top class is correct.

    The mean is over images and classes. Labels are float32 `(B, K)`, 0 to 1; smoothing s turns a
    label t into (1 - s) t + s / 2, and `threshold` is that of `one_against_all`. An image has
    the classes whose label is 0.5 or more. An image without classes is a hit if no class has a
    probability above 0.5.
    """
    targets = _above(labels * (1.0 - smoothing) + smoothing / 2, threshold)
    loss = ops.mean(keras.losses.binary_crossentropy(targets, logits, from_logits=True))
    best = ops.argmax(logits, axis=-1)[:, None]
    of_best = ops.take_along_axis(labels, best, axis=-1)[:, 0] >= 0.5
    none = ops.max(labels, axis=-1) < 0.5
    hits = ops.where(none, ops.max(logits, axis=-1) <= 0, of_best)
    return loss, ops.sum(ops.cast(hits, "int32"))


def class_weights(
    recipe: Recipe, task: Task, examples: Examples, classes: int
) -> np.ndarray | None:
    """Return the weight of each class, float32 `(classes,)`; None if the recipe has none.

    The balanced weight of a class with n of N images is N / (K n) if K classes have any images
    (scikit-learn's `class_weight="balanced"`). The mean over images is 1; a class without images
    has weight 0.

    Raises:
        SpecError: The recipe's loss does not suit the task, or the labels are known only from
            reading every image.
    """
    _check(recipe, task, classes)
    if recipe.class_weights == "none":
        return None
    labels = examples.labels()
    if labels is None:
        raise SpecError(
            "class_weights = 'balanced' needs the number of images of each class, which these data "
            "give only when every image is read",
            hint="set class_weights to none, or use the images as a folder or a CSV file.",
        )
    counts = np.bincount(labels, minlength=classes)
    balanced = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, balanced, 0.0).astype(np.float32)


def _check(recipe: Recipe, task: Task, classes: int) -> None:
    if task.multi_label and recipe.class_weights != "none":
        raise SpecError(
            f"class_weights = {recipe.class_weights!r}: the data are multi-label",
            hint="set class_weights to none: weights are for single-label data.",
        )
    threshold, smoothing = recipe.bce_threshold, recipe.label_smoothing
    if not threshold:
        return
    if not task.multi_label and recipe.loss != "binary_cross_entropy":
        raise SpecError(
            f"bce_threshold = {threshold:g}, but loss = {recipe.loss!r}",
            hint="set loss to binary_cross_entropy, or bce_threshold to 0.",
        )
    absent = smoothing / (2 if task.multi_label else classes)
    if not absent <= threshold < 1.0 - smoothing + absent:
        raise SpecError(
            f"bce_threshold = {threshold:g}: with label_smoothing = {smoothing:g}, targets are "
            f"{absent:g} to {1.0 - smoothing + absent:g}, all on one side of it",
            hint="set another bce_threshold, or label_smoothing to 0.",
        )


def _shares(logits: Any, labels: Any) -> Any:
    return ops.one_hot(labels, logits.shape[-1]) if len(labels.shape) == 1 else labels


def _smooth(shares: Any, smoothing: float, classes: int) -> Any:
    return shares * (1.0 - smoothing) + smoothing / classes


def _above(targets: Any, threshold: float) -> Any:
    return ops.cast(targets > threshold, targets.dtype) if threshold else targets


def _mean(losses: Any, labels: Any, shares: Any, weights: np.ndarray | None) -> Any:
    """Return the mean over images, weighted if each has one class and there are weights."""
    if weights is None or len(labels.shape) > 1:
        return ops.mean(losses)
    return ops.sum(losses) / ops.sum(shares * weights)


def _matches(logits: Any, shares: Any) -> Any:
    right = ops.argmax(logits, axis=-1) == ops.argmax(shares, axis=-1)
    return ops.sum(ops.cast(right, "int32"))
