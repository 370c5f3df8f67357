"""Files of a repository, from the Hub's cache or from the Hub, at a commit.

The client writes each file under a name of its own and renames it, so nothing half-written
is ever found. `rezoo.artifacts.safetensors` compares the bytes with their SHA-256; what is
refused there is set aside here, so that the cache does not offer it again.
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
    NotFoundError,
    ResourceError,
    UnsafeFileError,
)
from rezoo.sources.hub_address import Address, is_commit
from rezoo.sources.hub_client import RETRY_WAITS_S, ask, endpoint, identity, offline
from rezoo.utils import device
from rezoo.utils.files import FileRecord, is_sha256, write_bytes

_ETAG = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,200}")
Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that have come and, where known, the bytes in all."""


_listener: ContextVar[Progress | None] = ContextVar("listener", default=None)


@contextmanager
def listening(progress: Progress) -> Iterator[None]:
    """Let `progress` hear of what is downloaded inside the block."""
    token = _listener.set(progress)
    try:
        yield
    finally:
        _listener.reset(token)


def resolve_commit(address: Address, *, probe: str, limit: int, announce: bool = True) -> Address:
    """Return the address at the commit that its revision means now.

    A commit is returned as it is, without asking. Where the Hub does not answer, the commit
    that the revision meant when it was last fetched is taken, with a warning.

    Args:
        address: What was asked for.
        probe: A small file that the repository must have.
        limit: Bytes that it may have at most.
        announce: Warn which commit it is: the same words may mean another one tomorrow.

    Raises:
        NetworkError: The Hub is not reached and nothing is in the cache.
        NotFoundError: No such repository, revision or file.
    """
    if address.pinned:
        return address
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    known = _cached(address, probe)
    if constants.HF_HUB_OFFLINE:
        if known is None:
            raise offline(f"{address} {probe}")
        return address.at(_commit_of(known))
    url = hf_hub_url(address.repo, probe, revision=address.revision)
    try:
        found = ask(
            str(address),
            lambda: get_hf_file_metadata(url, **identity()),
            retries=RETRY_WAITS_S if known is None else (0.0,),
        )
    except NetworkError as error:
        if known is None or isinstance(error, AccessError):
            raise
        text = f"{error}; using commit {_commit_of(known)[:12]} from the cache."
        warnings.warn(HubWarning(text), stacklevel=2)
        return address.at(_commit_of(known))
    if not is_commit(found.commit_hash):
        raise NetworkError(f"the answer for {address} names no commit: {found.commit_hash!r}")
    pinned = address.at(str(found.commit_hash))
    path = fetch(pinned, probe, limit=limit)
    _remember(address, path)
    if announce:
        warnings.warn(HubNote(f"{address} is commit {pinned.revision} now."), stacklevel=2)
    return pinned


def fetch(
    address: Address,
    name: str,
    *,
    limit: int | None = None,
) -> Path:
    """Return a file of a repository, from the cache where it is there.

    Args:
        address: At a commit.
        name: Of the file.
        limit: Bytes that it may have at most.

    Raises:
        NetworkError, NotFoundError: It cannot be had.
        UnsafeFileError: It is larger than allowed.
        ResourceError: No room in the cache, or it cannot be written.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    if known := _cached(address, name):
        return known
    what = f"{address} {name}"
    if constants.HF_HUB_OFFLINE:
        raise offline(what)
    url = hf_hub_url(address.repo, name, revision=address.revision)
    found = ask(what, lambda: get_hf_file_metadata(url, **identity()), retries=RETRY_WAITS_S)
    size = found.size
    if found.etag and not _ETAG.fullmatch(found.etag):  # the client makes a file name of it
        raise UnsafeFileError(f"{what}: {endpoint()} gives it the ETag {found.etag!r}")
    if limit is not None and size is not None and size > limit:
        raise UnsafeFileError(f"{what} has {size:,} bytes; at most {limit:,} are allowed")
    _check_room(what, size)
    meter = _meter(what, name, size, limit)
    path = ask(
        what,
        lambda: hf_hub_download(
            address.repo, name, revision=address.revision, tqdm_class=meter, **identity()
        ),
        moved=lambda: meter.done,
        given_up=lambda: _discard_partial(address),
    )
    return Path(path)


def names(address: Address) -> set[str]:
    """Return the names of a repository's files, or nothing where the Hub does not tell."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return set()
    api = HfApi(**identity())
    try:
        info = ask(str(address), lambda: api.model_info(address.repo, revision=address.revision))
    except (NetworkError, NotFoundError):
        return set()
    return {file.rfilename for file in info.siblings or ()}


