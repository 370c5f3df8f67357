"""The image files that paths, folders and patterns mean. Loads no framework."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from rezoo.data.file_names import printed, require_utf8
from rezoo.data.image_files import ENDINGS
from rezoo.data.listing import joined, matching, require_regular, search
from rezoo.errors import DataWarning, NotFoundError


def find_images(wanted: Iterable[str | Path]) -> list[str]:
    """Return the image files of files, folders and patterns, in order and each once.

    Folders are searched as `rezoo.data.listing` does; a warning counts what is skipped there.
    Files that are named, or match a pattern, are taken with any ending.

    Raises:
        NotFoundError: A path does not exist, or no image is found.
        UnsafeFileError: A named file is not a regular file.
        IntegrityError: A name is not UTF-8.
    """
    found: dict[str, None] = {}
    paths = [os.fspath(one) for one in wanted]
    for item in paths:
        path = os.path.expanduser(item)
        matches = [path] if os.path.lexists(path) else matching(path)
        if not matches:
            raise NotFoundError(f"no such file, folder or match: {printed(item)}")
        for one in matches:
            require_utf8(one)
            if os.path.isdir(one):
                found.update(dict.fromkeys(_in_folder(Path(one))))
            else:
                require_regular(one)
                found[str(Path(one))] = None
    if not found:
        where = f" in {', '.join(map(printed, paths[:3]))}" if paths else ""
        raise NotFoundError(
            f"no images found{where}", hint=f"expected are files that end in {', '.join(ENDINGS)}."
        )
    return list(found)


def _in_folder(folder: Path) -> Iterable[str]:
    listed = search(folder)
    if faults := listed.faults():
        raise joined(faults, printed(folder))
    if note := listed.note():
        warnings.warn(DataWarning(f"{folder}: {note}"), stacklevel=4)
    in_order = sorted(listed.images, key=lambda path: path.split("/"))
    return [str(folder / path) for path in in_order]
