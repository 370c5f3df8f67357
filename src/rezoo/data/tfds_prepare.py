"""The first use of a TFDS dataset: download, convert, and say plainly what stands in the way."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from rezoo.errors import (
    IntegrityError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ResourceError,
    RezooError,
    writing,
)

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 15.0
_ROOM = "free some space or set TFDS_DATA_DIR to another folder."


def prepare(
    builder: Any, *, licence: str, archives: Sequence[str], say: Callable[[str], None]
) -> None:
    """Make the dataset's files in its data folder; nothing is written to stdout.

    Args:
        builder: A `tfds.core.DatasetBuilder` that is not prepared.
        licence: The licence of the data where TFDS does not state it.
        archives: Files that users must fetch by hand, below `downloads/manual`.
        say: Called with what the user should know before and after.

    Raises:
        NotFoundError: An archive that must be fetched by hand is not there.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: An archive is not the one that TFDS knows, or is damaged.
        ResourceError: No space, or the folder cannot be written.
        MissingExtraError: TFDS needs a package for this dataset that is not installed.
    """
    import tensorflow_datasets as tfds

    root = Path(builder.data_dir_root)
    if builder.data_path.exists():  # TFDS would take it for a prepared one
        raise IntegrityError(
            f"{builder.data_dir} is not a complete TFDS dataset", hint="remove that folder."
        )
    manual = root / "downloads" / "manual"
    absent = [name for name in archives if not (manual / name).is_file()]
    if absent:
        raise NotFoundError(
            f"{builder.name} cannot be downloaded automatically: "
            f"{' and '.join(absent)} not found in {manual}",
            hint=f"get the files from {builder.info.homepage} and put them there.",
        )
    say(_announcement(builder, licence))
    _accept_by_name(builder.url_infos or {})
    guard = _Guard(manual, builder.url_infos or {})
    config = tfds.download.DownloadConfig(
        try_download_gcs=False,
        manual_dir=manual,
        # TFDS reuses what it extracted from a file of the same name, even another dataset's.
        extract_dir=root / "downloads" / "extracted" / builder.name,
    )
    start = time.monotonic()
    with (
        _translated(builder, guard, manual),
        writing(root),
        guard.installed(tfds.download.DownloadManager),
        contextlib.redirect_stdout(io.StringIO()),
        _bars_for_people(),
    ):
        builder.download_and_prepare(download_config=config)
    counts = ", ".join(f"{k} {v.num_examples:,}" for k, v in builder.info.splits.items())
    say(f"Prepared {builder.name} in {time.monotonic() - start:.0f} s: {counts}")


@contextlib.contextmanager
def _bars_for_people() -> Iterator[None]:
    """Leave TFDS's progress bars away from a file: they would fill it with a megabyte."""
    from tensorflow_datasets.core.utils import tqdm_utils

    shown = getattr(tqdm_utils, "_active", True)
    tqdm_utils.display_progress_bar(shown and sys.stderr.isatty())
    try:
        yield
    finally:
        tqdm_utils.display_progress_bar(shown)


def _announcement(builder: Any, licence: str) -> str:
    known = builder.url_infos or {}
    size = _size(sum(int(info.size) for info in known.values()))
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        download = "none, the archives are already here"
    elif not known:
        download = "size unknown"
    else:
        # The table of one dataset covers all its configurations, and only one is wanted.
        download = f"{'up to ' if builder.BUILDER_CONFIGS else ''}{size}"
    info = builder.info
    return "\n".join(
        (
            f"First use of {info.full_name}: downloading and converting it once.",
            f"  download  {download}",
            f"  licence   {info.redistribution_info.license.strip() or licence or 'not stated'}",
            f"  homepage  {info.homepage or 'not stated'}",
            f"  folder    {builder.data_dir}",
        )
    )


