"""Keep a split in memory if it fits: small images decoded, others as the bytes of their files.

The choice between the two does not depend on the machine, and neither changes a pixel: images of
at most `crops.SMALL_PIXELS` pixels are always decoded whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.crops import SMALL_PIXELS
from rezoo.data.examples import Examples
from rezoo.data.image_files import UnreadableImageError, open_image
from rezoo.data.image_sources import ArraySource, ImageSource
from rezoo.data.images import decode
from rezoo.utils import device

_PART_OF_FREE = 0.25
_plain = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True, eq=False)
class MemorySource(ImageSource):
    """Examples in memory."""

    base: Examples  # as they were read
    contents: Any  # tf.string `(N,)`: files, or pixels if `shapes` are given
    targets: Any  # int32 `(N,)`; for multi-label data float32 `(N, K)`
    shapes: Any = None  # int32 `(N, 3)`: height, width and channels of the pixels
    channels: int = 3  # of the pixels

    @property
    def encoded(self) -> bool:  # type: ignore[override]
        return self.shapes is None

    def __len__(self) -> int:
        return len(self.base)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        content, label = tf.gather(self.contents, position), tf.gather(self.targets, position)
        if self.shapes is None:
            return content, label
        pixels = tf.reshape(tf.io.decode_raw(content, tf.uint8), tf.gather(self.shapes, position))
        return tf.ensure_shape(pixels, (None, None, self.channels)), label

    def key(self, position: int) -> str:
        return self.base.key(position)

    def labels(self) -> np.ndarray | None:
        targets = np.asarray(self.targets)
        return targets if targets.ndim == 1 else targets.astype(np.uint8)

    def files(self, positions: np.ndarray) -> Sequence[Path]:
        return self.base.select(positions).files()


def in_memory(
    examples: Examples, *, channels: int, free: int | None = None
) -> tuple[Examples, str]:
    """Return a split held in memory if it takes a small part of it, and a message about it.

    Args:
        examples: The split.
        channels: 1 or 3: of the pixels, if they are decoded.
        free: Free memory in bytes. By default, the system is asked.
    """
    if isinstance(examples.source, (ArraySource, MemorySource)):
        return examples, ""
    budget = int(_PART_OF_FREE * (device.free_host_bytes() if free is None else free))
    size = examples.source.stored_bytes(examples.positions)
    if not size or size > budget:
        return examples, f"read from the disk each time: {_megabytes(size)}" if size else ""
    try:
        contents, targets, pixels = _read(examples)
    except tf.errors.OpError:  # the run leaves out what cannot be read
        return examples, "read from the disk each time: a file cannot be read"
    if pixels is None or size + pixels.sum() * channels > budget:
        source = MemorySource(examples, contents, targets)
        return Examples(source), f"files in memory: {_megabytes(size)}"
    decoded, shapes = _decode(contents, channels)
    source = MemorySource(examples, decoded, targets, shapes, channels)
    return Examples(source), f"decoded in memory: {_megabytes(int(pixels.sum()) * channels)}"


def _read(examples: Examples) -> tuple[Any, Any, np.ndarray | None]:
    """Read every example once.

    Returns:
        The files, the labels, and the number of pixels of each image, int64 `(N,)`. The last is
        None if one of them is above `SMALL_PIXELS` or unknown.
    """
    found = tf.data.Dataset.range(len(examples)).map(
        _plain(examples.fetch), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    contents, targets = zip(*found.as_numpy_iterator(), strict=True)
    pixels = np.array([_pixel_count(content) for content in contents])
    small = bool(((pixels > 0) & (pixels <= SMALL_PIXELS)).all())
    with tf.device("CPU:0"):
        held = tf.constant(np.array(contents, object), tf.string)
        labels = tf.constant(np.array(targets, np.float32 if np.ndim(targets[0]) else np.int32))
    return held, labels, pixels if small else None


def _pixel_count(content: bytes) -> int:
    try:
        with open_image(content) as image:
            return image.width * image.height
    except UnreadableImageError:
        return 0


def _decode(contents: Any, channels: int) -> tuple[Any, Any]:
    """Return the pixels of each file as bytes, and their shapes, int32 `(N, 3)`."""
    stream = tf.data.Dataset.from_tensor_slices(contents).map(
        _plain(lambda content: decode(content, channels)), num_parallel_calls=tf.data.AUTOTUNE
    )
    pixels = list(stream.as_numpy_iterator())
    with tf.device("CPU:0"):
        raw = tf.constant(np.array([image.tobytes() for image in pixels], object), tf.string)
        return raw, tf.constant([image.shape for image in pixels], tf.int32)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
