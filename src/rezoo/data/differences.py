"""In words: how data differ from those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from rezoo.data.examples import SPLITS
from rezoo.data.identity import NAMED, UNKNOWN, Identity, SplitIdentity
from rezoo.utils.names import count_of


def differences(before: Identity, now: Identity) -> list[str]:
    """Return in words how data differ from those of a run; empty if at most their order differs.

    Only the splits of `now` are compared; the run has all of its own.
    """
    found = _of_classes(before.class_names, now.class_names)
    old = _Images.of(before)
    for split, part in now.splits.items():
        texts = _of_split(split, part, old, _labels_as(before.class_names, now.class_names, part))
        recorded = before.splits.get(split)
        if not texts and recorded is not None and recorded.content != part.content:
            texts = ["files of the same names and sizes with another content"]
        if texts:
            found.append(f"{split} ({count_of(len(part.keys), 'image')}): {', '.join(texts)}")
    absent = before.splits.keys() - now.splits.keys() if len(now.splits) > 1 else set()
    return found + [f"no split {split}" for split in SPLITS if split in absent]


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of all splits of a run, by ascending key."""

    keys: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    splits: np.ndarray  # the index of the split in `SPLITS`

    @classmethod
    def of(cls, identity: Identity) -> Self:
        parts = [(SPLITS.index(split), part) for split, part in identity.splits.items()]
        empty = np.empty(0, np.uint32)
        keys = np.concatenate([empty.astype(np.uint64), *(part.keys for _, part in parts)])
        order = np.argsort(keys, kind="stable")
        return cls(
            keys[order],
            np.concatenate([empty, *(part.labels for _, part in parts)])[order],
            np.concatenate([empty, *(part.sizes for _, part in parts)])[order],
            np.repeat([n for n, _ in parts], [len(p.keys) for _, p in parts]).astype(int)[order],
        )

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whether each key is there, bool `(N,)`, and its place, int64 `(N,)`."""
        if not len(self.keys):
            return np.zeros(len(keys), bool), np.zeros(len(keys), np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[at] == keys, at


def _of_split(split: str, part: SplitIdentity, old: _Images, labels: np.ndarray) -> list[str]:
    number = SPLITS.index(split)
    known, at = old.find(part.keys)
    at = at[known]
    was, relabelled, resized = np.full(len(known), -1), known.copy(), known.copy()
    was[known] = old.splits[at]
    relabelled[known] = (old.labels[at] != labels[known]) & (labels[known] != UNKNOWN)
    resized[known] = old.sizes[at] != part.sizes[known]
    others = [(s, i) for i, s in enumerate(SPLITS) if i != number]
    kinds = [
        ("new", ~known),
        *((f"from the run's {other}", was == i) for other, i in others),
        ("with another label", relabelled),
        ("with a file of another size", resized & ~relabelled),
    ]
    texts = [f"{mask.sum():,} {what}{part.named(mask)}" for what, mask in kinds if mask.any()]
    missing = int((old.splits == number).sum() - (was == number).sum())
    return texts + ([f"{missing:,} missing"] if missing > 0 else [])


def _labels_as(before: Sequence[str], now: Sequence[str], part: SplitIdentity) -> np.ndarray:
    """Return the labels of a split as indices of the run's classes; `UNKNOWN` if it has none."""
    single = len(part.labels) and int(part.labels[part.labels != UNKNOWN].max(initial=0)) < len(now)
    if tuple(before) == tuple(now):
        return part.labels
    if not single:  # hashes of several labels: the difference of the classes says enough
        return np.full(len(part.labels), UNKNOWN, np.uint32)
    index = {name: i for i, name in enumerate(before)}
    table = np.array([*(index.get(name, len(before)) for name in now), UNKNOWN], np.uint32)
    return table[np.minimum(part.labels, len(now))]


def _of_classes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    texts = []
    for names, one, several in (
        ([name for name in now if name not in set(before)], "is new", "new"),
        ([name for name in before if name not in set(now)], "is missing", "are missing"),
    ):
        shown = ", ".join(map(repr, names[:NAMED])) + (", …" if len(names) > NAMED else "")
        if names:
            count = f"{len(names)} classes {several}:" if len(names) > 1 else f"the class {one}:"
            texts.append(f"{count} {shown}")
    if not texts and tuple(before) != tuple(now):
        texts.append("the classes are in another order")
    return texts
