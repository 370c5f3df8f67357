"""`open_exported` opens an exported file of any format in its own runtime, as a `Runner`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.errors import IncompatibleError, NotFoundError, RezooError
from rezoo.exporters.formats import FORMATS, METADATA, Format
from rezoo.exporters.runtimes import OPENERS
from rezoo.utils.device import usable_threads


@dataclass(frozen=True, kw_only=True, eq=False)
class Runner:
    """An exported network, open in its runtime.

    Attributes:
        format: Name of its format.
        runtime: Name and version of the runtime.
        threads: Number of threads that it computes with.
        metadata: The description in the file; see `Bundle.metadata`.
        call: The runtime's function; it returns a tuple if there are two outputs.
    """

    format: str
    runtime: str
    threads: int
    metadata: dict[str, Any]
    call: Callable[[np.ndarray], Any]

    @property
    def input(self) -> str:
        """`"tensor"`: float32 `(N, H, W, C)`, prepared; `"raw"`: uint8 `(N, h, w, C)`, any size."""
        return str(self.metadata["input"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of prepared images."""
        height, width, channels = self.metadata["input_shape"]
        return height, width, channels

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return outputs, float32 `(N, K)`."""
        return self.both(images)[0]

    def both(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return outputs and, of a calibrated export, threshold minus score, float32 `(N,)`."""
        found = self.call(images)
        first, second = found if isinstance(found, tuple) else (found, None)
        second = None if second is None else np.asarray(second, np.float32)
        return np.asarray(first, np.float32), second


def open_exported(path: Path, *, threads: int | None = None) -> Runner:
    """Open an export in its own runtime.

    Args:
        path: The folder of the export, or the file in it.
        threads: Number of threads; None for all that this process may use. Keras, TensorFlow
            and JAX have no such setting for a network, so they take no other number.

    Raises:
        NotFoundError: There is no export.
        SpecError: The runtime cannot use that number of threads.
        MissingExtraError: The runtime is not installed.
        IntegrityError: The file has no description by rezoo.
        IncompatibleError: The runtime rejects the file.
    """
    kind, folder = find_export(path)
    kind.require()
    kind.check_threads(threads, own_process=False)
    used = threads or usable_threads()
    try:
        runtime, metadata, call = OPENERS[kind.name](folder, used)
    except RezooError:
        raise
    except Exception as error:  # each runtime has exceptions of its own
        raise IncompatibleError(
            f"{kind.name} does not open {folder}: {str(error).strip().partition(chr(10))[0]}",
            hint="the file is damaged, or was written for another version; export again.",
        ) from error
    return Runner(format=kind.name, runtime=runtime, threads=used, metadata=metadata, call=call)


def find_export(path: Path) -> tuple[Format, Path]:
    """Return the format and the folder of an export, or raise `NotFoundError`."""
    folder = path if path.is_dir() else path.parent
    wanted = path.name if path.is_file() else ""
    for kind in FORMATS.values():
        there = (folder / kind.file).is_file()
        # a run folder has a model.safetensors, too, but no rezoo.json
        run = kind.name == "torch" and not (folder / METADATA).is_file()
        if there and wanted in ("", kind.file) and not run:
            return kind, folder
    raise NotFoundError(
        f"{path} is not an export",
        hint="an export is a folder with " + ", ".join(kind.file for kind in FORMATS.values()),
    )
