"""Which images of one dataset are in another one, by their content."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from rezoo.data.examples import Examples
from rezoo.data.image_files import UnreadableImageError
from rezoo.data.image_sources import ArraySource, FileSource, ImageSource, JoinedSource


def same_content(some: Examples, others: Examples) -> list[int]:
    """Return the indices of the examples in `some` whose bytes are those of one of the others.

    Files are compared with files and pixels in memory with pixels, by SHA-256. Only content of
    equal size is read. Images of TFDS and of the Hub, which have no files of their own, are
    left out.
    """
    sizes = np.array([_size(others, index) for index in range(len(others))], np.int64)
    asked = {index: _size(some, index) for index in range(len(some))}
    asked = {index: size for index, size in asked.items() if size >= 0}
    wanted = np.flatnonzero(np.isin(sizes, list(asked.values())))
    if not len(wanted):
        return []
    known = {_digest(others, int(index)) for index in wanted} - {b""}
    there = set(sizes[wanted].tolist())
    return [i for i, size in asked.items() if size in there and _digest(some, i) in known]


def _place(examples: Examples, index: int) -> tuple[ImageSource, int]:
    """Return what an example is read from, behind the splits that are joined, and where there."""
    source, position = examples.source, int(examples.positions[index])
    if isinstance(source, JoinedSource):
        part, inner = source.place(position)
        return _place(source.parts[part], inner)
    return source, position


def _size(examples: Examples, index: int) -> int:
    """Return the size of the content in bytes, -1 if it is not at hand."""
    source, position = _place(examples, index)
    if isinstance(source, ArraySource):
        return int(source.images[position].nbytes)
    try:
        return os.stat(source.path(position)).st_size if isinstance(source, FileSource) else -1
    except OSError:
        return -1


def _digest(examples: Examples, index: int) -> bytes:
    """Return the SHA-256 of the content, empty if it cannot be read."""
    source, position = _place(examples, index)
    if isinstance(source, ArraySource):
        pixels = np.ascontiguousarray(source.images[position])
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
    try:
        return hashlib.sha256(source.read(position)).digest()  # type: ignore[attr-defined]
    except UnreadableImageError:
        return b""
