"""The first use of a TFDS dataset: download, convert, and say plainly what stands in the way."""

from __future__ import annotations

import contextlib
import errno
import io
import shutil
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rezoo.data.tfds_network import NetworkGuard, basename, size_text
from rezoo.errors import (
    IntegrityError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ResourceError,
    RezooError,
    writing,
)

_ROOM = "free some space or set TFDS_DATA_DIR to another folder."


def prepare(
    builder: Any, *, licence: str, archives: Sequence[str], say: Callable[[str], None]
) -> None:
    """Make the dataset's files in its data folder; nothing is written to stdout.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose folder does not exist yet.
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
    root = Path(builder.data_dir_root)
    manual = root / "downloads" / "manual"
    absent = [name for name in archives if not (manual / name).is_file()]
    if absent:
        raise NotFoundError(
            f"{builder.name} cannot be downloaded automatically: "
            f"{' and '.join(absent)} not found in {manual}",
            hint=f"get the files from {builder.info.homepage} and put them there.",
        )
    with writing(root), _alone(builder, say):
        if Path(builder.data_dir).exists():  # another process was first
            return
        _download_and_prepare(builder, licence, manual, say)


@contextlib.contextmanager
def _alone(builder: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time prepare a dataset; remove what one that was killed has left."""
    try:
        import fcntl
    except ImportError:  # Windows: TFDS itself keeps processes apart, and nothing is removed
        yield
        return
    path = Path(builder.data_dir_root) / "downloads" / f"{builder.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process prepares {builder.name}: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in Path(builder.data_dir).parent.glob("incomplete.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _download_and_prepare(
    builder: Any, licence: str, manual: Path, say: Callable[[str], None]
) -> None:
    import tensorflow_datasets as tfds

    root = Path(builder.data_dir_root)
    say(_announcement(builder, licence))
    _accept_by_name(builder.url_infos or {})
    guard = NetworkGuard(manual, builder.url_infos or {})
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
    size = size_text(sum(int(info.size) for info in known.values()))
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


def _accept_by_name(known: Mapping[str, Any]) -> None:
    """Let TFDS take every known archive from the manual folder, checksum verified.

    It looks there only for archives whose file name it has recorded, which older tables lack.
    """
    names = [info.filename or basename(url) for url, info in known.items()]
    for (_, info), name in zip(known.items(), names, strict=True):
        if not info.filename and names.count(name) == 1:
            info.filename = name


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


@contextlib.contextmanager
def _translated(builder: Any, guard: NetworkGuard, manual: Path) -> Iterator[None]:
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


def _fetching(error: BaseException, builder: Any, guard: NetworkGuard) -> RezooError | None:
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
