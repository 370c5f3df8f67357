"""Read every example once and keep what is needed to judge it: 1.2 kB each, most of it on disk.

Files are fetched by tf.data and looked at by a thread a core, so that hashing, decoding and
reading go on side by side. At any time only a few decoded images are in memory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.audit.facts import Facts, read_facts
from rezoo.data.audit.labels import label_table
from rezoo.data.examples import Examples
from rezoo.data.image_files import unreadable_reason
from rezoo.data.images import decode
from rezoo.errors import writing

SIDE = 32  # of the grey thumbnails
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_DIGEST = 16  # bytes kept of a SHA-256: chance never makes two of them equal
_AHEAD = 4  # examples a thread
_THREADS = 16  # at most: each may hold a decoded image of 200 MB

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Look:
    """What was found out about one example.

    Attributes:
        label: As stored: an int, or `(K,)` of multi-label data; -1 where it is unknown.
        facts: From the header; for pixels, from their shape.
        size: Bytes of the file; 0 for pixels that are in memory.
        file: The beginning of the SHA-256 of the file's bytes; empty where there is no file.
        pixels: The beginning of the SHA-256 of the decoded image's shape and pixels.
        thumbnail: uint8 `(32, 32)`, grey; None where it cannot be decoded.
        reason: Why it cannot be decoded.
    """

    label: Any = -1
    facts: Facts = field(default_factory=Facts)
    size: int = 0
    file: bytes = b""
    pixels: bytes = b""
    thumbnail: np.ndarray | None = None
    reason: str = ""


class Readings:
    """What was found out about all examples, one split after another; arrays of `(N,)` rows.

    Attributes:
        parts: Split → its examples.
        starts: Split → its first row.
        labels: int32 `(N,)`, or of multi-label data `(N, K)`.
        files: uint64 `(N, 2)`: the beginning of the files' SHA-256, zeros where there is none.
        pixels: uint64 `(N, 2)`: likewise of the pixels.
        thumbnails: uint8 `(N, 32, 32)`, on disk.
        decoded: bool `(N,)`.
        sizes: int64 `(N, 3)`: width and height as stored, and bytes.
        facts: `(kind, colour, bits, turned)` → its number.
        fact_numbers: int32 `(N,)`.
        reasons: Row → why it cannot be decoded.
    """

    def __init__(self, parts: Mapping[str, Examples], *, classes: int = 0) -> None:
        self.parts = dict(parts)
        ends = np.cumsum([0, *map(len, self.parts.values())])
        self.starts = {split: int(start) for split, start in zip(self.parts, ends, strict=False)}
        count = int(ends[-1])
        self.labels = label_table(count, classes)
        self.files = np.zeros((count, 2), np.uint64)
        self.pixels = np.zeros((count, 2), np.uint64)
        self.decoded = np.zeros(count, bool)
        self.sizes = np.zeros((count, 3), np.int64)
        self.facts: dict[tuple[str, str, int, bool], int] = {}
        self.fact_numbers = np.zeros(count, np.int32)
        self.reasons: dict[int, str] = {}
        # without a name, so that nothing is left behind however the process ends
        with tempfile.TemporaryFile(prefix="rezoo-") as file, writing(tempfile.gettempdir()):
            shape = (max(count, 1), SIDE, SIDE)
            file.truncate(shape[0] * SIDE * SIDE)
            self.thumbnails = np.memmap(file, np.uint8, "r+", shape=shape)

    def __len__(self) -> int:
        return len(self.labels)

    def place(self, row: int) -> tuple[str, int]:
        """Return the split of a row and its index there."""
        split = max((s for s in self.parts if self.starts[s] <= row), key=self.starts.__getitem__)
        return split, row - self.starts[split]

    def key(self, row: int) -> str:
        """Return the key of a row's example."""
        split, index = self.place(row)
        return self.parts[split].key(index)

    def rows(self, split: str) -> slice:
        """Return the rows of a split."""
        return slice(self.starts[split], self.starts[split] + len(self.parts[split]))

    def fact_rows(self, *, kind: str | None = None, turned: bool | None = None) -> np.ndarray:
        """Return the rows of a format, or those that EXIF data turn."""
        wanted = [
            number
            for (its_kind, _, _, its_turned), number in self.facts.items()
            if kind in (None, its_kind) and turned in (None, its_turned)
        ]
        return np.flatnonzero(np.isin(self.fact_numbers, wanted))

    def put(self, row: int, look: Look) -> None:
        """Keep what was found out about a row."""
        f = look.facts
        self.labels[row] = look.label
        self.sizes[row] = f.width, f.height, look.size
        fact = (f.kind, f.colour, f.bits, f.orientation != 1)
        self.fact_numbers[row] = self.facts.setdefault(fact, len(self.facts))
        for table, digest in ((self.files, look.file), (self.pixels, look.pixels)):
            if digest:
                table[row] = np.frombuffer(digest, np.uint64)
        if look.thumbnail is None:
            self.reasons[row] = look.reason
        else:
            self.thumbnails[row] = look.thumbnail
            self.decoded[row] = True


