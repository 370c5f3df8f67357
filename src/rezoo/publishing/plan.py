"""What a push would send: the folder, the Hub and the card are checked before it begins."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rezoo.artifacts import run_files
from rezoo.artifacts.card import MARK, model_card
from rezoo.artifacts.config import CONFIG, MAX_CONFIG_BYTES, WEIGHTS, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, with_manifest
from rezoo.errors import (
    AccessError,
    IncompatibleError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    RezooError,
    SpecError,
    UnsafeFileError,
)
from rezoo.sources import hub_fetch
from rezoo.sources.hub_address import Address
from rezoo.sources.hub_client import hub_errors, open_api, repository
from rezoo.sources.references import WithFolder, local_folder
from rezoo.utils.files import FileRecord, record

_NEEDED = (CONFIG, WEIGHTS, run_files.REFERENCE)
_SECRET = re.compile(rb"hf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
_MAX_CARD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file to be pushed.

    Attributes:
        name: In the repository.
        size: In bytes.
        sha256: Of its bytes.
        state: Compared with the repository; "unknown" if the Hub was not reached.
    """

    name: str
    size: int
    sha256: str
    state: Literal["new", "changed", "unchanged", "unknown"]


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """What `push` will do.

    Attributes:
        folder: The run folder.
        repo: `owner/name`.
        private: Whether the repository is, or will be, private.
        exists: Whether the repository exists; None if the Hub was not reached.
        parent: The commit on which the push is based; empty for a new repository.
        uploads: The files.
        contents: File name → bytes of the two files that are written for the repository.
        note: Why the Hub was not reached; empty if it was.
    """

    folder: Path
    repo: str
    private: bool
    exists: bool | None
    parent: str
    uploads: tuple[Upload, ...]
    contents: Mapping[str, bytes] = field(repr=False)
    note: str = ""

    @property
    def card(self) -> str:
        """The model card."""
        return self.contents[run_files.CARD].decode()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "folder": str(self.folder),
            "repo": self.repo,
            "private": self.private,
            "exists": self.exists,
            "parent": self.parent or None,
            "files": [vars(upload) for upload in self.uploads],
            "bytes": sum(upload.size for upload in self.uploads),
            "card": self.card,
            "note": self.note,
        }


def plan_push(
    run: str | Path | WithFolder,
    repo: str,
    *,
    private: bool = False,
    licence: str = "",
    force: bool = False,
    offline_ok: bool = False,
) -> PushPlan:
    """Check a run folder and the Hub, and return what a push would do; changes nothing.

    Takes the arguments of `push` and raises its errors. With `offline_ok`, it is no error if
    the Hub is not reached.
    """
    folder = local_folder(run)
    address = Address(repo)
    if licence and not _LICENCE.fullmatch(licence):
        raise SpecError(f"licence: {licence!r}; write it as the Hub does, such as apache-2.0")
    measured = _check_folder(folder)
    contents = _contents(folder, repo, licence)
    uploads = {name: _record_of(content) for name, content in contents.items()}
    for name in run_files.PUBLISHED:
        if name not in uploads and (folder / name).is_file():
            uploads[name] = measured.get(name) or record(folder / name)
    _check_secrets(folder, contents, uploads)
    note, info = "", None
    try:
        info = _existing(address)
        if info is not None:
            _check_existing(info, address.at(info.sha or address.revision), private, force)
        hashes = {name: known.sha256 for name, known in uploads.items()}
        states = compare(info, folder, contents, hashes)
    except NetworkError as error:
        if not offline_ok:
            raise
        note, states = str(error), dict.fromkeys(uploads, "unknown")
    return PushPlan(
        folder=folder,
        repo=repo,
        private=bool(info.private) if info else private,
        exists=None if note else info is not None,
        parent=(info.sha or "") if info else "",
        uploads=tuple(
            Upload(name, known.size or 0, known.sha256, states.get(name, "new"))  # type: ignore[arg-type]
            for name, known in uploads.items()
        ),
        contents=contents,
        note=note,
    )


def compare(
    info: Any, folder: Path, contents: Mapping[str, bytes], hashes: Mapping[str, str]
) -> dict[str, str]:
    """Return name → "unchanged" or "changed", for each file that the repository has.

    Large files are compared by their SHA-256 in `hashes`, the others by the hash of git.
    """
    from huggingface_hub.utils.sha import git_hash

    found = {}
    for file in info.siblings or () if info else ():
        name = file.rfilename
        if name in hashes:
            if file.lfs is not None:
                same = file.lfs.sha256 == hashes[name]
            else:
                same = file.blob_id == git_hash(contents.get(name) or (folder / name).read_bytes())
            found[name] = "unchanged" if same else "changed"
    return found


