"""Folders with a network in them: `config.json` beside `model.safetensors`, in timm's layout.

Files are written whole or not at all (temporary name, fsync, rename) and read with limits
and checks before anything is allocated. No pickle, HDF5 or code is ever opened.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from rezoo.configs import CONFIG, WEIGHTS, config_to_json, unique_keys
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    UnsafeFileError,
    writing,
)
from rezoo.models import tensors
from rezoo.specs import ModelConfig

MAX_HEADER_BYTES = 1024 * 1024
MAX_TENSORS = 10_000


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a crash leaves the old one.

    Raises:
        ResourceError: No space, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON (UTF-8, no NaN) whole or not at all; numbers that are not finite become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


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


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file after checking its header against our own bounds.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is cut off, damaged, or something else altogether.
    """
    return read_tensors_and_metadata(path)[0]


def read_tensors_and_metadata(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file with the texts in its header; raises as `read_tensors` does."""
    _check_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except AttributeError as error:  # NumPy has no such type
        raise IncompatibleError(
            f"{path} has tensors of a type that NumPy lacks: {error}",
            hint="rezoo reads float16, float32, float64 and integers.",
        ) from error
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        raise IntegrityError(
            f"{path} is damaged: {error}", hint="get the file again from where it came from."
        ) from error


def save_model(model: keras.Model, config: ModelConfig, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` of a model into a folder."""
    write_tensors(folder / WEIGHTS, tensors.to_tensors(model))
    write_json(folder / CONFIG, config_to_json(config))


def load_weights(model: keras.Model, folder: Path, *, new_head: str = "") -> None:
    """Fill a model from the `model.safetensors` of a folder: all of it, or an error.

    Args:
        model: The network, as the folder's `config.json` describes it.
        folder: Where the weights are.
        new_head: Layer that keeps its random weights, because the classes are others.

    Raises:
        IncompatibleError: Names, shapes or dtypes do not fit; all differences are listed.
        IntegrityError: The file is damaged or has values that are not finite.
    """
    path = folder / WEIGHTS
    found = read_tensors(path)
    skip = f"{new_head}." if new_head else ""
    tensors.check(model, {n: v.shape for n, v in found.items()}, origin=str(path), skip=skip)
    broken = []
    for name, value in found.items():
        if name.endswith(tensors.COUNTER):
            continue
        if value.dtype.kind != "f":
            raise IncompatibleError(f"{path}: tensor {name} has dtype {value.dtype}, not float")
        if not np.isfinite(value).all():
            broken.append(name)
    if broken:
        raise IntegrityError(
            f"{path}: {len(broken)} tensors have NaN or infinite values, first {broken[0]}",
            hint="the weights come from a run that diverged, or the file is damaged.",
        )
    tensors.assign(model, found, skip=skip)


def _check_header(path: Path) -> None:
    """Refuse what is no safetensors file, or has an absurd header, before parsing it."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(256)
            _check_start(path, start, size)
            (length,) = struct.unpack("<Q", start[:8])
            file.seek(8)
            header = json.loads(file.read(length), object_pairs_hook=unique_keys)
    except IntegrityError:
        raise
    except FileNotFoundError:
        raise NotFoundError(
            f"{path.parent} has no {path.name}", hint="weights are read from safetensors only."
        ) from None
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{path}: the header is damaged: {error}", hint="get the file again."
        ) from error
    if not isinstance(header, dict):
        raise IntegrityError(f"{path}: the header is no table of tensors", hint="get it again.")
    if len(header) > MAX_TENSORS:
        raise UnsafeFileError(f"{path} has {len(header)} tensors; at most {MAX_TENSORS}")


def _check_start(path: Path, start: bytes, size: int) -> None:
    if start.startswith(b"version https://git-lfs"):
        raise IntegrityError(f"{path} is a Git-LFS pointer", hint="run git lfs pull.")
    if start[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise IntegrityError(f"{path} is a web page, not weights", hint="download the file itself.")
    if size < 8:
        raise IntegrityError(f"{path} is cut off: {size} bytes", hint="get the file again.")
    (length,) = struct.unpack("<Q", start[:8])
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise UnsafeFileError(
            f"{path}: the header claims {length} bytes in a file of {size}; "
            f"at most {MAX_HEADER_BYTES} are allowed",
            hint="this is no safetensors file, or it is damaged or cut off.",
        )


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
