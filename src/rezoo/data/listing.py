"""Which files are data: one search for `folder:`, `rezoo predict FOLDER` and `rezoo data check`.

Data are regular files with the ending of an image, outside of hidden and system folders. Links to
files are followed. Links to folders are followed in the folder itself and in the folders directly
below it, unless they lead to a folder that contains them. Neither NumPy nor Pillow is imported.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from rezoo.data.file_names import is_system, printed
from rezoo.data.image_files import ENDINGS, MAX_FILE_BYTES
from rezoo.errors import (
    IntegrityError,
    NotFoundError,
    RezooError,
    UnknownNameError,
    UnsafeFileError,
)
from rezoo.sources.hub_address import is_repository
from rezoo.utils.files import special_kind
from rezoo.utils.names import count_of, is_unicode
from rezoo.utils.paths import expanded

ONLY_REGULAR = "only regular files are read: put a copy of the file itself there."
LAYOUT = (
    "a dataset has one folder per class, with images in it: PATH/cat/1.jpg, PATH/dog/2.jpg "
    f"({', '.join(ENDINGS)})."
)
_FOLLOWED = 2  # levels of folders in which links to folders are followed
_SHOWN = 5  # faults, and kinds of skipped files, in one message


@dataclass(eq=False)
class Found:
    """The result of a search. Paths are below the searched folder, with `/`.

    Attributes:
        images: The images: of each folder its files by name, then those of its subfolders.
        folders: Folder → number of images directly in it; `""` is the searched folder.
        links: Image that was reached through a link → its real path.
        skipped: Kind of files that are no data → their number, and the first of them.
        undecodable: Path whose last name is not UTF-8 → number of images at or below it. These
            images are not in `images`.
    """

    images: list[str] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, tuple[int, str]] = field(default_factory=dict)
    undecodable: dict[str, int] = field(default_factory=dict)

    def skip(self, kind: str, path: str) -> None:
        """Count a file that is no data."""
        count, first = self.skipped.get(kind, (0, path))
        self.skipped[kind] = (count + 1, first)

    def note(self) -> str:
        """Return how many files of which kind are skipped, or `""` if none is."""
        most = sorted(self.skipped.items(), key=lambda item: -item[1][0])
        shown = [
            f"{count:,} × {printed(kind)} ({printed(first)}{', …' if count > 1 else ''})"
            for kind, (count, first) in most[:_SHOWN]
        ]
        if rest := [count for _, (count, _) in most[_SHOWN:]]:
            shown.append(f"{sum(rest):,} of {len(rest)} other kinds")
        return f"skipped: {', '.join(shown)}" if shown else ""

    def faults(self) -> list[RezooError]:
        """Return an error for each name that is not UTF-8."""
        return [
            IntegrityError(
                f"{printed(path)} is not a name in UTF-8 ({count_of(count, 'image')})",
                hint="rename it; `convmv -r -f latin1 -t utf8 --notest FOLDER` renames all, "
                "if they are in Latin-1.",
            )
            for path, count in self.undecodable.items()
        ]


def search(folder: Path) -> Found:
    """Return the images in a folder and below it.

    Raises:
        NotFoundError: The folder, or one below it, is missing or cannot be read.
    """
    found = Found()
    waiting = [_Place("", _real(folder))]
    while waiting:
        place = waiting.pop()
        waiting += reversed(_search_one(folder, place, found))
    return found


def require_images(folder: str) -> None:
    """Raise `NotFoundError` if no file in a folder or below it has the ending of an image.

    The search ends at the first one, and at a link to a folder or a folder that cannot be read,
    which `search` decides about.
    """
    if os.path.isdir(folder) and not _may_hold_images(folder):
        hint = f"{LAYOUT} {search(Path(folder)).note()}".strip()
        raise NotFoundError(f"no images in {printed(folder)}", hint=hint)


def _may_hold_images(folder: str) -> bool:
    unread: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unread.append):
        if any(name.lower().endswith(ENDINGS) for name in files):
            return True
        if unread or any(os.path.islink(os.path.join(place, name)) for name in folders):
            return True
    return bool(unread)


def reference_of(text: str) -> str:
    """Return `folder:PATH` for the path of a folder, `csv:PATH` for that of a table, else empty."""
    path = expanded(text)
    if path.is_dir():
        return f"folder:{text}"
    return f"csv:{text}" if path.suffix.lower() == ".csv" and path.is_file() else ""


@contextmanager
def pointing_to_paths(name: str) -> Iterator[None]:
    """Say in the hint for an unknown name what it may be: a path, or data from elsewhere.

    Raises:
        NotFoundError: It is written as a path, and there is none.
    """
    try:
        yield
    except UnknownNameError as error:
        if reference := reference_of(name):
            error.hint = f"There is such a path: write {reference}. {error.hint}"
        elif os.path.lexists(expanded(name)):
            error.hint = f"{name} is a file, and no .csv table; {LAYOUT}"
        elif "/" in name or name.lower().endswith(".csv"):
            hub = f" A dataset of the Hub is written hf:{name}" if is_repository(name) else ""
            text = f"no such folder or table: {name}"
            raise NotFoundError(text, hint=f"check the path.{hub}") from None
        else:
            error.hint = (
                f"{error.hint}. Others are folder:PATH, csv:PATH, tfds:NAME and hf:OWNER/NAME."
            )
        raise


def matching(pattern: str) -> list[str]:
    """Return what a pattern such as `"photos/**/*.jpg"` matches, in order.

    System names match only if they are written in the pattern.
    """
    written = set(Path(pattern).parts)
    return [
        path
        for path in sorted(glob.glob(pattern, recursive=True))
        if not any(is_system(name) for name in Path(path).parts if name not in written)
    ]


def irregular(status: os.stat_result) -> str:
    """Return why a file is not read: its kind or its size; `""` if it is."""
    large = f"file over {MAX_FILE_BYTES >> 20} MiB" if status.st_size > MAX_FILE_BYTES else ""
    return special_kind(status.st_mode) or large


def require_regular(path: str) -> None:
    """Refuse everything but regular files of at most `MAX_FILE_BYTES`; links are followed.

    Raises:
        NotFoundError: The file cannot be reached.
        UnsafeFileError: It is a FIFO, a device or the like, or too large.
    """
    try:
        reason = irregular(os.stat(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NotFoundError(f"cannot read {path}: {_reason(error)}", hint="check it.") from error
    if reason:
        raise UnsafeFileError(f"{path} is a {reason}", hint=ONLY_REGULAR)


def joined(faults: Sequence[RezooError], what: str) -> RezooError:
    """Return one error for some faults of a dataset: of the kind of the first.

    Args:
        faults: One or more.
        what: The dataset, for the message.
    """
    first = faults[0]
    shown = "; ".join(str(fault) for fault in faults[:_SHOWN])
    if len(faults) == 1:
        return type(first)(f"{what}: {shown}", hint=first.hint)
    more = f"; and {len(faults) - _SHOWN:,} more" if len(faults) > _SHOWN else ""
    return type(first)(
        f"{what}: {len(faults):,} faults: {shown}{more}",
        hint=f"{first.hint} `rezoo data check` lists all faults.",
    )


@dataclass(frozen=True)
class _Place:
    """A folder to search."""

    below: str  # its path below the first folder, with `/` at the end
    real: str  # its path without links
    linked: bool = False  # whether a link led to it
    depth: int = 0


def _search_one(root: Path, place: _Place, found: Found) -> list[_Place]:
    """Add the images of one folder to `found`; return its subfolders."""
    inner, before = [], len(found.images)
    for entry in _entries(root / place.below):
        if is_system(entry.name):
            continue
        path = place.below + entry.name
        if entry.is_dir(follow_symlinks=False):
            real = f"{place.real}{os.sep}{entry.name}"
            inner.append(_Place(f"{path}/", real, place.linked, place.depth + 1))
        elif entry.is_symlink() and os.path.isdir(entry.path):
            real = os.path.realpath(entry.path)
            if place.depth < _FOLLOWED and not _contains(real, place.real):
                inner.append(_Place(f"{path}/", real, True, place.depth + 1))
            else:
                found.skip("link to a folder", path)
        else:
            _take(entry, path, place, found)
    found.folders[place.below[:-1]] = len(found.images) - before
    return inner


def _take(entry: os.DirEntry[str], path: str, place: _Place, found: Found) -> None:
    """Add one entry, which is not a folder, to the images or to what is skipped."""
    if not entry.name.lower().endswith(ENDINGS):
        found.skip(PurePath(entry.name).suffix.lower() or "without an ending", path)
        return
    try:
        reason = irregular(entry.stat())
    except OSError:  # a link that leads nowhere: it is an image that cannot be read
        reason = ""
    if reason:
        found.skip(reason, path)
    elif not is_unicode(path):
        names = path.split("/")
        first = next(i for i, name in enumerate(names) if not is_unicode(name))
        odd = "/".join(names[: first + 1])
        found.undecodable[odd] = found.undecodable.get(odd, 0) + 1
    else:
        found.images.append(path)
        if entry.is_symlink():
            found.links[path] = os.path.realpath(entry.path)
        elif place.linked:
            found.links[path] = f"{place.real}{os.sep}{entry.name}"


def _real(folder: Path) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError as error:  # a NUL in the name
        raise NotFoundError(f"no such folder: {printed(folder)}", hint="check the path.") from error


def _contains(folder: str, inner: str) -> bool:
    return Path(inner).is_relative_to(folder)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name (code points)."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise NotFoundError(f"no such folder: {printed(folder)}", hint="check the path.") from None
    except NotADirectoryError:
        raise NotFoundError(f"not a folder: {printed(folder)}", hint="name a folder.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NotFoundError(
            f"cannot read the folder {printed(folder)}: {_reason(error)}",
            hint="check the path, and the permission to read it.",
        ) from error


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