def _size(count: int) -> str:
    if count < 2**20:
        return f"{count / 2**10:.1f} KiB"
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def _basename(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _accept_by_name(known: Mapping[str, Any]) -> None:
    """Let TFDS take every known archive from the manual folder, checksum verified.

    It looks there only for archives whose file name it has recorded, which older tables lack.
    """
    names = [info.filename or _basename(url) for url, info in known.items()]
    for (_, info), name in zip(known.items(), names, strict=True):
        if not info.filename and names.count(name) == 1:
            info.filename = name


@dataclass
class _Guard:
    """Probes a host before TFDS downloads from it: TFDS itself would retry for minutes.

    Attributes:
        manual: Where users put archives that they fetched themselves.
        known: URL → TFDS's record of its size, checksum and file name.
        refused: The URLs that were needed and could not be had.
        reasons: Host → why it cannot be reached, empty where it can.
    """

    manual: Path
    known: Mapping[str, Any]
    refused: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def installed(self, manager: Any) -> Iterator[None]:
        """Stand between TFDS's download manager and the network for a while."""
        original = manager._download

        def download(this: Any, resource: Any) -> Any:
            from promise import Promise

            url = resource.url
            own = self.manual / _basename(url)
            if url not in self.known and own.is_file():  # TFDS has no checksum for it either way
                return Promise.resolve(type(this.download_dir)(own))
            reason = self._reason(url)
            if not reason:
                return original(this, resource)
            self.refused.append(url)
            return Promise.reject(NetworkError(reason))

        manager._download = download
        try:
            yield
        finally:
            manager._download = original

    def _reason(self, url: str) -> str:
        host = urlsplit(url).netloc
        if host not in self.reasons:
            self.reasons[host] = unreachable(url)
        return self.reasons[host]

    def instructions(self) -> str:
        """Return what to fetch, and where to put it."""
        lines = []
        for url in self.refused:
            info = self.known.get(url)
            name = (info and info.filename) or _basename(url)
            size = f", {_size(int(info.size))}" if info else ""
            lines.append(f"  {url} (as {name}{size})")
        fetch = "\n".join(lines)
        return (
            f"connect and run the command again, or fetch these files elsewhere:\n{fetch}\n"
            f"and put them, under these names, into {self.manual}"
        )


def unreachable(url: str) -> str:
    """Return why the host of `url` cannot be reached, or "" where it answers.

    Asked as TFDS will ask (through the same proxy settings), but with a limit: at most
    `PROBE_SECONDS`, of which name lookups would take any number.
    """
    import requests

    if urlsplit(url).scheme not in ("http", "https"):
        return ""
    answer = [f"no answer within {PROBE_SECONDS:g} s"]

    def ask() -> None:
        timeout = (CONNECT_SECONDS, PROBE_SECONDS)
        try:
            # GET, not HEAD: some servers hang up on HEAD. The body is not read.
            with requests.get(url, stream=True, timeout=timeout):
                answer[0] = ""
        except requests.exceptions.RequestException as error:
            answer[0] = _root_cause(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0]


def _root_cause(error: BaseException) -> str:
    """Return the innermost reason: urllib3 wraps the system's words three times."""
    while True:
        inner = error.__cause__ or error.__context__
        inner = inner or next((a for a in error.args if isinstance(a, BaseException)), None)
        inner = inner or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        error = inner


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


@contextlib.contextmanager
def _translated(builder: Any, guard: _Guard, manual: Path) -> Iterator[None]:
    """Turn what TFDS raises while it prepares a dataset into rezoo's errors."""
    try:
        yield
    except NetworkError as error:
        hosts = ", ".join(dict.fromkeys(urlsplit(url).netloc for url in guard.refused))
        raise NetworkError(
            f"{builder.name} must be downloaded and {hosts} cannot be reached: {error}",
            hint=guard.instructions(),
        ) from error
    except RezooError:
        raise
    except Exception as error:
        for one in _chain(error):
            if known := _fetching(one, builder, guard) or _writing(one, builder, manual):
                raise known from error
        raise RezooError(
            f"TFDS could not prepare {builder.name}: {type(error).__name__}: {error}",
            hint="REZOO_DEBUG=1 shows where; what was downloaded is kept.",
        ) from error


def _fetching(error: BaseException, builder: Any, guard: _Guard) -> RezooError | None:
    """Return what a failure to get the archives or what they need means."""
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    match error:
        case requests.exceptions.RequestException() | tfds.download.DownloadError():
            guard.refused.extend(url for url in guard.known if url not in guard.refused)
            return NetworkError(f"downloading {builder.name}: {error}", hint=guard.instructions())
        case NonMatchingChecksumError():
            return IntegrityError(
                f"{builder.name}: {error}", hint="remove that file and fetch the genuine one."
            )
        case tarfile.TarError() | zipfile.BadZipFile() | EOFError():
            return IntegrityError(
                f"{builder.name}: an archive is damaged: {error}",
                hint=f"remove it from {guard.manual.parent} and run the command again.",
            )
        case ImportError():
            return MissingExtraError(
                f"{builder.name} needs a package that is not installed: {error}",
                hint=f"pip install {error.name or 'it'}",
            )
        case _:
            return None


def _writing(error: BaseException, builder: Any, manual: Path) -> RezooError | None:
    """Return what a failure to convert the archives means."""
    import tensorflow as tf

    downloads = manual.parent
    match error:
        case tf.errors.ResourceExhaustedError() | tf.errors.PermissionDeniedError():
            return ResourceError(f"cannot write {downloads.parent}: {error.message}", hint=_ROOM)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EACCES):
            return ResourceError(f"cannot write {downloads.parent}: {error.strerror}", hint=_ROOM)
        case AssertionError() if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            needs = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
            return NotFoundError(
                f"{builder.name} cannot be downloaded automatically",
                hint=f"the folder is {manual}. {needs}",
            )
        case FileNotFoundError() | tf.errors.NotFoundError():
            return IntegrityError(
                f"{builder.name}: its archives lack a file: {error}",
                hint=f"replace them and remove {downloads / 'extracted' / builder.name}.",
            )
        case _:
            return None
