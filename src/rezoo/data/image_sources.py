"""What examples are read from: arrays, files, or several splits one after another.

Images are uint8 `(H, W, C)`, C = 1 (grey) or 3 (RGB), or the bytes of an image file.
"""

from __future__ import annotations

import abc
import array
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.data.image_files import UnreadableImageError, read_file

if TYPE_CHECKING:
    from rezoo.data.examples import Examples

_STATED = 2000  # files of which the sizes are looked up, to estimate those of all


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
        """Return the bytes of the encoded images at `positions`, or 0 if that is unknown.

        If there are many files, the sizes of some are taken for all.
        """
        some = positions[:: max(1, len(positions) // _STATED)]
        found = [path.stat().st_size for path in self.files(some) if path.is_file()]
        return sum(found) * len(positions) // max(len(some), 1)


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


class Texts(Sequence[str]):
    """Many short texts in a tenth of the memory of a list: their bytes, and where each ends."""

    def __init__(self, texts: Iterable[str]) -> None:
        content, ends = bytearray(), array.array("q", [0])
        for text in texts:
            content += os.fsencode(text)
            ends.append(len(content))
        self._content, self._ends = bytes(content), ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = operator.index(index)
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(index)
        return os.fsdecode(self._content[self._ends[at] : self._ends[at + 1]])

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class FileSource(ImageSource):
    """Image files below one folder.

    Attributes:
        root: The folder.
        paths: Paths below it, with `/`; kept as `Texts`.
        targets: int `(N,)`; for multi-label data uint8 `(N, K)` of zeros and ones.
    """

    root: Path
    paths: Sequence[str]
    targets: np.ndarray
    encoded = True

    def __post_init__(self) -> None:
        if not isinstance(self.paths, Texts):
            object.__setattr__(self, "paths", Texts(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        """Return an image file and its label; see `ImageSource.fetch`.

        Python reads the file, since TensorFlow's reader waits for FIFOs and reads devices without
        end. That takes 0.1 ms of a core more; decoding a photograph takes 2.2 ms.
        """
        return read_in_graph(self.read, position), pick_label(self.labels(), position)

    def path(self, position: int) -> str:
        """Return the path of one file."""
        return os.path.join(self.root, self.paths[position])

    def read(self, position: int) -> bytes:
        """Return the content of one file; raises `UnreadableImageError` if it cannot be read."""
        return read_file(self.path(position))

    def key(self, position: int) -> str:
        return str(self.paths[position])

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

    @cached_property
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


def read_in_graph(read: Callable[[int], bytes], position: Any) -> Any:
    """Return what `read` gives for a position, a tf.string scalar, inside a graph.

    An `UnreadableImageError` becomes a `tf.errors.InvalidArgumentError` with its message.
    """
    import tensorflow as tf

    from rezoo.data.images import NoImageError

    def attempt(at: Any) -> bytes:
        try:
            return read(int(at))
        except UnreadableImageError as error:
            raise NoImageError(str(error)) from error

    # a pure function of the position, as far as a run is concerned
    return tf.ensure_shape(tf.numpy_function(attempt, [position], tf.string, stateful=False), ())


def pick(table: np.ndarray, index: Any) -> Any:
    """Return one row inside a graph; the table is held once, not copied into the graph."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        held = tf.constant(table, tf.string if table.dtype == object else None)
    return tf.gather(held, index)


def pick_label(labels: np.ndarray, index: Any) -> Any:
    """Return a label inside a graph: an int32 scalar, or float32 `(K,)`."""
    import tensorflow as tf

    label = pick(labels, index)
    return label if labels.ndim == 1 else tf.cast(label, tf.float32)


def _as_labels(targets: np.ndarray) -> np.ndarray:
    """Return whole numbers as int32, or uint8 of several columns; anything else as it is.

    `rezoo.data.labels.check_labels` refuses the rest.
    """
    labels = np.asarray(targets)
    kind: type[np.integer[Any]] = np.int32 if labels.ndim == 1 else np.uint8
    limits = np.iinfo(kind)
    if labels.dtype.kind not in "iub" or not labels.size:
        return labels if labels.size else labels.astype(kind)
    fits = limits.min <= labels.min() and labels.max() <= limits.max
    return labels.astype(kind, copy=False) if fits else labels
