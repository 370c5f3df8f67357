"""The seal: a `config.json` that vouches for itself and for the files beside it.

`files` has the SHA-256 and the size of each, `checksum` that of everything else in
`config.json`. A seal does not say who made it: it shows that what was made together is still
together. Loads without Keras and NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config, read_json
from rezoo.utils.files import FileRecord, canonical_digest, record, write_json


def seal(content: Mapping[str, Any], files: Mapping[str, FileRecord]) -> dict[str, Any]:
    """Return the JSON of a `config.json` that vouches for the files beside it and for itself."""
    rest = {k: v for k, v in content.items() if k not in ("files", "checksum")}
    rest["files"] = {n: {"sha256": r.sha256, "size": r.size} for n, r in sorted(files.items())}
    return {**rest, "checksum": canonical_digest(rest)}


def checksum_holds(content: Mapping[str, Any]) -> bool | None:
    """Whether a `config.json` is as it was sealed; None where it never was."""
    if "checksum" not in content:
        return None
    rest = {k: v for k, v in content.items() if k != "checksum"}
    return bool(content["checksum"] == canonical_digest(rest))


def seal_folder(folder: Path, names: tuple[str, ...] = (WEIGHTS,)) -> None:
    """Let `config.json` vouch for itself and for those of the named files that are there."""
    files = {name: record(folder / name) for name in names if (folder / name).is_file()}
    write_json(folder / CONFIG, seal(read_json(folder), files))


def renew_seal(folder: Path, names: tuple[str, ...]) -> None:
    """Let a sealed folder's `config.json` vouch for files that were just written, and the rest."""
    files = {name: record(folder / name) for name in names}
    write_json(folder / CONFIG, seal(read_json(folder), {**read_config(folder).files, **files}))


def unseal_folder(folder: Path) -> None:
    """Take the seal off a folder whose files are about to change, if it has one."""
    content = read_json(folder)
    if "files" in content:
        rest = {k: v for k, v in content.items() if k not in ("files", "checksum")}
        write_json(folder / CONFIG, rest)