def hub_record(path: Path) -> FileRecord | None:
    """Return what the Hub itself says the bytes are, as the cache remembers it.

    The cache names the content of large files by their SHA-256; smaller ones, and caches
    without links, do not tell.
    """
    name = _content(path).name
    return FileRecord(name, source="the Hub") if is_sha256(name) else None


def refused(path: Path, error: IntegrityError) -> IntegrityError:
    """Take refused content out of the cache, so that the next use fetches it again.

    Returns:
        The same error, with a hint where the content is now for whoever wants to look.
    """
    aside = _set_aside(path)
    moved = f"it was moved to {aside}"
    where = moved if aside else "it is still in the cache, which cannot be changed"
    return type(error)(error.message, hint=f"{error.hint} As for the file, {where}.".strip())


def _set_aside(path: Path) -> Path | None:
    content = _content(path)
    aside = content.with_name(f"{content.name}.refused")
    try:
        content.resolve().replace(aside)  # a store that repositories share is cleared, too
        for link in (content, path):
            link.unlink(missing_ok=True)
    except OSError:
        return None
    return aside


def _content(path: Path) -> Path:
    """Return what a name in the cache links to: `blobs/<hash>`; itself where it is no link."""
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path


def _cached(address: Address, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, name, revision=address.revision)
    return Path(found) if isinstance(found, str) else None


def _remember(address: Address, path: Path) -> None:
    """Note in the cache which commit a branch or tag meant, for when the Hub is not reached.

    Asking the client for the branch would do it too, and could store one commit's bytes
    under another, should the branch move between two of its requests.
    """
    commit, storage = _commit_of(path), path.parents[2]
    with contextlib.suppress(ResourceError):  # a cache that cannot be written is none
        write_bytes(storage / "refs" / address.revision, commit.encode())


def _commit_of(path: Path) -> str:
    """Return the commit of a file in the cache: `…/snapshots/<commit>/<name>`."""
    return path.parent.name


def _discard_partial(address: Address) -> None:
    """Remove what an abandoned download has written: its thread may die with the process.

    Their names do not tell whose they are, so that only Linux, which lists the files that a
    process has open, is cleaned up. Elsewhere they stay and do no harm.
    """
    storage = f"models--{address.repo.replace('/', '--')}"
    opened = Path("/proc/self/fd")
    for link in opened.iterdir() if opened.is_dir() else ():
        with contextlib.suppress(OSError):
            target = link.readlink()
            if target.name.endswith(".incomplete") and target.parents[1].name == storage:
                target.unlink()


def _check_room(what: str, size: int | None) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next((p for p in (cache, *cache.parents) if p.is_dir()), None)
    if size is None or existing is None:
        return
    free = device.free_disk_bytes(existing)
    if free < size:
        raise ResourceError(
            f"{what} needs {size:,} bytes; {existing} has {free:,} free",
            hint="free some space, or set HF_HOME to a folder on another disk.",
        )


def _meter(what: str, name: str, size: int | None, limit: int | None) -> Any:
    """Return a class that the client takes for a progress bar; its `done` counts the bytes.

    It stops a body that grows beyond the limit: not every answer says its length beforehand.
    """
    from huggingface_hub.utils.tqdm import tqdm

    progress = _listener.get() or (lambda name, done, total: None)

    class Meter(tqdm):
        done = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            Meter.done += int(n or 0)
            if limit is not None and Meter.done > limit:
                raise UnsafeFileError(f"{what} has more than the {limit:,} bytes that are allowed")
            progress(name, Meter.done, size)

    return Meter
