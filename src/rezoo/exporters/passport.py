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
        trade: For int8: the layers kept in float32 in each attempt, and its accuracy.
    """

    folder: Path
    format: str
    metadata: dict[str, Any]
    files: dict[str, dict[str, Any]]
    comparison: Comparison
    runtime: str
    cost: dict[str, Any] | None = None
    trade: tuple[dict[str, Any], ...] = ()

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
