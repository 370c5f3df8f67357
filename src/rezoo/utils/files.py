"""Atomic writes, and the size and SHA-256 of files. Loads without NumPy."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from rezoo.errors import (
    IntegrityError,
    NotFoundError,
    ResourceError,
    RezooError,
    SpecError,
    UnsafeFileError,
    writing,
)
from rezoo.utils.paths import expanded


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of a file.

    Attributes:
        sha256: 64 lower-case hexadecimal digits.
        size: In bytes; None if it is not known.
        source: Where the values come from, for messages.
    """

    sha256: str
    size: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not is_sha256(self.sha256):
            raise SpecError(f"sha256: {self.sha256!r}; it must be 64 hexadecimal digits")
        if self.size is not None and not 0 <= self.size < 2**63:
            raise SpecError(f"size: {self.size}; it must be 0 or more")

    def check(self, name: str | Path, *, size: int, sha256: str = "") -> None:
        """Compare with a file that was measured; raises `IntegrityError` if they differ."""
        if self.size is not None and size != self.size:
            raise IntegrityError(
                f"{name} has {size:,} bytes; {self._says()} {self.size:,}", hint=_AGAIN
            )
        if sha256 and sha256 != self.sha256:
            raise IntegrityError(
                f"{name}: its SHA-256 is {sha256}; {self._says()} {self.sha256}", hint=_AGAIN
            )

    def _says(self) -> str:
        return f"{self.source or 'the record'} says"


_AGAIN = "the file is damaged, truncated or was replaced: get it again from its source."


def is_sha256(text: object) -> bool:
    """Whether a value is a SHA-256 digest as lower-case hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file, from its beginning."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def record(path: Path, *, source: str = "", follow_links: bool = True) -> FileRecord:
    """Return the size and SHA-256 of a regular file; raises as `open_regular`."""
    with open_regular(path, follow_links=follow_links) as file:
        return FileRecord(digest(file), os.fstat(file.fileno()).st_size, source)


def open_regular(path: Path, *, follow_links: bool = True, what: str = "") -> BinaryIO:
    """Open a regular file for reading; never waits, as opening a FIFO would.

    Args:
        path: The file.
        follow_links: Whether the file may be a symbolic link to a regular file.
        what: The file in messages, such as "the recipe mine.toml"; its path if empty.

    Raises:
        NotFoundError: The file does not exist or cannot be read.
        UnsafeFileError: It is a folder, a device, a FIFO or a socket, or a link that must not be.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    what = what or str(path)
    try:
        _refuse_special(what, os.stat(path, follow_symlinks=follow_links).st_mode)
        handle = os.open(path, flags)
    except RezooError:
        raise
    except (OSError, ValueError) as error:  # ValueError: NUL in a path
        reason = getattr(error, "strerror", None) or error
        raise NotFoundError(f"cannot read {what}: {reason}") from error
    try:
        _refuse_special(what, os.fstat(handle).st_mode)  # it may have been replaced meanwhile
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, *, most: int, follow_links: bool = True, what: str = "") -> bytes:
    """Return the content of a regular file of at most `most` bytes; see `open_regular`."""
    what = what or str(path)
    with open_regular(path, follow_links=follow_links, what=what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UnsafeFileError(f"{what} has {size:,} bytes; at most {most:,} are allowed")
        content = file.read(size + 1)
    if len(content) > size:  # such as a file of /proc
        raise UnsafeFileError(f"{what} has more than the {size:,} bytes of its size")
    return content


def special_kind(mode: int) -> str:
    """Return what a file is if it is not regular, such as `"FIFO"`; `""` if it is."""
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFLNK: "link", stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO"}
    kinds |= {stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "special file")


def _refuse_special(what: str, mode: int) -> None:
    if kind := special_kind(mode):
        raise UnsafeFileError(
            f"{what} is a {kind}, not a regular file", hint="put a copy of the file itself there."
        )


def refuse_file(folder: Path, *, option: str = "--output") -> None:
    """Raise `SpecError` if the folder of an option is a file or cannot be looked at."""
    try:
        is_file = folder.exists() and not folder.is_dir()
    except OSError as error:  # such as a name that is too long
        raise SpecError(
            f"{folder}: {error.strerror}", hint=f"choose another folder with {option}."
        ) from error
    if is_file:
        raise SpecError(f"{folder} is a file", hint=f"choose another folder with {option}.")


def refuse_inside_dataset(path: Path, dataset: str) -> None:
    """Raise `SpecError` if `--output` lies in the folder of a dataset reference `folder:PATH`."""
    kind, _, place = dataset.partition(":")
    if kind == "folder":
        root = os.path.realpath(expanded(place))
        if Path(os.path.realpath(path)).is_relative_to(root):
            raise SpecError(
                f"{path} is inside the dataset {dataset}",
                hint="choose a place outside of it with --output: files there may count as data.",
            )


def refuse_unwritable(folder: Path, *, option: str = "--output") -> None:
    """Raise `ResourceError` if the folder of an option cannot be written or created."""
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not os.access(existing, os.W_OK):
        raise ResourceError(f"cannot write {folder}", hint=f"choose another folder with {option}.")


def require_room(what: str, size: int, folder: Path, *, variable: str) -> None:
    """Raise `ResourceError` if the disk of `folder` has less than `size` bytes free.

    Args:
        what: The thing to be written, for the message.
        size: In bytes.
        folder: Where it will be written; need not exist.
        variable: Environment variable that sets another folder, for the hint.
    """
    from rezoo.utils.device import free_disk_bytes

    free = free_disk_bytes(folder)
    if free < size:
        raise ResourceError(
            f"{what} needs {size:,} bytes; the disk of {folder} has {free:,} free",
            hint=f"free some space, or set {variable} to a folder on another disk.",
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a crash leaves the old one.

    Raises:
        ResourceError: The disk is full, or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of another one once it is complete and on the disk.

    Args:
        path: The file to be replaced. An error inside the block leaves it as it is.
        previous: Where the replaced file goes; None to remove it.

    Raises:
        ResourceError: The disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{token_hex(4)}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "xb") as file:  # a new file: no other one, no link
                yield file
                file.flush()
                os.fsync(file.fileno())
            if previous:
                path.replace(previous)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON (UTF-8) atomically; numbers that are not finite become null.

    Characters that are not Unicode, as names of files can have, become escapes in the text.
    """
    text = json.dumps(storable(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def canonical_digest(content: Any) -> str:
    """Return the SHA-256 of JSON values, whatever the white space and the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def storable(value: Any) -> Any:
    """Return what `write_json` writes for a value: finite numbers, Unicode, mappings and lists."""
    if isinstance(value, Mapping):
        return {_unicode(str(k)): storable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(v) for v in value]
    if hasattr(value, "item"):  # a scalar of NumPy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return _unicode(value) if isinstance(value, str) else value


def _unicode(text: str) -> str:
    """Escape what is not Unicode, such as bytes in names of files that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
