"""What examples are read from: arrays, files, or several splits one after another.

Images are uint8 `(H, W, C)`, C = 1 (grey) or 3 (RGB), or the bytes of an image file.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rezoo.data.examples import Examples


class ImageSource(abc.ABC):
    """Images and labels by position: the base class of everything that data are read from.

    Attributes:
        encoded: Whether `fetch` returns the bytes of an image file; otherwise pixels.
    """

    encoded: bool

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abc.abstractmethod
    def fetch(self, position: Any) -> tuple[Any, Any]:
        """Return one image and its label inside a tf.data graph.

        Args:
            position: int64 scalar tensor, 0 to `len(self) - 1`.

        Returns:
            `(image, label)`. The image is a tf.string scalar if `encoded`, else uint8
            `(H, W, C)`. The label is an int32 scalar; for multi-label data it is float32 `(K,)`
            of zeros and ones.
        """

    @abc.abstractmethod
    def key(self, position: int) -> str:
        """Return a stable name of one image, for predictions and messages."""

    def split_key(self, position: int) -> str:
        """Return the name by which the split rule decides about one image."""
        return self.key(position)

    def labels(self) -> np.ndarray | None:
        """Return int32 `(N,)`; for multi-label data uint8 `(N, K)` of zeros and ones.

        None if labels are known only by reading every image.
        """
        return None

    def files(self, positions: np.ndarray) -> Sequence[Path]:
        """Return the files that hold the images at `positions`; empty if they are unknown."""
        return ()

    def stored_bytes(self, positions: np.ndarray) -> int:
        """Return the bytes of the encoded images at `positions`, or 0 if that is unknown."""
        return sum(path.stat().st_size for path in self.files(positions) if path.is_file())


@dataclass(frozen=True, eq=False)
class ArraySource(ImageSource):
    """Images in memory.

    Attributes:
        images: uint8 `(N, H, W, C)`, C = 1 or 3.
        targets: int `(N,)`; for multi-label data uint8 `(N, K)` of zeros and ones.
        keys: A stable name of each image.
    """

    images: np.ndarray
    targets: np.ndarray
    keys: Sequence[str]
    encoded = False

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        return pick(self.images, position), pick_label(self.labels(), position)

    def key(self, position: int) -> str:
        return self.keys[position]

    def labels(self) -> np.ndarray:
        return _as_labels(self.targets)


@dataclass(frozen=True, eq=False)
class FileSource(ImageSource):
    """Image files below one folder.

    Attributes:
        root: The folder.
        paths: Paths below it, with `/`.
        targets: int `(N,)`; for multi-label data uint8 `(N, K)` of zeros and ones.
    """

    root: Path
    paths: Sequence[str]
    targets: np.ndarray
    encoded = True

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        full = np.array([os.fsencode(self.root / path) for path in self.paths], object)
        return tf.io.read_file(pick(full, position)), pick_label(self.labels(), position)

    def key(self, position: int) -> str:
        return self.paths[position]

    def labels(self) -> np.ndarray:
        return _as_labels(self.targets)

    def files(self, positions: np.ndarray) -> list[Path]:
        return [self.root / self.paths[position] for position in positions]


@dataclass(frozen=True, eq=False)
class JoinedSource(ImageSource):
    """Several splits one after another.

    Attributes:
        parts: The splits, all encoded or all pixels.
    """

    parts: Sequence[Examples]

    @property
    def encoded(self) -> bool:  # type: ignore[override]
        return self.parts[0].encoded

    @property
    def ends(self) -> np.ndarray:
        """int64 `(parts,)`: the position after the last image of each part."""
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def fetch(self, position: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        which = tf.searchsorted(self.ends, [position], side="right")[0]
        branches: list[Callable[[], tuple[Any, Any]]] = [
            partial(part.fetch, position - end + len(part))
            for part, end in zip(self.parts, self.ends, strict=True)
        ]
        return tf.switch_case(which, branches)

    def place(self, position: int) -> tuple[int, int]:
        """Return the number of a part, and an index in it."""
        which = int(np.searchsorted(self.ends, position, side="right"))
        return which, position - int(self.ends[which]) + len(self.parts[which])

    def key(self, position: int) -> str:
        which, index = self.place(position)
        return self.parts[which].key(index)

    def labels(self) -> np.ndarray | None:
        known = [part.labels() for part in self.parts]
        return None if any(x is None for x in known) else np.concatenate(known)  # type: ignore[arg-type]

    def files(self, positions: np.ndarray) -> list[Path]:
        found: list[Path] = []
        for part, end in zip(self.parts, self.ends, strict=True):
            indices = positions - end + len(part)
            found += part.select(indices[(indices >= 0) & (positions < end)]).files()
        return found


def pick(table: np.ndarray, index: Any) -> Any:
    """Return one row inside a graph; the table is held once, not copied into the graph."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        held = tf.constant(table, tf.string if table.dtype == object else None)
    return tf.gather(held, index)


def pick_label(labels: np.ndarray, index: Any) -> Any:
    """Return a label inside a graph: an int32 scalar, or float32 `(K,)`."""
    return pick(labels if labels.ndim == 1 else labels.astype(np.float32), index)


def _as_labels(targets: np.ndarray) -> np.ndarray:
    return np.asarray(targets, np.int32 if np.ndim(targets) == 1 else np.uint8)
