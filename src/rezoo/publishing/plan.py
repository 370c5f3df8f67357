"""What a push would do: the folder, the Hub and the card, looked at before anything is sent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rezoo.artifacts import run_files
from rezoo.artifacts.card import MARK, model_card
from rezoo.artifacts.config import CONFIG, MAX_CONFIG_BYTES, WEIGHTS, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, seal
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
from rezoo.sources.hub_client import ask, identity
from rezoo.utils.files import FileRecord, record

_NEEDED = (CONFIG, WEIGHTS, run_files.REFERENCE)
_SECRET = re.compile(rb"hf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
_MAX_CARD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file that is pushed.

    Attributes:
        name: In the repository.
        size: In bytes.
        sha256: Of its bytes.
        state: Compared with the repository; "unknown" where that was not reached.
    """

    name: str
    size: int
    sha256: str
    state: Literal["new", "changed", "unchanged", "unknown"]


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """What `push` is about to do.

    Attributes:
        folder: The run folder.
        repo: `owner/name`.
        private: Visibility that the repository has, or will have.
        exists: Whether the repository is there; None where the Hub was not reached.
        parent: The commit that the push is based on; empty for a new repository.
        uploads: The files.
        card: The model card.
        note: Why the Hub was not reached, or empty.
    """

    folder: Path
    repo: str
    private: bool
    exists: bool | None
    parent: str
    uploads: tuple[Upload, ...]
    card: str
    note: str = ""

    @property
    def nothing_new(self) -> bool:
        """Whether the repository has all of it already."""
        return all(upload.state == "unchanged" for upload in self.uploads)

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
    run: str | Path,
    repo: str,
    *,
    private: bool = False,
    licence: str = "",
    force: bool = False,
    offline_ok: bool = False,
) -> PushPlan:
    """Check a run folder and the Hub, and say what a push would do; changes nothing.

    Args: as `push` has them; with `offline_ok`, a Hub that is not reached is no error.
    """
    return prepare(run, repo, private=private, licence=licence, force=force, offline_ok=offline_ok)[
        0
    ]


