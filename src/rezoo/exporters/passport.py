"""The passport of an export: description, difference from the source, latency and memory."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rezoo.exporters.comparing import Comparison
from rezoo.exporters.formats import PASSPORT
from rezoo.utils.files import record


@dataclass(frozen=True, kw_only=True)
class Int8Calibration:
    """The images that an int8 export was calibrated with.

    Attributes:
        what: The images in words.
        count: Number of images.
    """

    what: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How the layers that an int8 export keeps in float32 were chosen.

    Attributes:
        what: The images in words on which they were chosen; the export is compared on others.
        count: Number of images.
        rule: The rule in words.
        attempts: The layers kept in float32 in each attempt, and its accuracy on these images.
    """

    what: str
    count: int
    rule: str
    attempts: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Passport:
    """The record of an export.

    Attributes:
        folder: The export's folder.
        format: Name of the format.
        metadata: The description in the file; see `Bundle.metadata`.
        files: File name → SHA-256 and bytes.
        comparison: The difference from the source.
        runtime: Name and version of the runtime that opened it.
        cost: Latency, throughput and memory, see `measuring.measure`; None if not measured.
        calibration: For int8: the images that it was calibrated with.
        choice: For int8: how the layers in float32 were chosen.
    """

    folder: Path
    format: str
    metadata: dict[str, Any]
    files: dict[str, dict[str, Any]]
    comparison: Comparison
    runtime: str
    cost: dict[str, Any] | None = None
    calibration: Int8Calibration | None = None
    choice: Choice | None = None

    @property
    def size(self) -> int:
        """Total bytes of the files."""
        return sum(file["bytes"] for file in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            **asdict(self),
            "folder": str(self.folder),
            "bytes": self.size,
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
        }


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return SHA-256 and bytes of each file of an export."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != PASSPORT):
        known = record(path)
        name = path.relative_to(folder).as_posix()
        found[name] = {"sha256": known.sha256, "bytes": known.size}
    return found
