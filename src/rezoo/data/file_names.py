"""What the names of files, folders and classes mean. Neither NumPy nor Pillow is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rezoo.errors import IntegrityError
from rezoo.utils.names import folded, is_unicode

SYSTEM_NAMES = frozenset(
    (  # of archives, Synology and QNAP storage, Windows, Unix, Python; hidden names need no entry
        *("__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
    )
)
"""Names of files and folders that are never data, in lower case."""
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("valset", "validationset", "devset"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "testingset"), "test"),
}
"""Name of a split, in lower case and without blanks, `_` and `-` → train, val or test."""


def is_system(name: str) -> bool:
    """Whether a file or folder belongs to an operating system or a program, or is hidden."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def split_of(name: str) -> str | None:
    """Return the split that a name means: train, val or test; None if it means none."""
    return SPLIT_NAMES.get(re.sub(r"[\s_-]", "", name.lower()))


def require_utf8(path: str | Path) -> None:
    """Raise `IntegrityError` if a path is not UTF-8: no record of it could be written."""
    if not is_unicode(os.fspath(path)):
        raise IntegrityError(f"{printed(path)} is not a name in UTF-8", hint="rename it.")


def printed(path: str | Path) -> str:
    r"""Return a path for a message; bytes that are not UTF-8 are written as `\xe9`."""
    text = os.fspath(path)
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def near_names(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ only in case, blanks, `_` or Unicode's form."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folded(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
