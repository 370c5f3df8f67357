"""Reading and writing safetensors files, with every check before a tensor is touched.

A file is 8 bytes with the header's length (little endian), a JSON header, then the data. The
header is read here against bounds of our own, tensors one at a time: the memory needed is
that of the largest one. The format itself has no checksum; `FileRecord` brings one.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ml_dtypes
import numpy as np
import safetensors.numpy

from rezoo.errors import IncompatibleError, IntegrityError, NotFoundError, UnsafeFileError
from rezoo.utils.files import FileRecord, digest, unique_keys, write_bytes

MAX_HEADER_BYTES = 1024 * 1024
MAX_TENSORS = 10_000
_PIECE = 1 << 20  # bytes; a multiple of every type's size
_AGAIN = "get the file again from where it came from."
_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
# What the format knows besides, and no network of rezoo has.
_OTHER_DTYPES = ("C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4")
# How files begin that people take for weights.
_PICKLE = "is a pickle or an archive of one"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git-LFS pointer, not weights", "run git lfs pull."),
    (b"<!doctype", "is a web page, not weights", "download the file itself."),
    (b"<html", "is a web page, not weights", "download the file itself."),
    (b"\x89HDF\r\n", "is an HDF5 file, which rezoo never opens", ""),
    (b"PK\x03\x04", f"is a zip archive (.keras, .pt or .npz): it {_PICKLE} or code", ""),
    *((bytes([0x80, version]), _PICKLE, "") for version in range(2, 6)),
)
_ONLY = "rezoo reads weights from safetensors only: nothing in them can run."


@dataclass(frozen=True)
class Entry:
    """Where a tensor is: its type, shape, and first and last byte behind the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """An open safetensors file whose bytes and header have been checked.

    Args:
        path: The file.
        expected: What its bytes should be; compared before the header is parsed.

    Raises:
        NotFoundError: There is no such file, or it cannot be read.
        IntegrityError: Other bytes than expected; cut off, damaged, or something else altogether.
        UnsafeFileError: A pickle, HDF5 or other foreign file, or a header beyond all bounds.
        IncompatibleError: Tensors of a type that rezoo does not know.
    """

    def __init__(self, path: Path, expected: FileRecord | None = None) -> None:
        self.path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        except FileNotFoundError:
            raise NotFoundError(
                f"{path.parent} has no {path.name}", hint="weights are read from safetensors only."
            ) from None
        except OSError as error:
            raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            length = self._check_start(expected)
            self.sha256 = digest(self._file)
            if expected:
                expected.check(path, size=self._size, sha256=self.sha256)
            self._data = 8 + length
            self.entries, self.metadata = self._header(length)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        """Return one tensor."""
        entry = self.entries[name]
        self._file.seek(self._data + entry.start)
        content = self._file.read(entry.stop - entry.start)
        if len(content) != entry.stop - entry.start:
            raise IntegrityError(f"{self.path} became shorter while it was read", hint=_AGAIN)
        if not content:
            return np.zeros(entry.shape, entry.dtype)
        return np.frombuffer(content, entry.dtype).reshape(entry.shape)

    def is_finite(self, name: str) -> bool:
        """Whether a tensor holds neither NaN nor infinite values; read in pieces."""
        entry = self.entries[name]
        self._file.seek(self._data + entry.start)
        left = entry.stop - entry.start
        while left and (piece := self._file.read(min(left, _PIECE))):
            left -= len(piece)
            if not np.isfinite(np.frombuffer(piece, entry.dtype)).all():
                return False
        return True

    def _check_start(self, expected: FileRecord | None) -> int:
        """Refuse what is no safetensors file; return the length of the header."""
        start = self._file.read(256)
        folded = start.lstrip().lower()
        # A length may begin with the two bytes that begin a pickle; JSON follows only the length.
        ours = start[3:9] == bytes(5) + b"{"
        for magic, what, hint in () if ours else _FOREIGN:
            if start.startswith(magic) or (magic[:1] == b"<" and folded.startswith(magic)):
                kind = IntegrityError if hint else UnsafeFileError
                raise kind(f"{self.path} {what}", hint=hint or _ONLY)
        if expected:
            expected.check(self.path, size=self._size)
        if self._size < 8:
            raise IntegrityError(f"{self.path} is cut off: {self._size} bytes", hint=_AGAIN)
        (length,) = struct.unpack("<Q", start[:8])
        if length > min(MAX_HEADER_BYTES, self._size - 8):
            raise UnsafeFileError(
                f"{self.path}: the header claims {length} bytes in a file of {self._size}; "
                f"at most {MAX_HEADER_BYTES} are allowed",
                hint="this is no safetensors file, or it is damaged or cut off.",
            )
        return int(length)

    def _header(self, length: int) -> tuple[dict[str, Entry], dict[str, str]]:
        self._file.seek(8)
        try:
            header = json.loads(self._file.read(length), object_pairs_hook=unique_keys)
            return _parse(header, self._size - 8 - length)
        except UnsafeFileError as error:
            raise UnsafeFileError(f"{self.path} {error}", hint=error.hint) from error
        except IncompatibleError as error:
            raise IncompatibleError(f"{self.path}: {error}", hint=error.hint) from error
        except (ValueError, RecursionError) as error:
            raise IntegrityError(
                f"{self.path}: the header is damaged: {error}", hint=_AGAIN
            ) from error


