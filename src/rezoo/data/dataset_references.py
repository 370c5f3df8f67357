"""Dataset references: what is registered, and what a reference means."""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from typing import Any, TypeAlias

from rezoo import registry
from rezoo.data.csv_rows import parse_reference
from rezoo.data.file_names import require_utf8
from rezoo.data.listing import pointing_to_paths, require_images
from rezoo.errors import NotFoundError, SpecError
from rezoo.specs import DatasetSpec
from rezoo.utils.paths import expanded

DatasetReference: TypeAlias = str | Path | DatasetSpec
KINDS = {  # prefix → what follows it, module and function that open it, licence
    "folder": ("PATH", "folder", "open_folder", "yours"),
    "csv": ("PATH", "csv_files", "open_csv", "yours"),
    "tfds": ("NAME", "tfds", "open_tfds", "unknown"),
    "hf": ("OWNER/NAME", "hf", "open_hf", "unknown"),
}


def list_datasets() -> list[str]:
    """Return the names of all registered datasets, without importing NumPy or TensorFlow."""
    return registry.datasets.names()


def dataset_spec(reference: DatasetReference) -> DatasetSpec:
    """Return the description that a reference means, without opening the data.

    Args:
        reference: A registered name, `folder:PATH`, `csv:PATH`, `tfds:NAME[:version]` or
            `hf:OWNER/NAME[@revision]`. A `Path` is a table if it ends in `.csv`, else a folder.
            A description is returned as it is.

    Raises:
        UnknownNameError: The name is unknown; the hint has near ones.
        NotFoundError: There is no such folder or table.
        SpecError: Nothing follows the prefix, or it is no reference.
    """
    if isinstance(reference, DatasetSpec):
        return reference
    if isinstance(reference, Path):
        reference = f"{'csv' if reference.suffix.lower() == '.csv' else 'folder'}:{reference}"
    if not isinstance(reference, str):
        raise SpecError(
            f"not a dataset: an object of the type {type(reference).__name__}",
            hint="pass a name, folder:PATH, csv:PATH, a Path or an opened dataset.",
        )
    kind, _, rest = reference.partition(":")
    if reference == kind or kind not in KINDS:
        with pointing_to_paths(reference):
            return registry.datasets.get(reference)
    follows, module, function, licence = KINDS[kind]
    if not rest:
        raise SpecError(f"dataset {reference!r} is incomplete", hint=f"write {kind}:{follows}")
    if follows == "PATH":
        _require_path(kind, rest)
    open_it = functools.partial(_open, f"rezoo.data.{module}", function, rest)
    return DatasetSpec(name=reference, open=open_it, licence=licence)


def _require_path(kind: str, rest: str) -> None:
    path = rest if kind == "folder" else os.fspath(parse_reference(rest)[0])
    require_utf8(path)
    path = os.fspath(expanded(path))
    if not os.path.lexists(path):
        what = "folder" if kind == "folder" else "file"
        raise NotFoundError(f"no such {what}: {path}", hint="check the path.")
    require_images(path)


def short_name(reference: str) -> str:
    """Return the last part of a reference: `photos` of `folder:/data/photos`, never empty."""
    text = reference.split(":", 1)[-1]
    path = parse_reference(text)[0] if reference.startswith("csv:") else Path(text)
    return path.name or "data"


def _open(module: str, function: str, rest: str) -> Any:
    return getattr(importlib.import_module(module), function)(rest)
