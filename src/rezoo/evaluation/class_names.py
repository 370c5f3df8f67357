"""Which class of a network's head is meant: by a class of a dataset, or by a name or index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rezoo.artifacts.config import imagenet1k_classes
from rezoo.errors import IncompatibleError, SpecError, UnknownNameError
from rezoo.specs import ModelConfig
from rezoo.utils.names import count_of, folded, natural_key, near, normalized, suggest

_SHOWN = 6


def match_classes(
    names: Sequence[str], config: ModelConfig, *, labels: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Find the index in the head of each class of a dataset.

    Classes are matched by name, else by readable name. A name that the network lacks in this form
    may differ in case, blanks, underscores and Unicode form, if that is one to one. Integers are
    positions in ImageNet's order if the network has these classes. A network without names is
    matched by position.

    Args:
        names: Classes of the dataset.
        config: Config of the network.
        labels: Labels of the images, int `(N,)`, or `(N, len(names))` of zeros and ones. The
            network may lack classes that have no image. If None, all classes have images.

    Returns:
        The indices, int64 `(len(names),)`, and how they were found, as text. The index of a class
        that has no image and that the network lacks is -1.

    Raises:
        IncompatibleError: The network lacks a class that has images; the message names the
            classes that differ.
    """
    occurs = _occurring(len(names), labels)
    attempts = []
    for what, known in (
        ("names", config.class_names),
        ("readable names", config.class_descriptions),
    ):
        pairs = pair_names(names, known)
        lacking = [names[i] for i in np.flatnonzero(occurs & (pairs.indices < 0)).tolist()]
        if not lacking and (pairs.indices >= 0).any():
            return pairs.indices, _note(names, pairs, what, config)
        attempts.append((len(lacking), lacking, known, pairs))
    by_position = _positions(names, config)
    if by_position:
        return by_position
    _, lacking, known, pairs = min(attempts, key=lambda attempt: (attempt[0], not attempt[2]))
    used = set(pairs.indices.tolist())
    others = [name for i, name in enumerate(known) if i not in used]
    raise IncompatibleError(
        _difference(names, lacking, others, config),
        hint=_advice(lacking, others, (*config.class_names, *config.class_descriptions)),
    )


def same_classes(names: Sequence[str], config: ModelConfig) -> bool:
    """Return whether a head has these classes in this order, by name or by readable name."""
    return any(
        len(names) == len(known)
        and np.array_equal(pair_names(names, known).indices, np.arange(len(names)))
        for known in (config.class_names, config.class_descriptions)
        if known
    )


class Pairs(NamedTuple):
    """Names that mean the same.

    Attributes:
        indices: Index among the known names of each name, int64 `(N,)`; -1 if there is none.
        inexact: `(name, known name)` where the two differ in more than their Unicode form.
    """

    indices: np.ndarray
    inexact: tuple[tuple[str, str], ...]


def pair_names(names: Sequence[str], known: Sequence[str]) -> Pairs:
    """Pair names with known ones: equal names first, then names that differ only in form.

    Names that differ in form are paired if no other name of the same list equals one of them
    without regard to case, blanks and underscores.
    """
    indices = np.full(len(names), -1, np.int64)
    inexact = []
    for form in (str, normalized, folded):
        ours, theirs = _unambiguous(names, form), _unambiguous(known, form)
        for key in ours.keys() & theirs.keys():
            if indices[ours[key]] >= 0:
                continue
            indices[ours[key]] = theirs[key]
            if form is folded:
                inexact.append((names[ours[key]], known[theirs[key]]))
    return Pairs(indices, tuple(sorted(inexact)))


def class_indices(
    classes: str | int | Sequence[str | int] | None, config: ModelConfig, count: int
) -> np.ndarray | None:
    """Return the index in the head of the class of each of `count` images; None if None.

    Raises:
        SpecError: An index is out of bounds, or there are neither one class nor `count`.
        UnknownNameError: The network has no such class, or several of this name.
    """
    if classes is None:
        return None
    if isinstance(classes, (str, int, np.integer)):
        return np.full(count, _class_index(classes, config), np.int64)
    if not hasattr(classes, "__len__"):
        kind = type(classes).__name__
        raise SpecError(
            f"classes: an object of the type {kind}", hint="pass names, or indices as integers."
        )
    if len(classes) != count:
        raise SpecError(
            f"classes: {len(classes)} for {count} images",
            hint="pass one class for all images, or one for each.",
        )
    return np.array([_class_index(one, config) for one in classes], np.int64)


def _class_index(wanted: str | int, config: ModelConfig) -> int:
    if not isinstance(wanted, str):
        if not isinstance(wanted, (int, np.integer)) or not 0 <= wanted < config.num_classes:
            raise SpecError(f"class {wanted}; allowed are names, and 0 to {config.num_classes - 1}")
        return int(wanted)
    known = [list(names) for names in (config.class_names, config.class_descriptions) if names]
    known = known or [[str(index) for index in range(config.num_classes)]]
    for names in known:
        if (index := int(pair_names([wanted], names).indices[0])) >= 0:
            return index
    for names in known:
        if (number := names.count(wanted)) > 1:
            places = [index for index, name in enumerate(names) if name == wanted]
            ids = ", ".join(config.class_names[index] for index in places)
            raise UnknownNameError(
                f"{number} classes of the network are called {wanted!r}",
                hint=f"name one of them by its id: {ids}.",
            )
    every = list(dict.fromkeys(name for names in known for name in names))
    raise UnknownNameError(
        f"the network has no class {wanted!r}",
        hint=suggest(wanted, every, "the classes are"),
    )


