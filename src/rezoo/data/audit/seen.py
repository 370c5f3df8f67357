"""What a network gets of chosen examples, out of the pipeline that trains and tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import pipeline
from rezoo.data.audit.labels import having
from rezoo.data.audit.request import SheetRequest
from rezoo.data.examples import Examples
from rezoo.errors import NotFoundError, UnknownNameError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.utils.names import suggest


@dataclass(frozen=True)
class Seen:
    """One example as a network gets it, made visible again.

    Attributes:
        picture: uint8 `(H, W, C)`.
        target: Its label or labels; where examples are mixed, shares of the classes `(K,)`.
        mixed: Whether they are.
    """

    picture: np.ndarray
    target: Any
    mixed: bool


def choose(examples: Examples, class_names: Sequence[str], request: SheetRequest) -> np.ndarray:
    """Return the indices of the examples to show, int64 `(M,)`.

    Of train, the first ones of the epoch that the others drawn have too; elsewhere some that
    are spread evenly.
    """
    if request.augment:
        recipe = _possible(request.recipe, len(examples))
        order = pipeline.epoch_indices(len(examples), recipe, request.epoch)
        _, first = np.unique(order, return_index=True)
        order = order[np.sort(first)]
        # the last incomplete batch is left out: rather show what no drawn epoch leaves out
        epochs = range(request.epoch + 1, request.epoch + request.draws)
        lacking = sum(
            ~np.isin(order, pipeline.epoch_indices(len(examples), recipe, e)) for e in epochs
        )
        order = order[np.argsort(lacking, kind="stable")] if len(epochs) else order
    else:
        order = np.arange(len(examples))
    if request.classes:
        wanted = _wanted(request.classes, class_names)
        order = _of_classes(examples, order, wanted, request)
    if request.augment:
        return order[: request.count]
    return order[np.unique(np.linspace(0, len(order) - 1, request.count).round().astype(int))]


def trained(
    examples: Examples, request: SheetRequest, epoch: int, chosen: np.ndarray, *, classes: int
) -> list[Seen | None]:
    """Return the chosen examples as training gets them in an epoch; None for what it leaves out.

    Where examples are not mixed with others of their batch, what becomes of one depends on
    the seed, the epoch and the example alone: then only these are drawn, in batches of one.
    """
    recipe = _possible(request.recipe, len(examples))
    within = np.isin(chosen, pipeline.epoch_indices(len(examples), recipe, epoch))
    # unmixed, an example depends on the seed, the epoch and its index alone
    single = dataclasses.replace(recipe, repeated_augmentation=1, batch_size=1)
    alone = recipe if recipe.mixes else single
    order = pipeline.epoch_indices(len(examples), alone, epoch)
    places = np.zeros(len(examples), np.int64)
    places[order[::-1]] = np.arange(len(order))[::-1]  # the first one, where there are several
    found: dict[int, Seen] = {}
    wanted = {int(places[i]): int(i) for i in chosen[within]}
    steps = sorted({place // alone.batch_size for place in wanted})
    batches = pipeline.chosen_batches(
        examples, request.preprocessing, alone, epoch=epoch, steps=steps, classes=classes
    )
    for step, (images, targets) in zip(steps, batches if steps else (), strict=True):
        for i in range(len(images)):
            if (place := step * alone.batch_size + i) in wanted:
                picture = visible(images[i].numpy(), request.preprocessing)
                found[wanted[place]] = Seen(picture, targets[i].numpy(), alone.mixes)
    return [found.get(int(i)) for i in chosen]


def tested(examples: Examples, request: SheetRequest, chosen: np.ndarray) -> list[Seen | None]:
    """Return the chosen examples as evaluation gets them."""
    some = examples.select(chosen)
    batches = pipeline.test_batches(some, request.preprocessing, batch_size=32)
    return [
        Seen(visible(image.numpy(), request.preprocessing), label.numpy(), False)
        for images, labels in batches
        for image, label in zip(images, labels, strict=True)
    ]


def visible(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Undo the normalization: float `(H, W, C)` to uint8."""
    grey_levels = (image * np.array(preprocessing.std) + np.array(preprocessing.mean)) * 255
    return np.clip(np.rint(grey_levels), 0, 255).astype(np.uint8)


def _possible(recipe: Recipe, count: int) -> Recipe:
    repeats = recipe.repeated_augmentation
    most = max(count // repeats * repeats, repeats)
    # in how many parts a batch is trained changes nothing that can be seen
    return dataclasses.replace(recipe, batch_size=min(recipe.batch_size, most), accumulation=1)


def _wanted(text: str, class_names: Sequence[str]) -> list[int]:
    """Return the labels of names that are separated by commas; one may have commas itself."""
    names = [text] if text in class_names else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in class_names:
            raise UnknownNameError(
                f"the dataset has no class {name!r}",
                hint=suggest(name, list(class_names)[:50], "the first classes are"),
            )
    return [class_names.index(name) for name in names]


def _has(label: Any, wanted: list[int]) -> Any:
    """Return for each of some classes whether a label, or one of several, is it."""
    return tf.gather(label, wanted) == 1 if label.shape.rank else label == tf.constant(wanted)


def _of_classes(
    examples: Examples, order: np.ndarray, wanted: list[int], request: SheetRequest
) -> np.ndarray:
    labels = examples.labels()
    if labels is not None:
        found = order[having(labels[order], wanted)]
    else:
        fetch = tf.autograph.experimental.do_not_convert(lambda i: (i, examples.fetch(i)[1]))
        stream = tf.data.Dataset.from_tensor_slices(order).map(
            fetch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        stream = stream.filter(lambda _, label: tf.reduce_any(_has(label, wanted)))
        # those of train come in the order of an epoch: no more than needed have to be read
        stream = stream.take(request.count) if request.augment else stream
        found = np.array([int(i) for i, _ in stream.as_numpy_iterator()], np.int64)
    if not len(found):
        raise NotFoundError(
            f"{request.split} has no example of {request.classes}", hint="choose another --split."
        )
    return found
