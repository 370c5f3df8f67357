"""Examples that can be fetched by index, and the splits that a dataset consists of.

Random access is what makes order and augmentation pure functions of (seed, epoch, index):
a run can start at any step, on any number of hosts, and see the same data.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data import splits
from rezoo.errors import NotFoundError

SPLITS = ("train", "val", "test")


class Examples(abc.ABC):
    """One split: images and labels by index."""

    encoded: bool  # whether `fetch` gives the bytes of an image file, or pixels

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abc.abstractmethod
    def fetch(self, index: Any) -> tuple[Any, Any]:
        """Return one example inside a tf.data graph.

        Args:
            index: int64 scalar tensor, 0 to `len(self) - 1`.

        Returns:
            `(image, label)`: a tf.string scalar with an encoded image file where
            `self.encoded`, else uint8 `(H, W, C)`; and an int32 scalar, or of multi-label data
            float32 `(K,)`: 1 for each class that the image has, else 0.
        """

    @abc.abstractmethod
    def select(self, indices: np.ndarray) -> Examples:
        """Return the examples at `indices` (int64 `(M,)`), in that order."""

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """Return a stable name of one example: for split rules, predictions and messages."""

    def labels(self) -> np.ndarray | None:
        """Return int32 `(N,)`, or of multi-label data uint8 `(N, K)` of zeros and ones.

        None where labels are known only by reading every example.
        """
        return None

    def hold_out(self, fraction: float) -> tuple[Examples, Examples]:
        """Return `(kept, held out)` by a rule that looks at the keys, and at known classes.

        Of multi-label data it looks at the keys alone. No seed is involved: see
        `rezoo.data.splits.hold_out`.
        """
        hashes = splits.stable_hash([self.key(i) for i in range(len(self))])
        labels = self.labels()
        labels = None if labels is not None and labels.ndim == 2 else labels
        kept, held = splits.hold_out(hashes, fraction, labels=labels)
        return self.select(kept), self.select(held)


@dataclass(frozen=True)
class ArrayExamples(Examples):
    """Images that are in memory.

    Attributes:
        images: uint8 `(N, H, W, C)`, C = 1 or 3.
        targets: int `(N,)`, or of multi-label data uint8 `(N, K)` of zeros and ones.
        keys: A stable name of each example.
    """

    images: np.ndarray
    targets: np.ndarray
    keys: Sequence[str]
    encoded = False

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, index: Any) -> tuple[Any, Any]:
        return pick(self.images, index), _pick_label(self.labels(), index)

    def select(self, indices: np.ndarray) -> ArrayExamples:
        keys = [self.keys[i] for i in indices]
        return ArrayExamples(self.images[indices], self.targets[indices], keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def labels(self) -> np.ndarray:
        return _as_labels(self.targets)


@dataclass(frozen=True)
class FileExamples(Examples):
    """Image files below one folder.

    Attributes:
        root: The folder.
        paths: Paths below it, with `/`.
        targets: int `(N,)`, or of multi-label data uint8 `(N, K)` of zeros and ones.
    """

    root: Path
    paths: Sequence[str]
    targets: np.ndarray
    encoded = True

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, index: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        full = np.array([os.fsencode(self.root / p) for p in self.paths], object)
        return tf.io.read_file(pick(full, index)), _pick_label(self.labels(), index)

    def select(self, indices: np.ndarray) -> FileExamples:
        return FileExamples(self.root, [self.paths[i] for i in indices], self.targets[indices])

    def key(self, index: int) -> str:
        return self.paths[index]

    def labels(self) -> np.ndarray:
        return _as_labels(self.targets)


def pick(table: np.ndarray, index: Any) -> Any:
    """Return one row inside a graph; the table is held once, not copied into the graph."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        held = tf.constant(table, tf.string if table.dtype == object else None)
    return tf.gather(held, index)


def _pick_label(labels: np.ndarray, index: Any) -> Any:
    """Return a label inside a graph: an int32 scalar, or float32 `(K,)`."""
    return pick(labels if labels.ndim == 1 else labels.astype(np.float32), index)