def _unambiguous(names: Sequence[str], form: Callable[[str], str]) -> dict[str, int]:
    """Return form → index of the names whose form no other name has."""
    forms = [form(name) for name in names]
    places: dict[str, int] = dict(zip(forms, range(len(forms)), strict=True))
    first = dict(zip(reversed(forms), reversed(range(len(forms))), strict=True))
    return {key: index for key, index in places.items() if first[key] == index}


def _occurring(count: int, labels: np.ndarray | None) -> np.ndarray:
    """Return whether each class has an image, bool `(count,)`."""
    if labels is None:
        return np.ones(count, bool)
    if labels.ndim == 2:
        return np.count_nonzero(labels, axis=0) > 0
    return np.isin(np.arange(count), labels)


def _note(names: Sequence[str], pairs: Pairs, what: str, config: ModelConfig) -> str:
    matched = int((pairs.indices >= 0).sum())
    text = f"{count_of(matched, 'class')} matched by {what} to {config.num_classes}"
    if pairs.inexact:
        shown = ", ".join(f"{ours!r} = {theirs!r}" for ours, theirs in pairs.inexact[:_SHOWN])
        text += (
            f"; {len(pairs.inexact)} of them without regard to case, blanks and underscores "
            f"({shown}{_more(len(pairs.inexact))})"
        )
    ignored = [names[i] for i in np.flatnonzero(pairs.indices < 0).tolist()]
    if ignored:
        text += f"; without images and ignored: {few_names(ignored)}"
    if config.multi_label and matched < config.num_classes:
        text += "; the others of the network are ignored"
    return text


def _positions(names: Sequence[str], config: ModelConfig) -> tuple[np.ndarray, str] | None:
    """Match integers to ImageNet's classes, and any classes to a network without names."""
    numbers = _integers(names)
    if numbers is not None and _has_imagenet_order(config) and max(numbers) < config.num_classes:
        first, last = (f"{i} is {config.label(i)!r}" for i in (min(numbers), max(numbers)))
        return np.array(numbers, np.int64), (
            f"{len(numbers)} integer labels taken as positions in ImageNet's order: {first}, {last}"
        )
    if config.class_names or config.class_descriptions or len(names) != config.num_classes:
        return None
    note = "classes matched by position: the weights have no names"
    if numbers is not None and max(numbers) < len(numbers):
        return np.array(numbers, np.int64), f"{note}, the labels are integers"
    return np.arange(len(names)), note


def _integers(names: Sequence[str]) -> list[int] | None:
    """Return the names as integers from 0 to 9999; None unless all are, and each once."""
    if not names or not all(n.isascii() and n.isdigit() and len(n) <= 4 for n in names):
        return None
    numbers = [int(name) for name in names]
    return numbers if len(set(numbers)) == len(numbers) else None


def _has_imagenet_order(config: ModelConfig) -> bool:
    return config.num_classes == 1000 and config.class_names in imagenet1k_classes()


def _difference(
    names: Sequence[str], lacking: Sequence[str], others: Sequence[str], config: ModelConfig
) -> str:
    if not (config.class_names or config.class_descriptions):
        return (
            f"the dataset has {len(names)} classes ({few_names(names)}), the network has "
            f"{config.num_classes} without names"
        )
    verb = "is" if len(lacking) == 1 else "are"
    text = (
        f"{len(lacking)} of the dataset's {len(names)} classes {verb} not among the network's "
        f"{config.num_classes}: {few_names(lacking)}"
    )
    return (
        f"{text}; the dataset lacks {len(others)} of these: {few_names(others)}" if others else text
    )


def _advice(lacking: Sequence[str], others: Sequence[str], known: Sequence[str]) -> str:
    advice = (
        "evaluate on data with the classes that the network was trained on; "
        "or train a new head for this dataset."
    )
    if not known:
        return f"name the network's classes in its config.json, as label_names; or {advice}"
    if _integers(lacking) is not None:
        return (
            "the labels are integers, the network's classes have names. Integers are taken as "
            f"positions only from 0 to 999 and for ImageNet's classes: write names; or {advice}"
        )
    similar = []
    for name in sorted(lacking, key=natural_key)[:_SHOWN]:
        same = [other for other in known if folded(other) == folded(name)]
        if (count := same.count(name)) > 1:
            similar.append(f"{count} classes of the network are called {name!r}.")
        elif close := same or near(name, others, most=1):
            similar.append(f"is {name!r} {' or '.join(map(repr, close[:3]))}?")
    return " ".join((*similar, f"Rename it; or {advice}" if similar else advice))


def few_names(names: Sequence[str]) -> str:
    """Return the first names in natural order, and the number of the others."""
    shown = ", ".join(map(repr, sorted(names, key=natural_key)[:_SHOWN]))
    return (shown or "none") + _more(len(names))


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
