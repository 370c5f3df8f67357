"""`folder:PATH`: photographs in one folder a class, with or without split folders.

```
PATH/cat/1.jpg   PATH/dog/2.jpg                 one folder a class: splits by a fixed rule
PATH/train/cat/1.jpg   PATH/test/dog/2.jpg      split folders: train, val, test
```

Class folders are sorted by name (code points). Hidden files and files without the ending of an
image are ignored. Folders inside a class folder are searched, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.image_files import ENDINGS
from rezoo.data.image_sources import FileSource
from rezoo.errors import NotFoundError, SpecError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_LAYOUT = "one folder per class is needed, with images in it: PATH/cat/1.jpg, PATH/dog/2.jpg"
_NO_SPLITS = {"train": ""}


def open_folder(path: str | Path) -> Splits:
    """Open a folder of photographs.

    Without split folders, a tenth of each class becomes the test split (a validation split is held
    out of the rest later). The choice depends only on the paths below `path`.

    Raises:
        NotFoundError: The folder is missing, cannot be read or has no images.
        SpecError: It has split folders and other folders.
    """
    root = Path(path).expanduser()
    by_split = _split_folders(root, _subfolders(root))
    found = {split: _images(root, folder) for split, folder in by_split.items()}
    if not any(paths for classes in found.values() for paths in classes.values()):
        raise NotFoundError(f"no images in {root}", hint=f"{_LAYOUT} ({', '.join(ENDINGS)}).")
    class_names = tuple(sorted({name for classes in found.values() for name in classes}))
    parts = {
        split: _examples(root, found[split], class_names) for split in SPLITS if split in found
    }
    empty = tuple(
        f"class folder {name!r} has no images{f' in {split}' if by_split[split] else ''}"
        for split, classes in found.items()
        for name, paths in classes.items()
        if not paths
    )
    parts = {split: part for split, part in parts.items() if len(part)}
    opened = Splits(parts=parts, class_names=class_names, notes=empty)
    return opened.with_test() if by_split == _NO_SPLITS else opened


def _split_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Return split → folder below `root`; `_NO_SPLITS` if the folders are classes."""
    # a split folder holds folders; a class folder may be called "train", too, and holds images
    named = [f for f in folders if f.lower() in SPLIT_NAMES and not _holds_images(root / f)]
    by_split = {SPLIT_NAMES[f.lower()]: f for f in named}
    if len(named) > len(by_split):
        raise SpecError(
            f"{root} has two folders for one split: {', '.join(named)}",
            hint="keep one folder each for train, val and test.",
        )
    others = [f for f in folders if f not in named]
    if "train" in by_split and others:
        raise SpecError(
            f"{root} has split folders ({', '.join(named)}) and others ({', '.join(others[:5])})",
            hint="use train, val and test alone; another folder can be hidden as .NAME.",
        )
    return by_split if named and not others else _NO_SPLITS


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(e.name.lower().endswith(ENDINGS) for e in entries)


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and _leads_on(e))
    except FileNotFoundError:
        raise NotFoundError(f"no such folder: {folder}", hint="check the path.") from None
    except NotADirectoryError:
        raise NotFoundError(f"not a folder: {folder}", hint=f"{_LAYOUT}.") from None
    except PermissionError:
        raise NotFoundError(
            f"cannot read the folder {folder}", hint="ask for permission to read it."
        ) from None


def _leads_on(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, and not a link to a folder that contains it."""
    try:
        if not entry.is_dir():
            return False
        here = Path(entry.path).parent.resolve()
        return not entry.is_symlink() or Path(entry.path).resolve() not in (here, *here.parents)
    except (OSError, RuntimeError):  # a link to itself
        return False


def _images(root: Path, split: str) -> dict[str, list[str]]:
    """Return class name → its images, as paths below `root` with `/`."""
    result = {}
    for name in _subfolders(root / split):
        paths = []
        # links to folders inside a class are not followed: they can form loops
        for folder, below, files in os.walk(root / split / name):
            below[:] = sorted(d for d in below if not d.startswith("."))
            paths += [
                (Path(folder) / f).relative_to(root).as_posix()
                for f in sorted(files)
                if f.lower().endswith(ENDINGS) and not f.startswith(".")
            ]
        result[name] = paths
    return result


def _examples(
    root: Path, classes: Mapping[str, list[str]], class_names: tuple[str, ...]
) -> Examples:
    numbers = {name: i for i, name in enumerate(class_names)}
    paths = [p for name in sorted(classes) for p in classes[name]]
    targets = [numbers[name] for name in sorted(classes) for _ in classes[name]]
    return Examples(FileSource(root, paths, np.array(targets, np.int32)))
