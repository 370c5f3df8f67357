"""What a training step minimizes, and which answers count as hits.

Each loss takes logits float32 `(B, K)` and labels, and returns the loss and the number of hits,
scalars on the device. Figures are those of PyTorch and timm for the same targets.
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
    """Return `(logits, labels)` to `(loss, hits)`, as the recipe wants it for the task.

    Several labels always take `binary_cross_entropy`, one label what `recipe.loss` says.

    Args:
        recipe: Kind of loss, label smoothing and threshold.
        task: What the network is asked.
        class_weights: float32 `(K,)`, from `class_weights`, or None for none.
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
    """Return the batch's mean cross-entropy and how many most likely classes are the class.

    Labels are int32 `(B,)`, or float32 `(B, K)`, shares of the classes: then the class is that of
    the largest share. Smoothing s makes (1 - s) t + s / K of a share t.

    A class's weight multiplies the loss of its smoothed share, as in PyTorch's
    `CrossEntropyLoss(weight)`: the mean is weighted where an image has one class, and over
    images where it has shares of several. It is that of the images that go through the network
    at once.
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

    Each class is asked for by itself, so a mixed image has two ("ResNet strikes back", Wightman
    et al. 2021, arXiv:2110.00476, section 2); the mean is over images and classes. Labels and
    smoothing are those of `cross_entropy`; a target above `threshold`, where that is not 0,
    then becomes 1, any other 0 (timm's `BinaryCrossEntropy`).

    The weight of an image is the mean of its classes' weights by their shares; the mean over
    images is weighted where an image has one class. (PyTorch's weights for this loss would
    multiply a class's column, also where the class is absent, which balances nothing.)
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
    """Return the mean binary cross-entropy and of how many images the likeliest class is theirs.

    The mean is over images and classes. Labels are float32 `(B, K)`, 0 to 1; smoothing s makes
    (1 - s) t + s / 2 of a label t, and `threshold` is that of `one_against_all`. An image has
    the classes whose label is 0.5 or more; one that has none is a hit where no class has a
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
    """Return the weight of each class, float32 `(classes,)`, or None where the recipe has none.

    A balanced weight is N / (K n) for n of the N images, where K classes have any (scikit-learn's
    `class_weight="balanced"`), so the mean over images is 1; a class without images has 0.

    Raises:
        SpecError: The recipe's loss does not suit the task, or the classes are not known without
            reading every image.
    """
    _check(recipe, task, classes)
    if recipe.class_weights == "none":
        return None
    labels = examples.labels()
    if labels is None:
        raise SpecError(
            "class_weights = 'balanced' needs the number of images of each class, and these data "
            "tell classes only image by image",
            hint="set class_weights to none, or use the images as a folder or a CSV file.",
        )
    counts = np.bincount(labels, minlength=classes)
    balanced = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, balanced, 0.0).astype(np.float32)


def _check(recipe: Recipe, task: Task, classes: int) -> None:
    if task.multi_label and recipe.class_weights != "none":
        raise SpecError(
            f"class_weights = {recipe.class_weights!r}: the data have several labels an image",
            hint="set class_weights to none: weights are for one label an image.",
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
    """Return the mean over images; weighted, where each has one class that has a weight."""
    if weights is None or len(labels.shape) > 1:
        return ops.mean(losses)
    return ops.sum(losses) / ops.sum(shares * weights)


def _matches(logits: Any, shares: Any) -> Any:
    right = ops.argmax(logits, axis=-1) == ops.argmax(shares, axis=-1)
    return ops.sum(ops.cast(right, "int32"))
