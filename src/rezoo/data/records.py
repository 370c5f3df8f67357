"""Random access to TFRecord files.

A record is an 8-byte little-endian length, its 4-byte checksum, the data and their 4-byte
checksum. A file has no index of its records, so the lengths are read once, and the table of
offsets is kept in rezoo's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.image_sources import pick
from rezoo.errors import IntegrityError
from rezoo.utils.files import write_bytes
from rezoo.utils.paths import cache_dir

LENGTH_BYTES = 8
FRAME_BYTES = 16  # the length, its checksum and the data's checksum
_DAMAGED = "the file is damaged or incomplete: remove its folder and prepare the dataset again."


@dataclass(frozen=True, eq=False)
class RecordFiles:
    """The records of several files, one file after another."""

    paths: tuple[Path, ...]
    table: np.ndarray  # int64 `(N, 2)`: a record's file and the offset where it starts

    def __len__(self) -> int:
        return len(self.table)

    def fetch(self, index: Any) -> Any:
        """Return one record inside a tf.data graph, its checksums verified.

        TensorFlow's own reader starts at the record's offset. It does not hold Python's global
        lock, so parallel calls do not wait for each other.

        Args:
            index: int64 scalar tensor, 0 to `len(self) - 1`.

        Returns:
            tf.string scalar. Reading a damaged record raises `tf.errors.DataLossError`.
        """
        import tensorflow as tf

        file, offset = tf.unstack(pick(self.table, index), num=2)
        path = pick(np.array([os.fsencode(p) for p in self.paths], object), file)
        kind = {"output_types": [tf.string], "output_shapes": [()]}
        reader = tf.raw_ops.TFRecordDatasetV2(
            filenames=path[None],
            compression_type="",
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=offset[None],
        )
        first = tf.raw_ops.TakeDataset(input_dataset=reader, count=tf.constant(1, tf.int64), **kind)
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **kind)[0]

    def read(self, index: int) -> bytes:
        """Return one record.

        Raises:
            IntegrityError: Its checksum is wrong, or its file is missing.
        """
        import tensorflow as tf

        try:
            return bytes(self.fetch(tf.constant(index, tf.int64)).numpy())
        except (tf.errors.DataLossError, tf.errors.OutOfRangeError, tf.errors.NotFoundError) as e:
            path = self.paths[int(self.table[index, 0])]
            raise IntegrityError(f"cannot read record {index} of {path}", hint=_DAMAGED) from e


def open_records(paths: Sequence[Path], *, counts: Sequence[int] | None = None) -> RecordFiles:
    """Return the records of `paths`.

    Args:
        paths: TFRecord files, not compressed.
        counts: The number of records that each file must have, or None if it is unknown.

    Raises:
        IntegrityError: A file is missing, is cut off, or has another number of records.
    """
    try:
        stats = [path.stat() for path in paths]
    except OSError as error:
        message = f"cannot read {error.filename}: {error.strerror}"
        raise IntegrityError(message, hint=_DAMAGED) from error
    identity = [[p.name, s.st_size, s.st_mtime_ns] for p, s in zip(paths, stats, strict=True)]
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()
    cached = cache_dir() / "records" / f"{digest}.npy"
    try:
        table = np.load(cached, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        table = _scan(paths, [s.st_size for s in stats])
        content = io.BytesIO()
        np.save(content, table)
        with contextlib.suppress(OSError):  # a cache that cannot be written
            write_bytes(cached, content.getvalue())
    found = np.bincount(table[:, 0], minlength=len(paths))
    for path, has, wanted in zip(paths, found, found if counts is None else counts, strict=True):
        if has != wanted:
            raise IntegrityError(f"{path} has {has} records instead of {wanted}", hint=_DAMAGED)
    return RecordFiles(tuple(paths), table)


def _scan(paths: Sequence[Path], sizes: Sequence[int]) -> np.ndarray:
    """Return the file and the offset of each record, int64 `(N, 2)`."""
    rows = []
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        at = 0
        with path.open("rb", buffering=0) as file:
            while at < size:
                file.seek(at)
                head = file.read(LENGTH_BYTES)
                end = at + FRAME_BYTES + int.from_bytes(head, "little")
                if len(head) < LENGTH_BYTES or end > size:
                    raise IntegrityError(f"{path} is damaged at byte {at}", hint=_DAMAGED)
                rows.append((number, at))
                at = end
    return np.array(rows, np.int64).reshape(-1, 2)