def _check_folder(folder: Path) -> dict[str, FileRecord]:
    """Compare a run folder with its manifest; return the sizes and hashes that were measured."""
    config = read_config(folder)
    holds = checksum_holds(read_json(folder))
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if holds is None or missing:
        what = f"it has no {', '.join(missing) or 'manifest'}"
        raise SpecError(
            f"{folder} is not a finished run: {what}",
            hint="finish it with --resume; for weights of another origin, write a manifest with "
            f"rezoo verify {folder} --record.",
        )
    if not holds:
        raise IntegrityError(
            f"{folder / CONFIG} was changed after its manifest was written",
            hint=f"rezoo verify {folder} shows the differences; --record --overwrite writes a "
            "new manifest.",
        )
    found = {}
    for name, expected in config.files.items():
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder} has no {name}, which its {CONFIG} lists")
        found[name] = measured = record(folder / name)
        if name != run_files.CARD:  # a card may be edited by hand
            expected.check(folder / name, size=measured.size or 0, sha256=measured.sha256)
    return found


def _contents(folder: Path, repo: str, licence: str) -> dict[str, bytes]:
    """Return the two files that are written for the repository: the config and the card."""
    path = folder / run_files.CARD
    own = path.read_text("utf-8") if path.is_file() else ""
    keep = own and MARK not in own
    card = (own if keep else model_card(folder, repo=repo, licence=licence)).encode()
    content = read_json(folder)
    if licence and isinstance(content.get("pretrained_cfg"), dict):
        content["pretrained_cfg"]["license"] = licence
    files = {**read_config(folder).files, run_files.CARD: _record_of(card)}
    text = json.dumps(with_manifest(content, files), indent=2, ensure_ascii=False, allow_nan=False)
    return {CONFIG: text.encode() + b"\n", run_files.CARD: card}


def _check_secrets(folder: Path, contents: Mapping[str, bytes], names: Iterable[str]) -> None:
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    for name in names:
        content = contents.get(name) or (folder / name).read_bytes()
        if _SECRET.search(content) or (token and token in content):
            raise UnsafeFileError(
                f"{folder / name} contains what looks like a token or a private key",
                hint="remove it, and revoke it if it is real: it may have been copied already.",
            )


def _existing(address: Address) -> Any:
    """Return the client's information about the repository, or None; checks the token first."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise AccessError(
            "pushing needs a token, and there is none",
            hint="log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
        )
    with hub_errors("the token"):
        who = open_api().whoami()
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise AccessError(
            f"the token of {who.get('name', 'this user')} may only read",
            hint="make one that may write, in the settings of the Hub's site.",
        )
    try:
        return repository(address, sizes=True)
    except NotFoundError:
        return None


def _check_existing(info: Any, address: Address, private: bool, force: bool) -> None:
    """Refuse a public repository for a private push, and a card that rezoo did not write."""
    if private and not info.private:
        raise IncompatibleError(
            f"{address.repo} exists and is public",
            hint="choose another name, or leave --private out.",
        )
    names = {file.rfilename for file in info.siblings or ()}
    if force or run_files.CARD not in names or not info.sha:
        return
    path = hub_fetch.fetch(address, run_files.CARD, limit=_MAX_CARD_BYTES)
    if MARK not in path.read_text("utf-8", errors="replace") and not _listed(address, path, names):
        raise IncompatibleError(
            f"{address.repo} has a {run_files.CARD} that rezoo did not write",
            hint="--force replaces it; the old one stays in the repository's history.",
        )


def _listed(address: Address, card: Path, names: set[str]) -> bool:
    """Whether the repository's manifest lists a card, so that it was pushed by rezoo."""
    if CONFIG not in names:
        return False
    path = hub_fetch.fetch(address, CONFIG, limit=MAX_CONFIG_BYTES)
    try:
        listed = read_config(path.parent).files.get(run_files.CARD)
    except RezooError:
        return False
    return listed is not None and listed.sha256 == record(card).sha256


def _record_of(content: bytes) -> FileRecord:
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))
