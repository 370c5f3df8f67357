"""Examples by index, and the splits of a dataset.

Random access makes order and augmentation pure functions of (seed, epoch, index): a run can start
at any step, on any number of hosts, and gets the same data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data import splits
from rezoo.data.image_sources import ImageSource, JoinedSource, pick
from rezoo.errors import NotFoundError, RezooError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Examples:
    """Some images of a source, in an order: what a split is.

    Attributes:
        source: Where the images are read from.
        positions: int64 `(N,)`: their positions in the source. By default all, in order.
    """

    source: ImageSource
    positions: np.ndarray = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        every = self.positions is None
        positions = np.arange(len(self.source)) if every else np.asarray(self.positions, np.int64)
        object.__setattr__(self, "positions", positions)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def encoded(self) -> bool:
        """Whether `fetch` returns the bytes of an image file; otherwise pixels."""
        return self.source.encoded

    def fetch(self, index: Any) -> tuple[Any, Any]:
        """Return one image and its label inside a tf.data graph; see `ImageSource.fetch`."""
        return self.source.fetch(pick(self.positions, index))

    def select(self, indices: np.ndarray) -> Examples:
        """Return the examples at `indices` (int64 `(M,)`), in that order."""
        return Examples(self.source, self.positions[np.asarray(indices, np.int64)])

    def key(self, index: int) -> str:
        """Return a stable name of one example."""
        return self.source.key(int(self.positions[index]))

    def labels(self) -> np.ndarray | None:
        """Return int32 `(N,)`; for multi-label data uint8 `(N, K)` of zeros and ones.

        None if labels are known only by reading every example.
        """
        known = self.source.labels()
        return None if known is None else np.asarray(known)[self.positions]

    def files(self) -> Sequence[Path]:
        """Return the files that hold the examples; empty if they are unknown."""
        return self.source.files(self.positions)

    def hold_out(self, fraction: float) -> tuple[Examples, Examples]:
        """Return `(kept, held out)` by a rule on the keys, stratified by class if they are known.

        Multi-label data are divided by the keys alone. The rule has no seed; see
        `rezoo.data.splits.hold_out`.
        """
        hashes = splits.stable_hash([self.source.split_key(int(p)) for p in self.positions])
        labels = self.labels()
        labels = None if labels is not None and labels.ndim == 2 else labels
        kept, held = splits.hold_out(hashes, fraction, labels=labels)
        return self.select(kept), self.select(held)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The splits of an opened dataset, and the names of its classes.

    Attributes:
        parts: Split name (`train`, `val`, `test`) → its examples.
        class_names: In the order of the labels.
        class_descriptions: Readable names if `class_names` are ids; may be empty.
        notes: Messages for the user: rules that were applied, files that are left out.
        multi_label: Whether an image has any number of the classes, including none.
        faults: Entries that contradict each other or cannot be used, and are in no part: loading
            raises them, and a data check lists them.
    """

    parts: Mapping[str, Examples]
    class_names: tuple[str, ...]
    class_descriptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    multi_label: bool = False
    faults: tuple[RezooError, ...] = ()

    def __getitem__(self, split: str) -> Examples:
        """Return the examples of a split, or of all splits one after another for `"all"`.

        Raises:
            NotFoundError: The dataset has no such split.
        """
        if split in self.parts:
            return self.parts[split]
        if split == "all":
            return Examples(JoinedSource([self.parts[s] for s in SPLITS if s in self.parts]))
        whole = "" if split == "train" else '; split "all" (--split all) has every image'
        raise NotFoundError(
            f"the dataset has no split {split!r}", hint=f"it has {', '.join(self.parts)}{whole}."
        )

    def without(self, left_out: Mapping[str, Collection[int]], note: str) -> Splits:
        """Return the splits without the examples at some indices, with a note that says why."""
        parts = {}
        for split, part in self.parts.items():
            kept = np.setdiff1d(np.arange(len(part)), list(left_out.get(split, ())))
            if len(kept):
                parts[split] = part if len(kept) == len(part) else part.select(kept)
        return dataclasses.replace(self, parts=parts, notes=(*self.notes, note))

    def with_test(self) -> Splits:
        """Return the same splits with a test split, if there is none.

        The validation split becomes the test split, as published test scores are mostly on it. If
        there is only train, a part of it is held out.
        """
        if "test" in self.parts or not {"train", "val"} & self.parts.keys():
            return self
        if "val" not in self.parts:
            return self._divided("test", splits.TEST_FRACTION)
        parts = {"test" if split == "val" else split: part for split, part in self.parts.items()}
        note = f"test: the {len(parts['test'])} images of val, as there is no other test split"
        return dataclasses.replace(self, parts=parts, notes=(*self.notes, note))

    def with_validation(
        self, fraction: float | None = None, *, usual: float = splits.VAL_FRACTION
    ) -> Splits:
        """Return the same splits with a validation part held out of train, if there is none.

        Args:
            fraction: The part, as the user chose it; None for the usual one.
            usual: The usual part.
        """
        if "val" in self.parts and fraction is not None:
            note = "val_fraction is not used: the data has a validation split"
            return dataclasses.replace(self, notes=(*self.notes, note))
        if "val" in self.parts or "train" not in self.parts:
            return self
        return self._divided("val", usual if fraction is None else fraction)

    def _divided(self, name: str, fraction: float) -> Splits:
        """Hold a part of train out as another split, by the rule of `Examples.hold_out`."""
        train = self.parts["train"]
        kept, held = train.hold_out(fraction)
        parts = {**self.parts, "train": kept, name: held}
        note = f"{name}: {len(held)} of train's {len(train)} examples, held out by a fixed rule"
        ordered = {s: parts[s] for s in SPLITS if s in parts and len(parts[s])}
        notes = (*self.notes, note) if len(held) else self.notes
        return dataclasses.replace(self, parts=ordered, notes=notes)
