"""Prepare a TFDS dataset at its first use: download, convert, and explain what fails."""

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
from concurrent.futures import ThreadPoolExecutor
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
from rezoo.utils.lock import locked
from rezoo.utils.paths import DEBUG_VARIABLE

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 5.0, 15.0
_ROOM = "free some space or set TFDS_DATA_DIR to another folder."


def prepare(
    builder: Any, *, licence: str, archives: Sequence[str], say: Callable[[str], None]
) -> None:
    """Download and convert a dataset; nothing is written to stdout.

    The hosts are asked before a download: TFDS itself would retry for minutes.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose folder does not exist yet.
        licence: The licence of the data, shown if TFDS does not state it.
        archives: Files that users must download by hand, below `downloads/manual`.
        say: Called with messages before and after.

    Raises:
        NotFoundError: An archive that must be downloaded by hand is missing.
        NetworkError: A download is needed, and no host answers within `CONNECT_TIMEOUT_S` and
            `ANSWER_TIMEOUT_S`, or the download fails.
        IntegrityError: The checksum of an archive is wrong, or an archive is damaged.
        ResourceError: There is no space, or the folder cannot be written.
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
        say(_announcement(builder, licence))
        start = time.monotonic()
        with _explained(builder, manual):
            _check_hosts(builder, manual)
            _download_and_prepare(builder, manual)
        counts = ", ".join(f"{k} {v.num_examples:,}" for k, v in builder.info.splits.items())
        say(f"Prepared {builder.name} in {time.monotonic() - start:.0f} s: {counts}")


@contextlib.contextmanager
def _alone(builder: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Lock a dataset against other processes; remove what an interrupted one has left."""
    downloads = Path(builder.data_dir_root) / "downloads" / builder.name
    with locked(downloads, what=f"preparing {builder.name}", wait=say):
        _remove_leftovers(builder)
        try:
            yield
        finally:
            _remove_leftovers(builder)


def _remove_leftovers(builder: Any) -> None:
    downloads = Path(builder.data_dir_root) / "downloads" / builder.name
    folder = Path(builder.data_dir)
    unfinished = folder.parent.glob(f"incomplete.{'[A-Z0-9]' * 6}_{folder.name}")  # TFDS's names
    interrupted = downloads.glob(f"**/*.tmp.{'[0-9a-f]' * 32}")
    for leftover in [*unfinished, *interrupted]:
        shutil.rmtree(leftover, ignore_errors=True)


def _check_hosts(builder: Any, manual: Path) -> None:
    """Raise a NetworkError if archives are missing and none of their hosts answers.

    One host that answers is enough: the table of a dataset also lists archives of other
    configurations and versions.
    """
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return
    missing = _missing(builder, manual)
    by_host = {urlsplit(url).netloc: url for url in missing}
    with ThreadPoolExecutor(max(len(by_host), 1)) as pool:
        reasons = dict(zip(by_host, pool.map(unreachable, by_host.values()), strict=True))
    if reasons and all(reasons.values()):
        text = ", ".join(f"{host} cannot be reached: {why}" for host, why in reasons.items())
        raise NetworkError(
            f"{builder.name} must be downloaded and {text}", hint=_instructions(missing, manual)
        )


def unreachable(url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """Return the reason why the host of `url` cannot be reached, or `""` if it answers.

    Only the hosts of http and https are asked, with the proxy settings that TFDS uses.
    """
    import requests

    if urlsplit(url).scheme not in ("http", "https"):
        return ""
    try:
        # GET, not HEAD: some servers do not answer HEAD. The body is not read.
        with requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, timeout_s)):
            return ""
    except requests.exceptions.RequestException as error:
        *_, cause = _causes(error)
        return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _missing(builder: Any, manual: Path) -> dict[str, Any]:
    """Return URL → TFDS's record of each archive that must be downloaded, as far as known."""
    from tensorflow_datasets.core.download.resource import get_dl_fname

    downloads, missing = manual.parent, {}
    for url, info in (builder.url_infos or {}).items():
        name = get_dl_fname(url, info.checksum)
        places = (manual / _name(url, info), downloads / builder.name / name, downloads / name)
        if not any(path.is_file() for path in places):
            missing[url] = info
    return missing


def _name(url: str, info: Any) -> str:
    return str(info.filename or PurePosixPath(urlsplit(url).path).name)


def _instructions(missing: Mapping[str, Any], manual: Path) -> str:
    """Return a hint that lists the files to download by hand, and where to put them."""
    files = (f"  {url} (as {_name(url, info)}, {info.size})\n" for url, info in missing.items())
    return (
        f"connect and run the command again, or fetch these files elsewhere:\n{''.join(files)}"
        f"and put them, under these names, into {manual}"
    )


def _download_and_prepare(builder: Any, manual: Path) -> None:
    import tensorflow_datasets as tfds

    _accept_by_name(builder.url_infos or {})
    if not sys.stderr.isatty():  # progress bars would fill a file with a megabyte
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(
        try_download_gcs=False,
        manual_dir=manual,
        # TFDS would reuse files extracted from another dataset's archive of the same name
        extract_dir=manual.parent / "extracted" / builder.name,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=config)


def _announcement(builder: Any, licence: str) -> str:
    from tensorflow_datasets.core.utils import Size

    known = builder.url_infos or {}
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        download = "none, the archives are already here"
    elif not known:
        download = "size unknown"
    else:
        # the table of a dataset covers all its configurations, and only one is needed
        size = Size(sum(info.size for info in known.values()))
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
    """Make TFDS accept every known archive in the manual folder, checksum verified.

    TFDS looks there only for archives whose file name it has recorded. Older tables lack names.
    """
    names = [_name(url, info) for url, info in known.items()]
    for info, name in zip(known.values(), names, strict=True):
        if not info.filename and names.count(name) == 1:
            info.filename = name


def _causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


@contextlib.contextmanager
def _explained(builder: Any, manual: Path) -> Iterator[None]:
    """Turn what TFDS raises while it prepares a dataset into rezoo's errors."""
    try:
        yield
    except RezooError:
        raise
    except Exception as error:
        for cause in _causes(error):
            if known := _meaning(cause, builder, manual):
                raise known from error
        raise RezooError(
            f"TFDS could not prepare {builder.name}: {type(error).__name__}: {error}",
            hint=f"{DEBUG_VARIABLE}=1 shows where; what was downloaded is kept.",
        ) from error


def _meaning(error: BaseException, builder: Any, manual: Path) -> RezooError | None:
    """Return rezoo's error for one that TFDS raises, or None if it has no known meaning."""
    import requests
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    downloads = manual.parent
    match error:
        case requests.exceptions.RequestException() | tfds.download.DownloadError():
            hint = _instructions(_missing(builder, manual), manual)
            return NetworkError(f"downloading {builder.name}: {error}", hint=hint)
        case NonMatchingChecksumError():
            return IntegrityError(
                f"{builder.name}: {error}", hint="remove that file and fetch the genuine one."
            )
        case tarfile.TarError() | zipfile.BadZipFile() | EOFError():
            return IntegrityError(
                f"{builder.name}: an archive is damaged: {error}",
                hint=f"remove it from {downloads} and run the command again.",
            )
        case ImportError():
            return MissingExtraError(
                f"{builder.name} needs a package that is not installed: {error}",
                hint=f"pip install {error.name or 'it'}",
            )
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
    return None
