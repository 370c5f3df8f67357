"""Keep a split in memory if it fits: small images decoded, others as the bytes of their files.

Few images are read before the first step, many are kept when a batch has read them: a run starts
at once. Neither way changes a pixel: images of at most `crops.SMALL_PIXELS` pixels are always
decoded whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.crops import SMALL_PIXELS
from rezoo.data.examples import Examples
from rezoo.data.image_files import UnreadableImageError, open_image
from rezoo.data.image_sources import ArraySource, FileSource, ImageSource
from rezoo.data.images import decode
from rezoo.utils import device

_AT_ONCE = 50_000  # images, and
_AT_ONCE_BYTES = 500_000_000  # bytes of their files, that are read before the first step
_BATCH = 256
_OBJECT = 150  # bytes that Python takes for each file, besides its content
_PART_OF_FREE = 0.25
_plain = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True, eq=False)
class MemorySource(ImageSource):
    """Examples in memory."""

    base: Examples  # as they were read
    contents: Any  # tf.string `(N,)`: files, or pixels as `tf.io.serialize_tensor` writes them
    targets: Any  # int32 `(N,)`; for multi-label data float32 `(N, K)`
    encoded: bool
    channels: int  # of the pixels

    def __len__(self) -> int:
        return len(self.base)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        content, label = tf.gather(self.contents, position), tf.gather(self.targets, position)
        if self.encoded:
            return content, label
        pixels = tf.io.parse_tensor(content, tf.uint8)
        return tf.ensure_shape(pixels, (None, None, self.channels)), label

    def key(self, position: int) -> str:
        return self.base.key(position)

    def labels(self) -> np.ndarray | None:
        targets = np.asarray(self.targets)
        return targets if targets.ndim == 1 else targets.astype(np.uint8)

    def files(self, positions: np.ndarray) -> Sequence[Path]:
        return self.base.select(positions).files()


@dataclass(frozen=True, eq=False)
class KeptFiles(FileSource):
    """Image files below one folder, kept in memory once they are read.

    Attributes:
        most: Bytes that are kept.
    """

    most: int
    _kept: dict[int, bytes] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=lambda: [0])

    def read(self, position: int) -> bytes:
        """Return the content of one file; see `FileSource.read`."""
        known = self._kept.get(position)
        if known is not None:
            return known
        content = super().read(position)
        if self._sizes[0] + len(content) <= self.most:
            self._sizes[0] += len(content)
            self._kept[position] = content
        return content


def in_memory(
    examples: Examples, *, channels: int, free: int | None = None
) -> tuple[Examples, str]:
    """Return a split held in memory if it takes a small part of it, and a message about it.

    Args:
        examples: The split.
        channels: 1 or 3: of the pixels, if they are decoded.
        free: Free memory in bytes. By default, the system is asked.
    """
    source = examples.source
    if isinstance(source, (ArraySource, MemorySource)):
        return examples, ""
    budget = int(_PART_OF_FREE * (device.free_host_bytes() if free is None else free))
    size = source.stored_bytes(examples.positions)
    if not size or size > budget:
        return examples, f"read from the disk each time: {_megabytes(size)}" if size else ""
    small, files = _is_small(examples), isinstance(source, FileSource)
    at_once = len(examples) <= _AT_ONCE and size <= _AT_ONCE_BYTES and (small or not files)
    if at_once and (held := _held(examples, channels, budget, decoded=small)):
        return held
    if not isinstance(source, FileSource):
        return examples, f"read from the disk each time: {_megabytes(size)}"
    kept = KeptFiles(source.root, source.paths, source.targets, budget)
    return Examples(kept, examples.positions), f"files kept once read: {_megabytes(size)}"


def bytes_to_come(examples: Examples) -> int:
    """Return about how many bytes a split will take in memory that are not there yet."""
    source = examples.source
    if not isinstance(source, KeptFiles):
        return 0
    return min(source.stored_bytes(examples.positions), source.most) + _OBJECT * len(examples)


def _is_small(examples: Examples) -> bool:
    """Return whether the first image is so small that all are likely to be kept decoded."""
    try:
        content = examples.fetch(tf.constant(0, tf.int64))[0].numpy()
        with open_image(content) as image:
            return bool(image.width * image.height <= SMALL_PIXELS)
    except (UnreadableImageError, tf.errors.OpError):
        return False


def _held(
    examples: Examples, channels: int, budget: int, *, decoded: bool
) -> tuple[Examples, str] | None:
    """Read every example once; None if one cannot be read, or is not as small as the first."""

    @_plain
    def read(index: Any) -> tuple[Any, Any, Any]:
        content, label = examples.fetch(index)
        if not decoded:
            return content, label, tf.strings.length(content)
        image = decode(content, channels)
        return tf.io.serialize_tensor(image), label, tf.size(image)

    stream = tf.data.Dataset.range(len(examples)).map(
        read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    parts, total = [], 0
    try:
        for part in stream.batch(_BATCH).as_numpy_iterator():
            total += int(part[2].sum())
            if total > budget or (decoded and part[2].max() > SMALL_PIXELS * channels):
                return None
            parts.append(part)
    except tf.errors.OpError:  # the run leaves out what cannot be read
        return None
    contents, targets = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    with tf.device("CPU:0"):
        held = tf.constant(contents, tf.string), tf.constant(targets)
    source = MemorySource(examples, *held, not decoded, channels)
    what = "decoded in memory" if decoded else "files in memory"
    return Examples(source), f"{what}: {_megabytes(total)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
