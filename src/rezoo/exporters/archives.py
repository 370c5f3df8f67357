"""What describes an export, inside files that are zip archives or may end in one.

`.keras` files are archives. A `.tflite` file may carry one behind its own bytes: that is how
TensorFlow Lite's metadata bring labels along, and its interpreters pass over it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import LABELS, METADATA


def append_metadata(path: Path, metadata: dict[str, Any], labels: Sequence[str]) -> None:
    """Put `rezoo.json` and `labels.txt` into the archive at the end of a file."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in texts(metadata, labels).items():
            archive.writestr(name, text)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what `append_metadata` has put there.

    Raises:
        IntegrityError: The file is damaged, or no export of rezoo's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read(METADATA)))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise IntegrityError(f"{path} is no export of rezoo's: {error}") from error


def texts(metadata: dict[str, Any], labels: Sequence[str]) -> dict[str, str]:
    """Return the files that describe an export: name to text."""
    lines = (" ".join(label.split()) for label in labels)
    return {
        METADATA: json.dumps(metadata, indent=1, ensure_ascii=False),
        LABELS: "".join(f"{line}\n" for line in lines),
    }