def prepare(
    run: str | Path,
    repo: str,
    *,
    private: bool,
    licence: str,
    force: bool,
    offline_ok: bool,
) -> tuple[PushPlan, dict[str, bytes]]:
    """Return the plan, and the contents of the two files that are written for the repository."""
    folder = Path(run).expanduser()
    address = Address(repo)
    if licence and not _LICENCE.fullmatch(licence):
        raise SpecError(f"licence: {licence!r}; write it as the Hub does, such as apache-2.0")
    checked = _check_folder(folder)
    contents = _contents(folder, repo, licence)
    uploads = {n: FileRecord(hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()}
    for name in run_files.PUBLISHED:
        if name not in uploads and (folder / name).is_file():
            uploads[name] = checked.get(name) or record(folder / name)
    _check_secrets(folder, contents, uploads)
    note, info = "", None
    try:
        info = _remote(address)
        there = states(info, folder, contents, uploads) if info else {}
        _check_remote(info, address, private, force)
    except NetworkError as error:
        if not offline_ok:
            raise
        note, there = str(error), dict.fromkeys(uploads, "unknown")
    plan = PushPlan(
        folder=folder,
        repo=repo,
        private=bool(info.private) if info else private,
        exists=None if note else info is not None,
        parent=(info.sha or "") if info else "",
        uploads=tuple(
            Upload(name, r.size or 0, r.sha256, there.get(name, "new"))  # type: ignore[arg-type]
            for name, r in uploads.items()
        ),
        card=contents[run_files.CARD].decode(),
        note=note,
    )
    return plan, contents


def _check_folder(folder: Path) -> dict[str, FileRecord]:
    """Compare a run folder with its seal; return what was measured, so that nothing is twice."""
    config = read_config(folder)
    sealed = checksum_holds(read_json(folder))
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if sealed is None or missing:
        what = f"it has no {', '.join(missing)}" if missing else "it is not sealed"
        raise SpecError(
            f"{folder} is no finished run: {what}",
            hint="finish it with --resume; weights from elsewhere become provable by "
            f"rezoo verify {folder} --record.",
        )
    if not sealed:
        raise IntegrityError(
            f"{folder / CONFIG} was changed since it was sealed",
            hint=f"rezoo verify {folder} shows what holds; --record --overwrite seals it anew.",
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
    """Return the two files that are written for the repository: the card and the config."""
    path = folder / run_files.CARD
    own = path.read_text("utf-8") if path.is_file() else ""
    card = own if own and MARK not in own else model_card(folder, repo=repo, licence=licence)
    content = read_json(folder)
    if licence and isinstance(content.get("pretrained_cfg"), dict):
        content["pretrained_cfg"]["license"] = licence
    files = dict(read_config(folder).files)
    files[run_files.CARD] = FileRecord(
        hashlib.sha256(card.encode()).hexdigest(), len(card.encode())
    )
    text = json.dumps(seal(content, files), indent=2, ensure_ascii=False, allow_nan=False)
    return {CONFIG: text.encode() + b"\n", run_files.CARD: card.encode()}


def _check_secrets(
    folder: Path, contents: Mapping[str, bytes], uploads: Mapping[str, FileRecord]
) -> None:
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    for name in uploads:
        content = contents.get(name) or (folder / name).read_bytes()
        if _SECRET.search(content) or (token and token in content):
            raise UnsafeFileError(
                f"{folder / name} holds what looks like a token or a private key",
                hint="remove it, and revoke it if it is real: it may have been copied already.",
            )


def _remote(address: Address) -> Any:
    """Return what the Hub knows of the repository, or None; the token is checked first."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise AccessError(
            "pushing needs a token, and there is none",
            hint="log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
        )
    api = HfApi(**identity())
    who = ask("the token", api.whoami)
    role = who.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise AccessError(
            f"the token of {who.get('name', 'this user')} may only read",
            hint="make one that may write, in the settings of the Hub's site.",
        )
    try:
        return ask(str(address), lambda: api.model_info(address.repo, files_metadata=True))
    except NotFoundError:
        return None


def _check_remote(info: Any, address: Address, private: bool, force: bool) -> None:
    if info is None:
        return
    if private and not info.private:
        raise IncompatibleError(
            f"{address.repo} is there and public",
            hint="choose another name, or leave --private out.",
        )
    names = {file.rfilename for file in info.siblings or ()}
    if force or run_files.CARD not in names or not info.sha:
        return
    there = address.at(info.sha)
    path = hub_fetch.fetch(there, run_files.CARD, limit=_MAX_CARD_BYTES)
    if MARK not in path.read_text("utf-8", errors="replace") and not _pushed(there, path, names):
        raise IncompatibleError(
            f"{address.repo} has a {run_files.CARD} that rezoo did not write",
            hint="--force replaces it; the old one stays in the repository's history.",
        )


def _pushed(address: Address, card: Path, names: set[str]) -> bool:
    """Whether rezoo pushed a card that is the owner's own: then the config beside it says so."""
    if CONFIG not in names:
        return False
    path = hub_fetch.fetch(address, CONFIG, limit=MAX_CONFIG_BYTES)
    try:
        listed = read_config(path.parent).files.get(run_files.CARD)
    except RezooError:
        return False
    return listed is not None and listed.sha256 == record(card).sha256


def states(
    info: Any, folder: Path, contents: Mapping[str, bytes], uploads: Mapping[str, FileRecord]
) -> dict[str, str]:
    """Compare with the repository: by SHA-256 for large files, by git's hash for others."""
    found = {}
    for file in info.siblings or ():
        if file.rfilename in uploads:
            name = file.rfilename
            content = contents.get(name)
            same = _is(file, folder / name, content, uploads[name])
            found[name] = "unchanged" if same else "changed"
    return found


def _is(file: Any, path: Path, content: bytes | None, expected: FileRecord) -> bool:
    if file.lfs is not None:
        return bool(file.lfs.sha256 == expected.sha256)
    content = path.read_bytes() if content is None else content
    return bool(file.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
