"""Read every example once and keep the facts that the checks need: about 100 bytes each.

Thumbnails, 1 kB each, are in a temporary file. tf.data fetches the examples; a pool with one thread
per core hashes and decodes them. At any time only a few decoded images are in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.image_files import UnreadableImageError, open_image, unreadable_reason
from rezoo.data.image_sources import ImageSource, JoinedSource
from rezoo.data.images import decode, stated_reason
from rezoo.errors import writing
from rezoo.utils.live_line import Show

SIDE = 32  # of the grey thumbnails
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
RECORD = np.dtype(
    [
        ("width", np.int32),  # pixels as stored, before EXIF orientation; 0 if unknown
        ("height", np.int32),
        ("size", np.int64),  # bytes of the file; 0 for pixels in memory
        ("format", "S8"),  # Pillow's name in lower case, or "pixels"; empty if unknown
        ("colour", "S16"),
        ("bits", np.uint8),  # per channel
        ("turned", np.bool_),  # by EXIF orientation
        ("decoded", np.bool_),
        ("file_digest", "S16"),  # first half of the SHA-256 of the file; empty if there is none
        ("pixel_digest", "S16"),  # likewise of the shape and the decoded pixels
    ]
)
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")  # Pillow's modes
_COLOURS = {**dict.fromkeys(_GREY, "grey"), "P": "palette", "PA": "palette", "CMYK": "CMYK"}
_ORIENTATION = 0x0112
_AHEAD = 4  # examples in flight per thread
_MAX_THREADS = 16  # each may hold a decoded image of 200 MB

SEPARATOR, NO_LABEL = "; ", "(no label)"


class Scan:
    """The facts about all examples: one row each, one split after another.

    Attributes:
        splits: The names of the splits.
        source: The examples of all splits; their positions are the rows.
        classes: Class names in the order of the labels.
        rows: `RECORD` `(N,)`.
        labels: Integers `(N,)`, or of multi-label data `(N, K)` of zeros and ones; -1 if unknown;
            float64 if the dataset has such labels.
        thumbnails: uint8 `(N, 32, 32)`, grey, backed by a temporary file.
        faults: Row → why the example cannot be decoded.
    """

    def __init__(self, opened: Splits) -> None:
        self.splits = [split for split in SPLITS if split in opened.parts]
        self.source = JoinedSource([opened.parts[split] for split in self.splits])
        self.classes = opened.class_names
        count = len(self.source)
        self.rows = np.zeros(count, RECORD)
        shape = (count, len(self.classes)) if opened.multi_label else (count,)
        self.labels = np.full(shape, -1, np.int32)
        self.faults: dict[int, str] = {}
        # a file without a name disappears however the process ends
        with tempfile.TemporaryFile(prefix="rezoo-") as file, writing(tempfile.gettempdir()):
            file.truncate(max(count, 1) * SIDE**2)
            self.thumbnails = np.memmap(file, np.uint8, "r+", shape=(max(count, 1), SIDE, SIDE))

    def place(self, row: int) -> tuple[str, int]:
        """Return the split of a row and its index in that split."""
        part, index = self.source.place(row)
        return self.splits[part], index

    def labels_by_split(self) -> dict[str, np.ndarray]:
        """Return split → the labels of its rows."""
        parts = np.split(self.labels, self.source.ends[:-1])
        return dict(zip(self.splits, parts, strict=True))


def scan(opened: Splits, *, progress: Show | None = None) -> Scan:
    """Read every example of every split once.

    Args:
        opened: The dataset.
        progress: Called with the number of examples read and the number of all.
    """
    result = Scan(opened)
    known = result.source.labels()  # also of what cannot be fetched
    if known is not None and known.dtype.kind in "iubf":
        result.labels = known.astype(np.float64 if known.dtype.kind == "f" else np.int64)
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(threads) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about damaged metadata
        looks = _in_order(pool, _fetched(result.source), _AHEAD * threads)
        for row, (record, thumbnail, label, fault) in enumerate(looks):
            result.rows[row] = record
            if known is None and (np.ndim(label) or np.asarray(label).dtype.kind in "iub"):
                result.labels[row] = label  # others stay unknown
            if fault:
                result.faults[row] = fault
            else:
                result.thumbnails[row] = thumbnail
            if progress:
                progress(row + 1, len(result.rows))
    return result


def label_name(label: np.ndarray, names: Sequence[str]) -> str:
    """Return the name of an example's class, or of all its classes; empty if unknown."""
    if label.ndim:
        known = SEPARATOR.join(names[i] for i in np.flatnonzero(label == 1).tolist())
        return known or ("" if (label < 0).any() else NO_LABEL)
    return names[int(label)] if 0 <= label < len(names) else ""


