"""Labels that are not classes: refused before a run, or named when a batch has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.errors import IncompatibleError

if TYPE_CHECKING:
    from rezoo.data.examples import Examples, Splits


def check_labels(opened: Splits, what: str) -> None:
    """Check the labels that are known without reading the images.

    Args:
        opened: The splits.
        what: The dataset in messages.

    Raises:
        IncompatibleError: A label is not a class, or there are more or fewer labels than images.
    """
    for split, part in opened.parts.items():
        known = part.source.labels()
        if known is None:
            continue
        if len(known) != len(part.source):
            raise IncompatibleError(
                f"{what} ({split}) has {len(part.source)} images and {len(known)} labels",
                hint="return one label for each image.",
            )
        labels = np.asarray(known)[part.positions]
        names = opened.class_names
        wrong = wrong_labels(labels, names, multi_label=opened.multi_label)
        if wrong.any():
            first = int(wrong.argmax())
            raise label_error(part, first, labels[first], f"{what} ({split})", names)


def wrong_labels(labels: np.ndarray, names: Sequence[str], *, multi_label: bool) -> np.ndarray:
    """Return which labels are not classes, bool `(N,)`.

    All are if their shape or type is wrong, such as whole numbers as floats.

    Args:
        labels: Integers `(N,)` from 0 to `len(names) - 1`; for multi-label data zeros and ones
            `(N, len(names))`, of any type of numbers.
        names: Of the classes.
        multi_label: Whether an image has any number of classes.
    """
    expected = (len(labels), len(names)) if multi_label else (len(labels),)
    if labels.shape != expected or labels.dtype.kind not in "iubf":
        return np.ones(len(labels), bool)
    wrong = np.isin(labels, np.arange(2 if multi_label else len(names)), invert=True)
    if multi_label:
        return np.asarray(wrong.any(axis=1))
    whole = labels.dtype.kind == "f" and not wrong.any()  # floats are not numbers of classes
    return np.ones(len(labels), bool) if whole else wrong


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the number of examples of each class, int64 `(classes,)`.

    Args:
        labels: Numbers `(N,)`, or for multi-label data `(N, K)`; those that are not classes are
            not counted.
        classes: Number of classes.
    """
    if labels.ndim == 2:
        return (labels == 1).sum(0)
    known = labels[(labels >= 0) & (labels < classes)]
    return np.bincount(known.astype(np.int64), minlength=classes)


def label_error(
    examples: Examples, index: int, label: Any, what: str, names: Sequence[str]
) -> IncompatibleError:
    """Return the error for the label of an example that is not a class."""
    label = np.asarray(label)
    rule = f"an integer from 0 to {len(names) - 1}"
    if label.ndim:
        rule, shown = f"{len(names)} values of 0 or 1", f"of shape {label.shape}"
        if len(label) == len(names) and label.dtype.kind in "iubf":
            place = int(np.flatnonzero(~np.isin(label, (0, 1)))[0])
            shown = f"{label[place]} for class {names[place]!r}"
    else:
        shown = f"{label!s} ({label.dtype})" if label.dtype.kind != "i" else str(label)
    return IncompatibleError(
        f"{what}: image {index}, {examples.key(index)!r}, has the label {shown}; a label is {rule}",
        hint="repair the dataset; `rezoo data check` lists the labels that are not classes.",
    )


def label_check(classes: int) -> Any:
    """Return a function of the labels of a batch: they are returned, or an error is raised.

    It is for labels that are known only by reading; `rezoo.data.batches` names the example.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def check(labels: Any) -> Any:
        if labels.shape.rank == 2:
            wrong = (labels != 0) & (labels != 1)
        elif labels.dtype.is_integer:
            wrong = (labels < 0) | (labels >= classes)
        else:
            wrong = tf.ones_like(labels, tf.bool)
        with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(wrong), ["label"])]):
            return tf.identity(labels)

    return check
