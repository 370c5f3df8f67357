"""A split in memory, where it fits: small images decoded, others as the bytes of their files.

Which of the two does not depend on the machine, and neither changes a pixel: images of at most
`crops.SMALL_PIXELS` pixels are decoded whole in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.crops import SMALL_PIXELS
from rezoo.data.examples import ArrayExamples, Examples, FileExamples
from rezoo.data.headers import read_header
from rezoo.data.images import decode
from rezoo.data.tfds import RecordExamples
from rezoo.utils import device

_PART_OF_FREE = 0.25
_plain = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True, eq=False)
class StoredExamples(Examples):
    """Examples in memory.

    Attributes:
        base: Where they come from, for keys and labels.
        contents: tf.string `(N,)`: files, or pixels where `shapes` are given.
        targets: int32 `(N,)`, or of multi-label data float32 `(N, K)`.
        shapes: int32 `(N, 3)`: height, width and channels of the pixels.
    """

    base: Examples
    contents: Any
    targets: Any
    shapes: Any = None
    channels: int = 3

    @property
    def encoded(self) -> bool:  # type: ignore[override]
        """Whether `fetch` gives the bytes of an image file."""
        return self.shapes is None

    def __len__(self) -> int:
        return len(self.base)

    def fetch(self, index: Any) -> tuple[Any, Any]:
        """As `Examples.fetch`."""
        content, label = tf.gather(self.contents, index), tf.gather(self.targets, index)
        if self.shapes is None:
            return content, label
        pixels = tf.reshape(tf.io.decode_raw(content, tf.uint8), tf.gather(self.shapes, index))
        return tf.ensure_shape(pixels, (None, None, self.channels)), label

    def select(self, indices: np.ndarray) -> Examples:
        """As `Examples.select`; what was chosen is read from where it came."""
        return self.base.select(indices)

    def key(self, index: int) -> str:
        """As `Examples.key`."""
        return self.base.key(index)

    def labels(self) -> np.ndarray | None:
        """As `Examples.labels`."""
        targets = np.asarray(self.targets)
        return targets if targets.ndim == 1 else targets.astype(np.uint8)


def in_memory(
    examples: Examples, *, channels: int, free: int | None = None
) -> tuple[Examples, str]:
    """Return a split held in memory where it takes little of it, and in words what was done.

    Args:
        examples: The split.
        channels: 1 or 3: of the pixels, where they are decoded.
        free: Bytes that are free; as the system says where not given.
    """
    if isinstance(examples, (ArrayExamples, StoredExamples)):
        return examples, ""
    budget = int(_PART_OF_FREE * (device.free_host_bytes() if free is None else free))
    size = _encoded_bytes(examples)
    if not size or size > budget:
        return examples, f"read from the disk each time: {_mega(size)}" if size else ""
    try:
        contents, targets, pixels = _read(examples)
    except tf.errors.OpError:  # what cannot be read is left out when it is met
        return examples, "read from the disk each time: a file cannot be read"
    if pixels is not None and size + pixels.sum() * channels <= budget:
        decoded, shapes = _decode(contents, channels)
        stored = StoredExamples(examples, decoded, targets, shapes, channels)
        return stored, f"decoded in memory: {_mega(int(pixels.sum()) * channels)}"
    return StoredExamples(examples, contents, targets), f"files in memory: {_mega(size)}"


def _encoded_bytes(examples: Examples) -> int:
    """Return how many bytes the files of a split have, or 0 where that is not known cheaply."""
    if isinstance(examples, FileExamples):
        paths = [examples.root / path for path in examples.paths]
        return sum(path.stat().st_size for path in paths if path.is_file())
    if isinstance(examples, RecordExamples):
        records = examples.records
        whole = sum(path.stat().st_size for path in records.paths)
        return whole * len(examples) // max(len(records), 1)
    return 0


def _read(examples: Examples) -> tuple[Any, Any, np.ndarray | None]:
    """Read every example once; the number of pixels of each where all are known and small."""
    found = tf.data.Dataset.range(len(examples)).map(
        _plain(examples.fetch), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    contents, targets = [], []
    for content, target in found.as_numpy_iterator():
        contents.append(content)
        targets.append(target)
    headers = [read_header(content) for content in contents]
    pixels = np.array([header.pixels if header else 0 for header in headers])
    small = bool(((pixels > 0) & (pixels <= SMALL_PIXELS)).all())
    with tf.device("CPU:0"):
        held = tf.constant(np.array(contents, object), tf.string)
        labels = tf.constant(np.array(targets, np.float32 if np.ndim(targets[0]) else np.int32))
    return held, labels, pixels if small else None


def _decode(contents: Any, channels: int) -> tuple[Any, Any]:
    stream = tf.data.Dataset.from_tensor_slices(contents).map(
        _plain(lambda content: decode(content, channels)), num_parallel_calls=tf.data.AUTOTUNE
    )
    pixels = list(stream.as_numpy_iterator())
    with tf.device("CPU:0"):
        raw = tf.constant(np.array([image.tobytes() for image in pixels], object), tf.string)
        return raw, tf.constant([image.shape for image in pixels], tf.int32)


def _mega(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
