"""Prepare a dataset: what must be downloaded or converted once is done now."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from typing import Any

from rezoo.data.datasets import load_dataset


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset that later commands open without a network."""

    dataset: str  # the reference
    new: bool | None  # whether files were written now; None if the files are unknown
    folder: str | None  # of the files; None if they are unknown, or part of a package
    size: int | None  # of the files, in bytes; None if they are unknown
    examples: dict[str, int]  # split → number of examples
    classes: int  # their number
    licence: str  # of the data
    notes: list[str]  # of the dataset
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def prepare_dataset(reference: str) -> PreparedDataset:
    """Open a dataset and do what its first use takes; raises as `load_dataset` does."""
    began, start = time.time(), time.monotonic()
    data = load_dataset(reference)
    parts = data.splits.parts
    files = {path for part in parts.values() for path in part.files() if path.exists()}
    states = [path.stat() for path in files]
    return PreparedDataset(
        dataset=reference,
        new=max(s.st_mtime for s in states) >= began if states else None,
        folder=os.path.commonpath({path.parent for path in files}) if files else None,
        size=sum(s.st_size for s in states) if states else None,
        examples={split: len(part) for split, part in parts.items()},
        classes=len(data.class_names),
        licence=data.spec.licence,
        notes=list(data.splits.notes),
        elapsed_s=round(time.monotonic() - start, 2),
    )
