"""Predictions of several networks, matched image by image and class by class."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rezoo.errors import IncompatibleError, IntegrityError, SpecError
from rezoo.evaluation.class_names import pair_names
from rezoo.evaluation.predictions import Predictions
from rezoo.utils.names import listed, natural_key
from rezoo.utils.paths import expanded

_SHOWN = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """What several networks predict for the same N images.

    Attributes:
        names: Of the networks, no two of them equal.
        predictions: Of each network; its images, and for multi-label data its classes, are in the
            order of the first.
        labels: Names: of the C classes of the dataset, then of the other classes predicted.
        truth: Class of each image, index in `labels`, int64 `(N,)`; for multi-label data whether
            an image has a class, bool `(N, C)`.
        answers: Of each network the class with the largest logit, like `truth`; for multi-label
            data whether it predicts a class, bool `(N, C)`.
    """

    names: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    labels: tuple[str, ...]
    truth: np.ndarray
    answers: tuple[np.ndarray, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the images."""
        return self.predictions[0].keys

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of the classes."""
        return self.predictions[0].multi_label

    def right(self, network: int) -> np.ndarray:
        """Whether the answer of a network is the truth, in all classes, bool `(N,)`."""
        same = self.answers[network] == self.truth
        return same.all(1) if self.multi_label else same


def align(predictions: Sequence[Predictions], names: Sequence[str] = ()) -> Aligned:
    """Match predictions of the same images.

    Images are matched by their keys, the classes of the dataset by their names or, if these are
    not known or two classes have one name, by their order. Preprocessing may differ.

    Args:
        predictions: Of two or more networks.
        names: Of the networks; by default the fact `model`.

    Raises:
        SpecError: There are fewer than two.
        IncompatibleError: Task, dataset, split, images, classes or truths differ, or the names of
            images are not known.
        IntegrityError: The truth of an image is not a class of the dataset.
    """
    if len(predictions) < 2:
        raise SpecError(
            f"{len(predictions)} network to compare", hint="name two or more different ones."
        )
    called = _distinct(names or [p.facts.get("model", "network") for p in predictions])
    first, ours = predictions[0], called[0]
    matched, maps = [first], [np.arange(len(first.classes))]
    for other, theirs in zip(predictions[1:], called[1:], strict=True):
        _require_same_data(first, other, ours, theirs)
        other = other.at(_same_images(first, other, ours, theirs))
        classes = _same_classes(first, other, ours, theirs)
        if other.multi_label:
            other, classes = _in_order(other, classes), np.arange(len(classes))
        _require_same_truth(first, other, classes, ours, theirs)
        matched.append(other)
        maps.append(classes)
    labels, others = _labels(first), dict[str, int]()
    if first.multi_label:
        truth, answers = first.truth, [p.logits > 0 for p in matched]
    else:
        truth = _classes_of(first, first.truth)
        pairs = zip(matched, maps, strict=True)
        answers = [_answers(p, classes, others, len(labels)) for p, classes in pairs]
    return Aligned(
        names=called,
        predictions=tuple(matched),
        labels=(*labels, *others),
        truth=truth,
        answers=tuple(answers),
    )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names; of equal ones, the second gets the number 2, and so on."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(found)


def _require_same_data(first: Predictions, other: Predictions, ours: str, theirs: str) -> None:
    kinds = [("single-label", "multi-label")[p.multi_label] for p in (first, other)]
    if kinds[0] != kinds[1]:
        raise IncompatibleError(f"{ours} is {kinds[0]}, {theirs} is {kinds[1]}")
    for fact, same in (("dataset", same_dataset), ("split", str.__eq__)):
        one, two = (p.facts.get(fact, "") for p in (first, other))
        if one and two and not same(one, two):
            raise IncompatibleError(
                f"the predictions of {ours} are for the {fact} {one}, those of {theirs} for {two}",
                hint="a comparison needs the same images: evaluate both on one split of one "
                "dataset.",
            )
    for p, name in ((first, ours), (other, theirs)):
        if not p.keys:
            raise IncompatibleError(
                f"the predictions of {name} lack the names of the images",
                hint="evaluate it again.",
            )


def same_dataset(one: str, other: str) -> bool:
    """Return whether two references mean the same dataset, also by different paths."""

    def lasting(reference: str) -> str:
        kind, _, path = reference.partition(":")
        real = kind in ("folder", "csv")
        return f"{kind}:{os.path.realpath(expanded(path))}" if real else reference

    return lasting(one) == lasting(other)


def _same_images(first: Predictions, other: Predictions, ours: str, theirs: str) -> np.ndarray:
    """Return the row of the other predictions for each of the first ones, int64 `(N,)`."""
    if first.keys == other.keys:
        return np.arange(len(first))
    here, there = Counter(first.keys), Counter(other.keys)
    missing = [(theirs, here - there), (ours, there - here)]
    if any(keys for _, keys in missing):
        parts = [f"{name} lacks {_few(keys)}" for name, keys in missing if keys]
        raise IncompatibleError(
            f"the images differ: {ours} has {len(first):,}, {theirs} {len(other):,}; "
            + "; ".join(parts),
            hint="a comparison needs the same images: evaluate both again on the same data.",
        )
    rows = np.empty(len(first), np.int64)
    rows[sorted(range(len(first)), key=first.keys.__getitem__)] = sorted(
        range(len(other)), key=other.keys.__getitem__
    )
    return rows


def _few(keys: Counter[str]) -> str:
    shown = ", ".join(map(repr, sorted(keys, key=natural_key)[:_SHOWN]))
    more = f" and {keys.total() - _SHOWN:,} more" if keys.total() > _SHOWN else ""
    return f"{keys.total():,}: {shown}{more}"


def _labels(predictions: Predictions) -> tuple[str, ...]:
    """Return the name of each class of the dataset."""
    return tuple(_label(predictions, head) for head in predictions.classes.tolist())


def _label(predictions: Predictions, head: int) -> str:
    known = predictions.labels
    return known[head] if known and head >= 0 else str(head)


def _same_classes(first: Predictions, other: Predictions, ours: str, theirs: str) -> np.ndarray:
    """Return the class of the first predictions for each class of the others; -1 for none."""
    here, there = _labels(first), _labels(other)
    count, named = len(there), bool(first.labels and other.labels)
    pairs = pair_names(there, here).indices if named else np.full(count, -1)
    occurring = np.arange(count) if other.multi_label else _classes_of(other, other.truth)
    if (pairs[occurring] >= 0).all() and (count == len(here) or not other.multi_label):
        return pairs
    if count == len(here) and ((pairs < 0) | (pairs == np.arange(count))).all():
        return np.arange(count)
    raise IncompatibleError(
        f"the classes differ: {ours} has {len(here)} ({_names(here, there)}), {theirs} "
        f"{count} ({_names(there, here)})",
        hint="compare networks that were evaluated on the same classes.",
    )


def _names(names: Sequence[str], others: Sequence[str]) -> str:
    """Return the first names, those that the others lack before the rest."""
    ordered = sorted(names, key=lambda name: (name in others, natural_key(name)))
    return listed([*map(repr, ordered)], _SHOWN)


def _in_order(predictions: Predictions, classes: np.ndarray) -> Predictions:
    """Return multi-label predictions with their classes in another order."""
    order = np.argsort(classes)
    return dataclasses.replace(
        predictions,
        truth=predictions.truth[:, order],
        logits=predictions.logits[:, order],
        classes=predictions.classes[order],
    )


def _classes_of(predictions: Predictions, heads: np.ndarray) -> np.ndarray:
    """Return the class of the dataset of each index in the head, int64 `(N,)`.

    Raises:
        IntegrityError: An index is not that of a class of the dataset.
    """
    places = _places(predictions, heads)
    if (places < 0).any():
        raise IntegrityError(
            f"the predictions of {predictions.facts.get('model', 'a network')} are damaged: the "
            "truth of an image is not a class of the dataset",
            hint="evaluate it again.",
        )
    return places


def _places(predictions: Predictions, heads: np.ndarray) -> np.ndarray:
    """Return the class of the dataset of each index in the head; -1 for other classes."""
    known = predictions.classes
    width = 1 + max(int(heads.max(initial=0)), int(known.max(initial=0)))
    of_head = np.full(width, -1, np.int64)
    of_head[known[known >= 0]] = np.flatnonzero(known >= 0)
    return np.asarray(of_head[heads])


def _require_same_truth(
    first: Predictions, other: Predictions, classes: np.ndarray, ours: str, theirs: str
) -> None:
    if first.multi_label:
        differ = (first.truth != other.truth).any(1)
    else:
        here = _classes_of(first, first.truth)
        differ = here != classes[_classes_of(other, other.truth)]
    rows = np.flatnonzero(differ)
    if not len(rows):
        return
    one, two = (_truth(p, int(rows[0])) for p in (first, other))
    raise IncompatibleError(
        f"the truth differs for {len(rows):,} of {len(first):,} images: "
        f"{first.keys[rows[0]]!r} is {one} for {ours} and {two} for {theirs}",
        hint="the labels changed between the evaluations: evaluate both again.",
    )


def _truth(predictions: Predictions, row: int) -> str:
    if predictions.multi_label:
        labels = np.array(_labels(predictions), object)
        return repr(labels[predictions.truth[row]].tolist())
    return repr(_label(predictions, int(predictions.truth[row])))


def _answers(
    predictions: Predictions, classes: np.ndarray, others: dict[str, int], count: int
) -> np.ndarray:
    """Return the answers as indices in the classes of the first network, int64 `(N,)`.

    An answer that is not a class of the dataset gets the next index from `count` on, in `others`.
    """
    heads = predictions.top[:, 0]
    places = _places(predictions, heads)
    found = np.where(places >= 0, classes[places], -1)
    for head in np.unique(heads[found < 0]).tolist():
        label = _label(predictions, head)
        found[(heads == head) & (found < 0)] = others.setdefault(label, count + len(others))
    return found
