"""The files of `predict --explain`, which replace no other files. Loads no framework."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rezoo.errors import SpecError
from rezoo.utils.files import refuse_file, refuse_unwritable
from rezoo.utils.names import listed, normalized
from rezoo.utils.paths import expanded

_ENDING = ".png"
_MAX_NAME_BYTES = 255  # on all common file systems
_SHOWN = 5  # files in a message


def picture_paths(
    images: Sequence[str], place: str | Path, searched: Iterable[str], *, overwrite: bool
) -> list[Path]:
    """Return the PNG file for each image: its name without the ending, numbered if taken.

    Args:
        images: The image files.
        place: The folder where the pictures go; created later if needed.
        searched: Files, folders and patterns that gave the images.
        overwrite: Whether existing files may be replaced.

    Raises:
        SpecError: The folder is a file, or is one of the images; or a file exists.
        ResourceError: The folder cannot be written.
    """
    folder = expanded(place)
    refuse_file(folder, option="--explain")
    _refuse_folder_of_images(images, folder, searched)
    refuse_unwritable(folder, option="--explain")
    used: dict[str, int] = {}  # name, as file systems compare it → images with that name
    paths = []
    for image in images:
        stem = Path(image).stem
        name = _file_name(stem, "")
        first = _compared(name)
        while _compared(name) in used:
            used[first] += 1
            name = _file_name(stem, f"-{used[first]}")
        used[_compared(name)] = 1
        paths.append(folder / name)
    folders = [path.name for path in paths if path.is_dir()]
    taken = [path.name for path in paths if not overwrite and os.path.lexists(path)] or folders
    if taken:
        raise SpecError(
            f"{folder} has {listed([*map(repr, taken)], _SHOWN)} already",
            hint="choose another folder with --explain"
            + ("." if folders else ", or replace them with --overwrite."),
        )
    return paths


def _file_name(stem: str, suffix: str) -> str:
    """Return a name of at most 255 bytes."""
    room = _MAX_NAME_BYTES - len(suffix) - len(_ENDING)
    return stem.encode()[:room].decode(errors="ignore") + suffix + _ENDING


def _compared(name: str) -> str:
    """Return a form that is equal for names which some file systems do not distinguish."""
    return normalized(name).casefold()


def _refuse_folder_of_images(images: Sequence[str], folder: Path, searched: Iterable[str]) -> None:
    """Raise `SpecError` if the next search for images would find the pictures, too."""
    real = Path(os.path.realpath(folder))
    roots = [Path(os.path.realpath(expanded(one))) for one in searched]
    inside = any(root.is_dir() and real.is_relative_to(root) for root in roots)
    beside = any(Path(os.path.realpath(image)).parent == real for image in images)
    if inside or beside:
        raise SpecError(
            f"{folder} is a folder of the images: its pictures would count as images later",
            hint="choose a folder outside of it with --explain.",
        )
