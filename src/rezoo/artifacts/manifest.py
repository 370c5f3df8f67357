"""The manifest: sizes and SHA-256 of a folder's files, in its `config.json`.

`files` has the size and the SHA-256 of each file, `checksum` the SHA-256 of everything else in
`config.json`. A manifest shows that the files were made together. It does not show who made
them. Loads without Keras and NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import CONFIG, read_config, read_json
from rezoo.artifacts.run_files import LISTED, PUBLISHED
from rezoo.utils.files import FileRecord, canonical_digest, open_regular, record, write_json


def with_manifest(content: Mapping[str, Any], files: Mapping[str, FileRecord]) -> dict[str, Any]:
    """Return the JSON of a `config.json` with a manifest of the given files and of itself."""
    rest = _without_manifest(content)
    rest["files"] = {n: {"sha256": r.sha256, "size": r.size} for n, r in sorted(files.items())}
    return {**rest, "checksum": canonical_digest(rest)}


def checksum_holds(content: Mapping[str, Any]) -> bool | None:
    """Whether a `config.json` is unchanged since its manifest was written; None without one."""
    if "checksum" not in content:
        return None
    rest = {k: v for k, v in content.items() if k != "checksum"}
    return bool(content["checksum"] == canonical_digest(rest))


def write_manifest(folder: Path) -> None:
    """Write a manifest of all files of a run that the folder has.

    Raises:
        UnsafeFileError: One of them is a link, a FIFO or a device.
    """
    refuse_special_files(folder)
    there = (name for name in LISTED if os.path.lexists(folder / name))
    files = {name: record(folder / name, follow_links=False) for name in there}
    write_json(folder / CONFIG, with_manifest(read_json(folder), files))


def update_manifest(folder: Path, names: tuple[str, ...]) -> None:
    """Replace the entries of files that have just been written, and the checksum."""
    files = {name: record(folder / name, follow_links=False) for name in names}
    listed = {**read_config(folder).files, **files}
    write_json(folder / CONFIG, with_manifest(read_json(folder), listed))


def refuse_special_files(folder: Path) -> None:
    """Raise `UnsafeFileError` if a file of a run is a link, a FIFO, a device or a folder.

    A link may lead to a file that the owner of the folder does not mean to publish. A second
    name of a file (a hard link) cannot be distinguished from the first.
    """
    for name in PUBLISHED:
        if os.path.lexists(folder / name):
            open_regular(folder / name, follow_links=False).close()


def remove_manifest(folder: Path) -> None:
    """Remove the manifest, if there is one, before the files of a folder change."""
    content = read_json(folder)
    if "files" in content:
        write_json(folder / CONFIG, _without_manifest(content))


def _without_manifest(content: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in content.items() if k not in ("files", "checksum")}
