"""Get a dataset ready: what must be downloaded, converted or decoded once is done now."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.data.datasets import load_dataset


@dataclass(frozen=True)
class Prepared:
    """A dataset that later commands open without a network.

    Attributes:
        dataset: What was asked for.
        new: Whether files were made now; False where all was there, None where that is unknown.
        folder: Where it lies; None where it is a part of a package, or unknown.
        size: Bytes of its files; None where that is unknown.
        examples: Split → number of examples.
        classes: Number of classes.
        licence: Of the data.
        notes: What the user should be told.
        seconds: What it took.
    """

    dataset: str
    new: bool | None
    folder: str | None
    size: int | None
    examples: dict[str, int]
    classes: int
    licence: str
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        document = dataclasses.asdict(self)
        return {**document, "notes": list(self.notes), "seconds": round(self.seconds, 2)}


def prepare(reference: str) -> Prepared:
    """Open a dataset, and do once what its first use takes; raises as `load_dataset` does."""
    began, start = time.time(), time.monotonic()
    data = load_dataset(reference)
    files = {path for part in data.splits.parts.values() for path in part.files()}
    folder = os.path.commonpath([path.parent for path in files]) if files else None
    status = [s for s in map(_stat, files) if s is not None]
    made = max(s.st_mtime for s in status) >= began if status else None
    return Prepared(
        dataset=reference,
        new=made,
        folder=folder,
        size=sum(s.st_size for s in status) if status else None,
        examples={split: len(part) for split, part in data.splits.parts.items()},
        classes=len(data.class_names),
        licence=data.spec.licence,
        notes=data.splits.notes,
        seconds=time.monotonic() - start,
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