def read_tensors(
    path: Path, expected: FileRecord | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all tensors of a file, and the texts in its header; raises as `TensorFile` does."""
    with TensorFile(path, expected) as file:
        return {name: file.read(name) for name in file.entries}, file.metadata


def write_tensors(
    path: Path, values: Mapping[str, np.ndarray], *, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file whole or not at all, and compare it with what was meant.

    Raises:
        IntegrityError: The file read back differs by a name, shape, dtype or bit.
        ResourceError: No space, or the folder cannot be written.
    """
    ordered = {name: np.asarray(value, order="C") for name, value in values.items()}
    content = safetensors.numpy.save(ordered, metadata)
    back = safetensors.numpy.load(content)
    same = back.keys() == ordered.keys() and all(
        back[n].dtype == v.dtype and back[n].shape == v.shape and back[n].tobytes() == v.tobytes()
        for n, v in ordered.items()
    )
    if not same:
        raise IntegrityError(f"{path.name}: the tensors read back are not those written")
    write_bytes(path, content)


def _parse(header: Any, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the tensors and texts of a parsed header in front of `size` bytes of data."""
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("it is no table of tensors")  # noqa: TRY004 - of a file, not a caller
    if len(header) > MAX_TENSORS:
        raise UnsafeFileError(f"has {len(header)} tensors; at most {MAX_TENSORS} are allowed")
    entries = {name: _entry(name, value) for name, value in header.items()}
    _check_layout(entries, size)
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("__metadata__ holds other things than texts")
    return entries, metadata


def _entry(name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} has other keys than dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not (_whole_numbers(shape, 2**31) and _whole_numbers(offsets, 2**62) and len(offsets) == 2):
        raise ValueError(f"tensor {name!r} has a shape or offsets beyond all bounds")
    if dtype in _OTHER_DTYPES:
        raise IncompatibleError(
            f"tensor {name!r} has the type {dtype}",
            hint="rezoo reads float16, bfloat16, float32, float64, integers and booleans.",
        )
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"tensor {name!r} has the unknown type {dtype!r}")
    kind = np.dtype(_DTYPES[dtype])
    if len(shape) > 32 or math.prod(shape) * kind.itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"tensor {name!r} of shape {shape} does not fill its bytes")
    return Entry(kind, tuple(shape), *offsets)


def _whole_numbers(value: Any, bound: int) -> bool:
    return isinstance(value, list) and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < bound for v in value
    )


def _check_layout(entries: Mapping[str, Entry], size: int) -> None:
    """The tensors must fill the data exactly: no hole, no overlap, nothing behind them."""
    end = 0
    for entry in sorted(entries.values(), key=lambda e: (e.start, e.stop)):
        if entry.start != end:
            raise ValueError(f"tensors overlap or leave a hole at byte {end} of the data")
        end = entry.stop
    if end != size:
        raise ValueError(f"the tensors have {end} bytes, the data {size}")