def read_all(
    parts: Mapping[str, Examples], *, classes: int = 0, progress: Progress | None = None
) -> Readings:
    """Read every example of every split once; `classes` is their number in multi-label data."""
    readings = Readings(parts, classes=classes)
    threads = min(os.cpu_count() or 1, _THREADS)
    row = 0
    with ThreadPoolExecutor(threads) as pool:
        for examples in parts.values():
            waiting: deque[Future[Look]] = deque()
            for job in _jobs(examples):
                waiting.append(pool.submit(job))
                if len(waiting) >= _AHEAD * threads:
                    row = _take(readings, waiting, row, progress)
            while waiting:
                row = _take(readings, waiting, row, progress)
    for split, examples in parts.items():  # what could not be fetched may have a label still
        if (known := examples.labels()) is not None:
            readings.labels[readings.rows(split)] = known
    return readings


def _take(
    readings: Readings, waiting: deque[Future[Look]], row: int, progress: Progress | None
) -> int:
    readings.put(row, waiting.popleft().result())
    if progress:
        progress(row + 1, len(readings))
    return row + 1


def _jobs(examples: Examples) -> Iterator[Callable[[], Look]]:
    """Yield, for each example in order, what looks at it; one that cannot be read has a reason."""
    look = _look_at_file if examples.encoded else _look_at_pixels
    fetch = tf.autograph.experimental.do_not_convert(examples.fetch)
    stream = tf.data.Dataset.range(len(examples)).map(
        fetch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    fetched = iter(stream.prefetch(2 * _AHEAD))
    for _ in range(len(examples)):
        try:
            image, label = next(fetched)
        except tf.errors.OpError as error:
            yield partial(Look, reason=_unread(error))
        else:
            yield partial(look, image, label.numpy())


def _unread(error: Exception) -> str:
    kind = type(error).__name__.removesuffix("Error")
    words = {"NotFound": "the file is not there", "DataLoss": "its record is damaged"}
    return words.get(kind, "could not be read")


def _look_at_file(image: Any, label: Any) -> Look:
    content = image.numpy()
    facts = read_facts(content)
    digest = hashlib.sha256(content).digest()[:_DIGEST]
    try:
        pixels, thumbnail = _decoded(image)
    except tf.errors.OpError:
        return Look(label, facts, len(content), digest, reason=unreadable_reason(content))
    seen = _pixel_digest(pixels.numpy())
    return Look(label, facts, len(content), digest, seen, thumbnail.numpy())


def _look_at_pixels(image: Any, label: Any) -> Look:
    height, width, channels = image.shape
    facts = Facts("pixels", width, height, 1, "grey" if channels == 1 else "colour")
    thumbnail = _small(image).numpy()
    return Look(label, facts, 0, b"", _pixel_digest(image.numpy()), thumbnail)


def _pixel_digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()[:_DIGEST]


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _decoded(content: Any) -> tuple[Any, Any]:
    image = decode(content, 3)
    return image, _small(image)


def _small(image: Any) -> Any:
    """Return uint8 `(32, 32)`: grey levels of the whole image, its sides squeezed to squares."""
    small = tf.image.resize(image, (SIDE, SIDE), antialias=True)
    if image.shape[-1] == 3:
        small = tf.tensordot(small, tf.constant(_GREY), 1)
    grey = tf.reshape(small, (SIDE, SIDE))
    return tf.cast(tf.clip_by_value(tf.round(grey), 0.0, 255.0), tf.uint8)