def decoded(
    examples: Examples, indices: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Decode some examples.

    Args:
        examples: The split.
        indices: int64 `(M,)`.

    Yields:
        `(place, image, label)`: the position in `indices`, uint8 `(H, W, C)`, and the label.
        Examples that cannot be decoded are left out.
    """
    chosen = examples.select(indices)

    @tf.autograph.experimental.do_not_convert
    def load(place: Any) -> Any:
        image, label = chosen.fetch(place)
        return place, decode(image, 3) if chosen.encoded else image, label

    stream = tf.data.Dataset.range(len(chosen)).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    for place, image, label in stream.ignore_errors().as_numpy_iterator():
        yield int(place), image, label


def _fetched(source: ImageSource) -> Iterator[tuple[Any, Any]]:
    """Yield `(image, label)` of each example in order; `(None, reason)` if it cannot be read."""
    fetch = tf.autograph.experimental.do_not_convert(source.fetch)
    stream = tf.data.Dataset.range(len(source)).map(
        fetch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    fetched = iter(stream.prefetch(2 * _AHEAD))
    for _ in range(len(source)):
        try:
            image, label = next(fetched)
        except tf.errors.OpError as error:
            damaged = isinstance(error, tf.errors.DataLossError)
            otherwise = "its record is damaged" if damaged else "it could not be read"
            yield None, stated_reason(error) or otherwise
        else:
            yield image, label


def _in_order(
    pool: ThreadPoolExecutor, fetched: Iterator[tuple[Any, Any]], most: int
) -> Iterator[Any]:
    """Yield what `_look` returns for each example, in order, with at most `most` in flight."""
    waiting: deque[Future[Any]] = deque()
    for image, label in fetched:
        waiting.append(pool.submit(_look, image, label))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    yield from (future.result() for future in waiting)


def _look(image: Any, label: Any) -> tuple[np.ndarray, np.ndarray | None, Any, str]:
    """Return the record, the thumbnail, the label and the fault of one fetched example."""
    if image is None:
        return np.zeros((), RECORD), None, -1, label
    label = label.numpy()
    if image.dtype != tf.string:
        record, thumbnail = np.zeros((), RECORD), _thumbnail(image)
        record["height"], record["width"], channels = image.shape
        record["format"], record["bits"] = "pixels", 8
        record["colour"] = "grey" if channels == 1 else "colour"
    else:
        content = image.numpy()
        record = describe(content)
        try:
            image, thumbnail = _decode(image)
        except tf.errors.OpError:
            return record, None, label, unreadable_reason(content)
    record["decoded"] = True
    pixels = image.numpy()
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.data)
    record["pixel_digest"] = digest.digest()[:16]
    return record, thumbnail.numpy(), label, ""


@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def _decode(content: Any) -> Any:
    image = decode(content, 3)
    return image, _thumbnail(image)


@tf.function(autograph=False, reduce_retracing=True)
def _thumbnail(image: Any) -> Any:
    """Return uint8 `(32, 32)`: grey levels of the whole image, its sides squeezed to squares."""
    small = tf.image.resize(image, (SIDE, SIDE), antialias=True)
    grey = tf.tensordot(small, tf.constant(_LUMA), 1) if image.shape[-1] == 3 else small[..., 0]
    return tf.cast(tf.clip_by_value(tf.round(grey), 0, 255), tf.uint8)


def describe(content: bytes) -> np.ndarray:
    """Return the facts in the header of an image file, a `RECORD` scalar; nothing is decoded."""
    record = np.zeros((), RECORD)
    record["size"] = len(content)
    record["file_digest"] = hashlib.sha256(content).digest()[:16]
    with contextlib.suppress(UnreadableImageError), open_image(content) as image:
        record["width"], record["height"] = image.size
        record["format"] = (image.format or "").lower().replace("mpo", "jpeg")
        alpha = " + alpha" if image.has_transparency_data else ""
        record["colour"] = _COLOURS.get(image.mode, "colour") + alpha
        # Pillow may reduce 16 bits to 8 when it decodes: the tile has what is stored
        stored = 16 if ";16" in f"{image.mode}{getattr(image, 'tile', ())[:1]}" else 8
        record["bits"] = {"1": 1, "I": 32, "F": 32}.get(image.mode, stored)
        with contextlib.suppress(Exception):  # damaged EXIF data raise errors of many kinds
            record["turned"] = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    return record