def _as_labels(targets: np.ndarray) -> np.ndarray:
    return np.asarray(targets, np.int32 if np.ndim(targets) == 1 else np.uint8)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """An opened dataset: its splits and the names of its classes.

    Attributes:
        parts: Split name (`train`, `val`, `test`) → its examples.
        class_names: In the order of the labels.
        class_descriptions: Readable names where `class_names` are ids; may be empty.
        notes: What the user should be told: rules used, files left out.
        multi_label: Whether an image has any number of the classes, none included.
    """

    parts: Mapping[str, Examples]
    class_names: tuple[str, ...]
    class_descriptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    multi_label: bool = False

    def __getitem__(self, split: str) -> Examples:
        """Return the examples of a split, or of all splits one after another for `"all"`.

        Raises:
            NotFoundError: The dataset has no such split.
        """
        if split in self.parts:
            return self.parts[split]
        if split == "all":
            return JoinedExamples([self.parts[s] for s in SPLITS if s in self.parts])
        raise NotFoundError(
            f"the dataset has no split {split!r}",
            hint=f"it has {', '.join([*self.parts, 'all'])}.",
        )

    def without(self, left_out: Mapping[str, Collection[int]], note: str) -> Splits:
        """Return the splits without some examples, given by index; the note says why."""
        parts = {}
        for split, part in self.parts.items():
            kept = np.setdiff1d(np.arange(len(part)), list(left_out.get(split, ())))
            if len(kept):
                parts[split] = part if len(kept) == len(part) else part.select(kept)
        return dataclasses.replace(self, parts=parts, notes=(*self.notes, note))

    def with_validation(self, fraction: float = splits.VAL_FRACTION) -> Splits:
        """Return the same splits with a validation part held out of train, if there is none.

        The rule is that of `Examples.hold_out`.
        """
        if "val" in self.parts or "train" not in self.parts:
            return self
        train = self.parts["train"]
        kept, held = train.hold_out(fraction)
        parts = {**self.parts, "train": kept, "val": held}
        note = f"val: {len(held)} of train's {len(train)} examples, held out by a fixed rule"
        ordered = {s: parts[s] for s in SPLITS if s in parts and len(parts[s])}
        notes = (*self.notes, note) if len(held) else self.notes
        return dataclasses.replace(self, parts=ordered, notes=notes)


class JoinedExamples(Examples):
    """Several splits one after another."""

    def __init__(self, parts: Sequence[Examples]) -> None:
        self.parts = list(parts)
        self.encoded = self.parts[0].encoded
        self.starts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def fetch(self, index: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        which = tf.searchsorted(self.starts[1:], [index], side="right")[0]
        branches: list[Callable[[], tuple[Any, Any]]] = [
            lambda part=part, start=start: part.fetch(index - start)  # type: ignore[misc]
            for part, start in zip(self.parts, self.starts[:-1], strict=True)
        ]
        return tf.switch_case(which, branches)

    def select(self, indices: np.ndarray) -> Examples:
        return SelectedExamples(self, np.asarray(indices, np.int64))

    def key(self, index: int) -> str:
        which = int(np.searchsorted(self.starts[1:], index, side="right"))
        return self.parts[which].key(index - int(self.starts[which]))

    def labels(self) -> np.ndarray | None:
        known = [part.labels() for part in self.parts]
        return None if any(x is None for x in known) else np.concatenate(known)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SelectedExamples(Examples):
    """Some examples of others, by index; for kinds that cannot select by themselves."""

    base: Examples
    indices: np.ndarray

    @property
    def encoded(self) -> bool:  # type: ignore[override]
        """As the base's."""
        return self.base.encoded

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, index: Any) -> tuple[Any, Any]:
        return self.base.fetch(pick(self.indices, index))

    def select(self, indices: np.ndarray) -> SelectedExamples:
        return SelectedExamples(self.base, self.indices[indices])

    def key(self, index: int) -> str:
        return self.base.key(int(self.indices[index]))

    def labels(self) -> np.ndarray | None:
        known = self.base.labels()
        return None if known is None else known[self.indices]
