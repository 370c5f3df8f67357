"""Read and write safetensors files, with checks that the library does not make.

The `safetensors` library parses the header and checks that shapes, types and offsets fit and
fill the file. Checked here, before it parses: the SHA-256, other kinds of files, the length of
the header, the number of tensors and duplicate keys. Tensors are read one at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import ml_dtypes  # noqa: F401 - registers bfloat16 with NumPy
import numpy as np
import safetensors
import safetensors.numpy

from rezoo.errors import IncompatibleError, IntegrityError, UnsafeFileError
from rezoo.utils.documents import parse_json
from rezoo.utils.files import FileRecord, digest, open_regular, write_bytes

MAX_HEADER_BYTES = 1024 * 1024
MAX_TENSORS = 10_000
_AGAIN = "get the file again from its source."
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DTYPES |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)} | {"BOOL": "bool"}
DIGEST = "sha256"  # the last tensor of a file with its own SHA-256
_DIGEST_BYTES = 32
_BLOCK = 2**24  # bytes that are hashed and written at once
_PICKLE = "is a pickle or an archive of one"
# First bytes of other kinds of files that are mistaken for weights: (bytes, what, hint).
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git-LFS pointer, not weights", "run git lfs pull."),
    (b"<!doctype", "is a web page, not weights", "download the file itself."),
    (b"<html", "is a web page, not weights", "download the file itself."),
    (b"\x89HDF\r\n", "is an HDF5 file, which rezoo never opens", ""),
    (b"PK\x03\x04", f"is a zip archive (.keras, .pt or .npz): it {_PICKLE} or code", ""),
    *((bytes([0x80, version]), _PICKLE, "") for version in range(2, 6)),
)
_ONLY = "rezoo reads weights from safetensors files only: these cannot contain code."


@dataclass(frozen=True)
class TensorInfo:
    """The dtype and the shape of a tensor in a file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class TensorFile:
    """An open safetensors file whose bytes and header have been checked.

    Args:
        path: The file.
        expected: Size and SHA-256 that it must have; compared before the header is parsed.
        max_header_bytes: Of a file with a longer header, nothing is parsed.

    Attributes:
        path: The file.
        sha256: SHA-256 of its bytes, as 64 hexadecimal digits.
        entries: Name of each tensor → its dtype and shape.
        metadata: The texts in the header.

    Raises:
        NotFoundError: The file does not exist or cannot be read.
        IntegrityError: The bytes are not the expected ones, or the file is truncated or damaged.
        UnsafeFileError: It is a pickle, HDF5 or zip file, or its header exceeds a limit.
        IncompatibleError: A tensor has a type that NumPy does not have.
    """

    def __init__(
        self,
        path: Path,
        expected: FileRecord | None = None,
        *,
        max_header_bytes: int = MAX_HEADER_BYTES,
    ) -> None:
        self.path = path
        with open_regular(path) as file:
            length = _check_start(file, path, expected, max_header_bytes)
            self.sha256 = digest(file)
            if expected:
                expected.check(path, size=os.fstat(file.fileno()).st_size, sha256=self.sha256)
            _check_header(file, path, length)
        try:
            self._tensors = safetensors.safe_open(path, framework="numpy")
        except safetensors.SafetensorError as error:
            raise IntegrityError(f"{path} is damaged: {error}", hint=_AGAIN) from error
        self.metadata: dict[str, str] = self._tensors.metadata() or {}
        names: list[str] = self._tensors.keys()
        self.entries = {name: self._describe(name) for name in names}

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._tensors.__exit__(*error)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor."""
        return self._tensors.get_tensor(name)

    def _describe(self, name: str) -> TensorInfo:
        tensor = self._tensors.get_slice(name)
        if tensor.get_dtype() not in _DTYPES:
            raise IncompatibleError(
                f"{self.path}: tensor {name!r} has the type {tensor.get_dtype()}",
                hint="rezoo reads float16, bfloat16, float32, float64, integers and booleans.",
            )
        return TensorInfo(np.dtype(_DTYPES[tensor.get_dtype()]), tuple(tensor.get_shape()))


def read_tensors(
    path: Path,
    expected: FileRecord | None = None,
    *,
    max_header_bytes: int = MAX_HEADER_BYTES,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all tensors of a file, and the texts in its header; see `TensorFile`."""
    with TensorFile(path, expected, max_header_bytes=max_header_bytes) as file:
        return {name: file.read(name) for name in file.entries}, file.metadata


