"""Chosen examples as they are stored, and as a network gets them in training and evaluation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import pipeline
from rezoo.data.audit.layout import Cell
from rezoo.data.audit.scan import decoded
from rezoo.data.audit.sheet import SheetRequest
from rezoo.data.batches import UNREADABLE
from rezoo.data.datasets import DataOptions
from rezoo.data.examples import Examples
from rezoo.data.images import stated_reason
from rezoo.data.order import epoch_indices
from rezoo.data.unreadable import Faults
from rezoo.errors import IntegrityError, NotFoundError, UnknownNameError
from rezoo.recipes.recipe import Recipe
from rezoo.utils.names import suggest


def choose(examples: Examples, class_names: Sequence[str], request: SheetRequest) -> np.ndarray:
    """Return the indices of the examples to show, int64 `(M,)`.

    With the training transform, these are the first ones of the epoch, if possible ones that no
    drawn epoch leaves out in its last incomplete batch; else ones that are spread evenly.

    Raises:
        UnknownNameError: The dataset has no such class.
        NotFoundError: No example has one of the classes.
    """
    count = len(examples)
    order = np.arange(count)
    if request.augment:
        recipe = _possible(request.recipe, count)
        epochs = range(request.epoch, request.epoch + request.draws)
        drawn = [epoch_indices(count, recipe, epoch) for epoch in epochs]
        _, first = np.unique(drawn[0], return_index=True)
        order = drawn[0][np.sort(first)]
        lacking = np.sum([~np.isin(order, other) for other in drawn], 0)
        order = order[np.argsort(lacking, kind="stable")]
    if request.classes:
        order = _of_classes(examples, order, _labels_of(request.classes, class_names), request)
    if request.augment:
        return order[: request.count]
    return order[np.unique(np.linspace(0, len(order) - 1, request.count).round().astype(int))]


def decodable(examples: Examples, chosen: np.ndarray, request: SheetRequest) -> np.ndarray:
    """Return the chosen examples without those that cannot be decoded, which a warning names.

    Raises:
        IntegrityError: None can be decoded.
    """
    every = DataOptions(bad_limit=1.0)
    faults = Faults(examples, every, f"{request.dataset} ({request.split})")
    faults.find(chosen, request.preprocessing.channels)
    kept = chosen[~np.isin(chosen, list(faults.reasons))]
    if not len(kept):
        raise IntegrityError(
            f"none of the {len(chosen)} chosen images of {request.dataset} can be decoded",
            hint="`rezoo data check` lists the causes.",
        )
    return kept


def stored(examples: Examples, chosen: np.ndarray) -> tuple[list[Cell], list[Any]]:
    """Return the chosen examples as stored, and their labels."""
    found = {place: (image, label) for place, image, label in decoded(examples, chosen)}
    pairs = [found.get(place, (None, np.int32(-1))) for place in range(len(chosen))]
    return [Cell(image) for image, _ in pairs], [label for _, label in pairs]


def trained(
    examples: Examples,
    request: SheetRequest,
    epoch: int,
    chosen: np.ndarray,
    class_names: Sequence[str],
) -> list[Cell]:
    """Return the chosen examples as training gets them in an epoch, without the normalization.

    Without mixing, what becomes of an example depends on the seed, the epoch and the example
    alone: then only the chosen ones are drawn, in batches of one.
    """
    recipe = _possible(request.recipe, len(examples))
    within = np.isin(chosen, epoch_indices(len(examples), recipe, epoch))
    if not recipe.mixes:
        recipe = dataclasses.replace(recipe, repeated_augmentation=1, batch_size=1)
    order = epoch_indices(len(examples), recipe, epoch)
    first = np.zeros(len(examples), np.int64)  # position of the first repetition
    first[order[::-1]] = np.arange(len(order))[::-1]
    wanted = {int(first[i]): int(i) for i in chosen[within]}
    steps = sorted({position // recipe.batch_size for position in wanted})
    batches = pipeline.chosen_batches(
        examples, request.preprocessing, recipe, epoch=epoch, steps=steps, classes=len(class_names)
    )
    found: dict[int, Cell] = {}
    for step, (images, targets) in zip(steps, _readable(batches) if steps else (), strict=True):
        for i in range(len(images)):
            if (index := wanted.get(step * recipe.batch_size + i)) is not None:
                caption = _mixture(targets[i].numpy(), class_names) if recipe.mixes else ""
                found[index] = Cell(images[i].numpy(), caption)
    return [found.get(int(i), Cell(None, "not in this epoch")) for i in chosen]


def _readable(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches; raise `IntegrityError` if an image in one cannot be decoded."""
    try:
        yield from batches
    except UNREADABLE as error:
        raise IntegrityError(
            f"a neighbour in a batch cannot be decoded: {stated_reason(error) or error.message}",
            hint="`rezoo data check` lists such images.",
        ) from error


def tested(examples: Examples, request: SheetRequest, chosen: np.ndarray) -> list[Cell]:
    """Return the chosen examples as evaluation gets them, without the normalization."""
    some = examples.select(chosen)
    batches = pipeline.test_batches(some, request.preprocessing, batch_size=32)
    return [Cell(image.numpy()) for images, _ in batches for image in images]


def _mixture(target: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the two largest fractions of classes in a mixed example."""
    largest = np.argsort(-target, kind="stable")[:2]
    return " + ".join(f"{target[i]:.0%} {class_names[i]}" for i in largest)


def _possible(recipe: Recipe, count: int) -> Recipe:
    """Return the recipe with a batch size that the split has examples for."""
    repeats = recipe.repeated_augmentation
    most = max(count // repeats * repeats, repeats)
    return dataclasses.replace(recipe, batch_size=min(recipe.batch_size, most), accumulation=1)


def _labels_of(text: str, class_names: Sequence[str]) -> list[int]:
    """Return the labels of class names that are separated by commas; a name may have commas."""
    names = [text] if text in class_names else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in class_names:
            raise UnknownNameError(
                f"the dataset has no class {name!r}",
                hint=suggest(name, class_names, "the classes are"),
            )
    return [class_names.index(name) for name in names]


def _of_classes(
    examples: Examples, order: np.ndarray, wanted: list[int], request: SheetRequest
) -> np.ndarray:
    """Return the indices in `order` of examples with a wanted class; at least one."""
    known = examples.labels()
    labels = _read_labels(examples, order) if known is None else known[order]
    found = (
        index
        for index, label in zip(order.tolist(), labels, strict=True)
        if ((label[wanted] == 1).any() if label.ndim else label in wanted)
    )
    first = list(itertools.islice(found, request.count if request.augment else None))
    if not first:
        raise NotFoundError(
            f"{request.split} has no example of {request.classes}", hint="choose another --split."
        )
    return np.array(first, np.int64)


def _read_labels(examples: Examples, order: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the labels of examples, which must be read for it."""
    label = tf.autograph.experimental.do_not_convert(lambda index: examples.fetch(index)[1])
    stream = tf.data.Dataset.from_tensor_slices(order)
    labels: Iterator[np.ndarray] = stream.map(
        label, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    ).as_numpy_iterator()
    return labels
