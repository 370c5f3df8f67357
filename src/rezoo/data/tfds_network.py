"""Downloads of TFDS datasets: probed before they start, stopped when they should stop."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from rezoo.errors import NetworkError

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 15.0


def size_text(count: int) -> str:
    """Return a number of bytes as people read it."""
    if count < 2**20:
        return f"{count / 2**10:.1f} KiB"
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def basename(url: str) -> str:
    """Return the file name that a URL ends with."""
    return PurePosixPath(urlsplit(url).path).name


class _Checksum:
    """SHA-256 that stops the download it belongs to: Ctrl-C would wait for all of the file."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._hash = hashlib.sha256()

    def update(self, block: bytes) -> None:
        if self._stopped.is_set():
            raise InterruptedError("the download was stopped")
        self._hash.update(block)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@dataclass
class NetworkGuard:
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
        used: list[Any] = []
        begun: set[Path] = set()
        stopped = threading.Event()

        def download(this: Any, resource: Any) -> Any:
            from promise import Promise

            url = resource.url
            own = self.manual / basename(url)
            if url not in self.known and own.is_file():  # TFDS has no checksum for it either way
                return Promise.resolve(type(this.download_dir)(own))
            reason = self._reason(url)
            if not reason:
                this._downloader._checksumer_cls = functools.partial(_Checksum, stopped)
                used.append(this._downloader)
                before = self._partial_files(this)
                promised = original(this, resource)
                begun.update(self._partial_files(this) - before)
                return promised
            self.refused.append(url)
            return Promise.reject(NetworkError(reason))

        manager._download = download
        try:
            yield
        finally:
            stopped.set()
            manager._download = original
            for downloader in used:
                downloader._checksumer_cls = hashlib.sha256
            for folder in begun:  # TFDS would leave what it cannot use again
                shutil.rmtree(folder, ignore_errors=True)

    def _partial_files(self, manager: Any) -> set[Path]:
        return set(Path(manager.download_dir).glob("*/*.tmp.*"))

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
            name = (info and info.filename) or basename(url)
            size = f", {size_text(int(info.size))}" if info else ""
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