def write_tensors(
    path: Path, values: Mapping[str, np.ndarray], *, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file atomically, after reading back the bytes that will be written.

    Raises:
        IntegrityError: The tensors read back differ in name, shape, dtype or value.
        ResourceError: The disk is full, or the folder cannot be written.
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


def with_digest(
    values: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> Iterator[memoryview | bytes]:
    """Yield a safetensors file in blocks, without a copy of the tensors.

    Its last 32 bytes are the SHA-256 of all bytes before them, as the uint8 tensor `sha256`, so
    that `check_digest` notices any other bit, also in the header.

    Args:
        values: Name of each tensor → its values, in C order.
        metadata: Texts for the header.
    """
    widest_first = sorted(values.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, value in widest_first:
        kind = next(kind for kind, dtype in _DTYPES.items() if value.dtype == np.dtype(dtype))
        offsets = [at, at := at + value.nbytes]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": offsets}
    offsets = [at, at + _DIGEST_BYTES]
    header[DIGEST] = {"dtype": "U8", "shape": [_DIGEST_BYTES], "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    found = hashlib.sha256()
    parts: list[memoryview] = [memoryview(struct.pack("<Q", len(text)) + text)]
    for part in parts + [_raw(value) for _, value in widest_first]:
        for start in range(0, len(part), _BLOCK):
            block = part[start : start + _BLOCK]
            found.update(block)
            yield block
    yield found.digest()


def _raw(value: np.ndarray) -> memoryview:
    """Return the bytes of an array; NumPy gives no buffer of bfloat16."""
    return value.reshape(-1).view(np.uint8).data


def check_digest(path: Path) -> None:
    """Compare a file of `with_digest` with the SHA-256 at its end.

    Raises:
        NotFoundError: The file does not exist or cannot be read.
        IntegrityError: A byte differs or is missing, or the file is of another kind.
    """
    found = hashlib.sha256()
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            found.update(block)
            left -= len(block)
        recorded = file.read(_DIGEST_BYTES)
    if recorded != found.digest():
        raise IntegrityError(f"{path} is damaged: it does not end in the SHA-256 of its content")


def _check_start(file: BinaryIO, path: Path, expected: FileRecord | None, most: int) -> int:
    """Refuse other kinds of files; return the length of the header in bytes."""
    start = file.read(256)
    size = os.fstat(file.fileno()).st_size
    folded = start.lstrip().lower()
    # The length may begin with the two bytes of a pickle. Only safetensors has JSON at byte 8.
    ours = start[3:9] == bytes(5) + b"{"
    for magic, what, hint in () if ours else _FOREIGN:
        if start.startswith(magic) or (magic[:1] == b"<" and folded.startswith(magic)):
            kind = IntegrityError if hint else UnsafeFileError
            raise kind(f"{path} {what}", hint=hint or _ONLY)
    if expected:
        expected.check(path, size=size)
    if size < 8:
        raise IntegrityError(f"{path} is truncated: {size} bytes", hint=_AGAIN)
    (length,) = struct.unpack("<Q", start[:8])
    if length > min(most, size - 8):
        raise UnsafeFileError(
            f"{path}: the header claims {length} bytes in a file of {size}; "
            f"at most {most} are allowed",
            hint="the file is truncated or damaged, or is not a safetensors file.",
        )
    return int(length)


def _check_header(file: BinaryIO, path: Path, length: int) -> None:
    """Refuse duplicate keys, of which the library takes the last, and too many tensors."""
    file.seek(8)
    content = parse_json(file.read(length), f"{path} is damaged: the header")
    if isinstance(content, dict) and len(content) > MAX_TENSORS:
        raise UnsafeFileError(
            f"{path} has {len(content)} tensors; at most {MAX_TENSORS} are allowed"
        )
