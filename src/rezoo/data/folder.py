"""`folder:PATH`: photographs in one folder a class, with or without split folders.

```
PATH/cat/1.jpg   PATH/dog/2.jpg                 one folder a class: splits by a fixed rule
PATH/train/cat/1.jpg   PATH/test/dog/2.jpg      split folders: train, val, test
```

Class names are the names of the folders in Unicode's composed form (NFC), sorted by code points.
Folders inside a class folder are searched, too. `rezoo.data.listing` decides which files are data.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.file_names import printed, require_utf8, split_of
from rezoo.data.image_sources import FileSource
from rezoo.data.listing import LAYOUT, Found, joined, search
from rezoo.errors import IncompatibleError, NotFoundError, RezooError, SpecError
from rezoo.utils.names import count_of, is_unicode, normalized

Layout = dict[str, str]  # split → its folder; `_NO_SPLITS` if the folders are classes
_NO_SPLITS = {"train": ""}
Classes = dict[str, list[str]]  # class name → its images


class _Tree:
    """The folders of a search. All paths are below the searched folder, which is `""`."""

    def __init__(self, found: Found) -> None:
        self.flat = found.folders  # folder → number of images directly in it
        self.total = Counter[str]()  # … and below it
        for folder, count in self.flat.items():
            parts = folder.split("/")
            for end in range(1, len(parts) + 1):
                self.total["/".join(parts[:end])] += count
        # folder → its subfolders with images, and without
        self.full, self.empty = (defaultdict[str, list[str]](list) for _ in range(2))
        for folder in sorted(f for f in self.flat if f and is_unicode(f)):
            some = self.full if self.total[folder] else self.empty
            some[folder.rpartition("/")[0]].append(folder)

    def deep(self, folder: str) -> int:
        """Return the number of images in subfolders of a folder."""
        return self.total[folder] - self.flat.get(folder, 0)


def open_folder(path: str | Path) -> Splits:
    """Open a folder of photographs.

    Without split folders, a tenth of each class becomes the test split (a validation split is held
    out of the rest later). The choice depends only on the paths below `path`.

    The faults of the result are names that are not UTF-8, and files in two classes or splits by
    links.

    Raises:
        NotFoundError: The folder is missing, cannot be read or has no images.
        SpecError: Split folders and others are mixed, or images are not in class folders.
        IntegrityError: No name of an image is UTF-8, or the path itself is not.
    """
    root = Path(os.path.expanduser(path))
    require_utf8(os.path.abspath(root))
    found = search(root)
    faults = found.faults()
    if not found.images:
        if faults:
            raise joined(faults, printed(root))
        hint = f"{LAYOUT} {found.note()}"
        raise NotFoundError(f"no images in {printed(root)}", hint=hint.strip())
    tree = _Tree(found)
    layout = _layout(root, tree)
    _check_layout(root, tree, layout, found.images)
    classes = {s: _by_class(found.images, folder) for s, folder in layout.items()}
    notes = [*_notes(tree, layout, found.images), *filter(None, [found.note()])]
    if found.links:
        faults += _remove_repeated(os.path.realpath(root), classes, found.links, notes)
    class_names = tuple(sorted({name for some in classes.values() for name in some}))
    opened = Splits(
        parts={s: _examples(root, classes[s], class_names) for s in SPLITS if classes.get(s)},
        class_names=class_names,
        notes=tuple(notes),
        faults=tuple(faults),
    )
    return opened.with_test() if layout == _NO_SPLITS else opened


def _layout(root: Path, tree: _Tree) -> Layout:
    """Return split → folder below `root`; `_NO_SPLITS` if the folders are classes.

    Split names beside each other are never classes. A single one is a class if there are other
    folders and most of its images are not in folders of their own: bus/1.jpg, train/1.jpg.
    """
    named = [name for name in tree.full[""] if split_of(name)]
    others = [name for name in tree.full[""] if name not in named]
    by_split = {str(split_of(name)): name for name in named}
    train = by_split.get("train", "")
    nested = train and tree.deep(train) > tree.flat[train]
    if not named or (len(by_split) == 1 and others and not nested):
        return _NO_SPLITS
    if others:
        raise SpecError(
            f"{printed(root)} has split folders ({', '.join(named)}) and others "
            f"({', '.join(others[:5])})",
            hint="use train, val and test alone; another folder can be hidden as .NAME.",
        )
    if len(named) > len(by_split):
        raise SpecError(
            f"{printed(root)} has two folders for one split: {', '.join(named)}",
            hint="keep one folder each for train, val and test.",
        )
    if len(by_split) > 1 and "test" in by_split and not tree.full[by_split["test"]]:
        del by_split["test"]  # of a competition, whose labels are not public
    return by_split


def _check_layout(root: Path, tree: _Tree, layout: Layout, images: Iterable[str]) -> None:
    """Raise `SpecError` for images without classes, and for splits inside of classes."""
    for folder in layout.values():
        if not tree.full[folder]:
            first = next(path for path in images if path.rpartition("/")[0] == folder)
            label = re.split(r"[._\s-]*\d", Path(first).stem)[0] or "cat"
            place = f"{folder}/{label}/" if folder else f"{label}/"
            raise SpecError(
                f"{printed(root / folder)} has {tree.flat[folder]:,} images and no class folders: "
                "they have no label",
                hint=f"move the images of each class to a folder ({place}), or write a table "
                f"with lines such as {first},{label} below path,label and use csv:TABLE.",
            )
    for name in tree.full[""] if layout == _NO_SPLITS else ():
        inner = [folder.rpartition("/")[2] for folder in tree.full[name]]
        if len({split_of(folder) for folder in inner} - {None}) > 1:
            below = printed(root / name)
            raise SpecError(
                f"{below} has split folders ({', '.join(filter(split_of, inner))})",
                hint=f"if these are the splits of the dataset, write folder:{below}; otherwise "
                "put the folder of a split above those of its classes: train/cat, test/cat.",
            )


def _by_class(images: Iterable[str], split: str) -> Classes:
    """Return the images of each class in a split, whose folder is `split`."""
    found, start = Classes(), f"{split}/" if split else ""
    for path in images:
        if path.startswith(start) and "/" in (below := path[len(start) :]):
            name = normalized(below.partition("/")[0])
            found.setdefault(name, []).append(path)
    return found


def _remove_repeated(
    root: str, classes: Mapping[str, Classes], links: Mapping[str, str], notes: list[str]
) -> list[RezooError]:
    """Keep one path of each file that several paths name, because of links.

    Args:
        root: The real path of the folder.
        classes: Of each split; changed in place.
        links: Path → real path, where they differ.
        notes: A note is added on the paths that were removed, if there are any.

    Returns:
        An error for each file in two classes or splits.
    """
    seen: dict[str, tuple[str, str, str]] = {}
    faults: list[RezooError] = []
    again = []
    for split, name, paths in [(s, n, p) for s, some in classes.items() for n, p in some.items()]:
        kept = []
        for path in paths:
            real = links.get(path) or os.path.join(root, *path.split("/"))
            first, *place = seen.setdefault(real, (path, split, name))
            if first == path:
                kept.append(path)
            elif place == [split, name]:
                again.append(path)
            else:
                text = f"{path} and {first} are one file, by a link"
                hint = "one class and one split for each file: remove one of them."
                faults.append(IncompatibleError(text, hint=hint))
        paths[:] = kept
        if not kept:
            del classes[split][name]
    if again:
        count = f"{len(again):,} links to images of their own class are left out"
        notes.append(f"{count} ({again[0]})")
    return faults


def _notes(tree: _Tree, layout: Layout, images: Iterable[str]) -> list[str]:
    """Return notes on folders without images, merged classes, and images without a class."""
    notes, splits = [], [] if layout == _NO_SPLITS else list(layout.values())
    if splits:
        notes += [f"folder {name!r} has no images" for name in tree.empty[""]]
        notes += [
            f"{name} has {tree.total[name]:,} images and no class folders: they have no label and "
            "are left out"
            for name in tree.full[""]
            if name not in splits
        ]
    for split in splits or [""]:
        where = f" in {split}" if split else ""
        notes += [
            f"class folder {folder.rpartition('/')[2]!r} has no images{where}"
            for folder in tree.empty[split]
        ]
        names = (normalized(f.rpartition("/")[2]) for f in tree.full[split])
        notes += [
            f"{count} folders{where} are one class {name!r}: only their Unicode form differs"
            for name, count in Counter(names).items()
            if count > 1
        ]
        if count := tree.flat[split]:
            first = next(path for path in images if path.rpartition("/")[0] == split)
            notes.append(f"left out beside class folders: {count_of(count, 'image')} ({first})")
    return notes


def _examples(root: Path, classes: Classes, class_names: tuple[str, ...]) -> Examples:
    numbers = {name: i for i, name in enumerate(class_names)}
    paths = [p for name in sorted(classes) for p in classes[name]]
    targets = [numbers[name] for name in sorted(classes) for _ in classes[name]]
    return Examples(FileSource(root, paths, np.array(targets, np.int32)))
