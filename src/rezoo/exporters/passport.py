"""The passport of an export: what it is, how far it is from its source, what it costs."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rezoo.exporters.comparing import Comparison
from rezoo.exporters.formats import PASSPORT
from rezoo.utils.files import record, write_json


@dataclass(frozen=True, kw_only=True)
class Passport:
    """What is known of an export.

    Attributes:
        folder: Where it is.
        format: Its format.
        metadata: What the file says of itself.
        files: Name → SHA-256 and bytes of each file.
        comparison: Beside its source.
        cost: Latency, throughput and memory; see `measuring.measure`.
        runtime: What it was opened in.
        trade: Of int8: what was tried to keep the accuracy, and what it gave.
    """

    folder: Path
    format: str
    metadata: dict[str, Any]
    files: dict[str, dict[str, Any]]
    comparison: Comparison
    cost: dict[str, Any]
    runtime: str
    trade: tuple[dict[str, Any], ...] = field(default_factory=tuple)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file["bytes"] for file in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "format": self.format,
            "folder": str(self.folder),
            "bytes": self.size,
            **{k: v for k, v in asdict(self).items() if k not in ("folder", "format", "trade")},
            "trade": list(self.trade),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
        }

    def write(self, folder: Path) -> None:
        """Write `passport.json` into a folder."""
        write_json(folder / PASSPORT, self.to_dict())


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return SHA-256 and size of each file of an export."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != PASSPORT):
        known = record(path)
        name = path.relative_to(folder).as_posix()
        found[name] = {"sha256": known.sha256, "bytes": known.size}
    return found
