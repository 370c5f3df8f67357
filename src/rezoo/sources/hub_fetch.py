"""Files of a repository at a commit, from the Hub's cache or from the Hub.

huggingface_hub downloads to a temporary file and renames it, so the cache has no partial files.
`rezoo.artifacts.safetensors` compares the bytes with their SHA-256. A file that it refuses is
moved aside here, so that it is fetched again.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rezoo.errors import (
    AccessError,
    HubNote,
    HubWarning,
    IntegrityError,
    NetworkError,
    ResourceError,
    UnsafeFileError,
)
from rezoo.sources.hub_address import Address, is_commit
from rezoo.sources.hub_client import endpoint, file_metadata, hub_errors, identity
from rezoo.utils.files import FileRecord, is_sha256, require_room, write_bytes

_ETAG = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,200}")
Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes received and the bytes in all, None if not known."""

_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting_to(progress: Progress) -> Iterator[None]:
    """Report downloads to `progress` in place of the client's own progress bars."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def resolve_commit(address: Address, *, probe: str, limit: int, announce: bool = True) -> Address:
    """Return the address at the commit to which its revision points now.

    A commit is returned as it is, without a request. If the Hub does not answer, the commit of
    the last download is taken, with a warning.

    Args:
        address: The repository, at any revision.
        probe: A small file that the repository must have.
        limit: Largest size of that file in bytes.
        announce: Warn which commit it is, since a branch may move.
    """
    if address.pinned:
        return address
    from huggingface_hub import constants

    known = _cached(address, probe)
    try:
        found = file_metadata(address, probe, retry=known is None)
    except NetworkError as error:
        if known is None or isinstance(error, AccessError):
            raise
        pinned = address.at(known.parent.name)  # …/snapshots/<commit>/<name>
        if not constants.HF_HUB_OFFLINE:
            text = f"{error}; using commit {pinned.revision[:12]} from the cache."
            warnings.warn(HubWarning(text), stacklevel=2)
        return pinned
    if not is_commit(found.commit_hash):
        raise NetworkError(f"the answer for {address} names no commit: {found.commit_hash!r}")
    pinned = address.at(str(found.commit_hash))
    _remember(address, fetch(pinned, probe, limit=limit))
    if announce:
        warnings.warn(HubNote(f"{address} is commit {pinned.revision} now."), stacklevel=2)
    return pinned


def fetch(address: Address, name: str, *, limit: int) -> Path:
    """Return a file of a repository at a commit, from the cache if it is there.

    Raises:
        NetworkError, NotFoundError: See `hub_errors`.
        UnsafeFileError: The file is larger than `limit` bytes.
        ResourceError: The cache cannot be written or has too little room.
    """
    from huggingface_hub import constants, hf_hub_download

    if known := _cached(address, name):
        return known
    what = f"{address} {name}"
    found = file_metadata(address, name)
    if found.etag and not _ETAG.fullmatch(found.etag):  # the client makes a file name of it
        raise UnsafeFileError(f"{what}: {endpoint()} gives it the ETag {found.etag!r}")
    if found.size is not None:
        if found.size > limit:
            raise UnsafeFileError(f"{what} has {found.size:,} bytes; at most {limit:,} are allowed")
        require_room(what, found.size, Path(constants.HF_HUB_CACHE), variable="HF_HOME")
    with hub_errors(what):
        path = hf_hub_download(
            address.repo,
            name,
            revision=address.revision,
            etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
            tqdm_class=_meter(what, name, found.size, limit),
            **identity(),
        )
    return Path(path)


def hub_record(path: Path) -> FileRecord | None:
    """Return the SHA-256 that the Hub states for a cached file; None if it is not known.

    The cache names large files by their SHA-256. It does not for small ones, nor on file
    systems without symbolic links.
    """
    name = _content(path).name
    return FileRecord(name, source="the Hub") if is_sha256(name) else None


def stated_record(address: Address, name: str) -> FileRecord:
    """Ask the Hub for the SHA-256 of a file.

    Raises:
        NetworkError, NotFoundError: See `hub_errors`.
        IntegrityError: The Hub states no SHA-256, which it does for large files.
    """
    found = file_metadata(address, name).etag
    if not found or not is_sha256(found):
        raise IntegrityError(
            f"{endpoint()} states no SHA-256 of {address} {name}, and no catalogue has one",
            hint=f"to load it without a check: {address}",
        )
    return FileRecord(found, source="the Hub")


def refused(path: Path, error: IntegrityError) -> IntegrityError:
    """Move a refused file aside in the cache, so that the next use fetches it again.

    Returns the error with a hint where the file is now.
    """
    content = _content(path)
    aside = content.with_name(f"{content.name}.refused")
    where = f"it was moved to {aside}"
    try:
        content.resolve().replace(aside)  # the blob may be shared by several repositories
        for link in (content, path):
            link.unlink(missing_ok=True)
    except OSError:
        where = "it is still in the cache, which cannot be changed"
    return type(error)(error.message, hint=f"{error.hint} As for the file, {where}.".strip())


def _content(path: Path) -> Path:
    """Return the blob to which a name in the cache links; the path itself if it is no link."""
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path


def _cached(address: Address, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, name, revision=address.revision)
    return Path(found) if isinstance(found, str) else None


def _remember(address: Address, path: Path) -> None:
    """Write to the cache to which commit a branch or tag points, for use without a network.

    The client would do so when it downloads from the branch. Then one commit's bytes could be
    stored under another, if the branch moves between its two requests.
    """
    with contextlib.suppress(ResourceError):  # a read-only cache
        write_bytes(path.parents[2] / "refs" / address.revision, path.parent.name.encode())


def _meter(what: str, name: str, size: int | None, limit: int) -> Any:
    """Return the client's class of progress bars, extended by a limit and by `reporting_to`.

    The limit is needed because an answer may come without its length.
    """
    from huggingface_hub.utils.tqdm import tqdm

    progress = _progress.get()

    class Meter(tqdm):
        received = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, **({"disable": True} if progress else {})})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += int(n or 0)
            if self.received > limit:
                raise UnsafeFileError(f"{what} has more than the {limit:,} bytes that are allowed")
            if progress:
                progress(name, self.received, size)
            return super().update(n)

    return Meter
