"""`push`: a run folder becomes a repository of the Hub, in one commit that is checked after."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rezoo import records
from rezoo.card import MARK, model_card
from rezoo.configs import CONFIG, WEIGHTS, checksum_holds, read_config, read_json, seal
from rezoo.errors import (
    AccessError,
    IncompatibleError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.files import FileRecord, record, write_bytes
from rezoo.hub import fetch
from rezoo.hub.address import Address
from rezoo.hub.client import ask, identity

_NEEDED = (CONFIG, WEIGHTS, records.REFERENCE)
_SECRET = re.compile(rb"hf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_SLOWEST = 50_000  # bytes a second, below which an upload is given up
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
MAX_CARD_BYTES = 4 * 1024 * 1024


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


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The result of `push`.

    Attributes:
        repo: `owner/name`.
        commit: What the repository's main branch is now.
        url: Its page.
        changed: Whether a commit was made.
    """

    repo: str
    commit: str
    url: str
    changed: bool

    @property
    def reference(self) -> str:
        """The model reference that means exactly this content, for ever."""
        return f"hf://{self.repo}@{self.commit}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**vars(self), "reference": self.reference}


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
    return _prepare(run, repo, private, licence, force, offline_ok)[0]


def push(
    run: str | Path,
    repo: str,
    *,
    private: bool = False,
    licence: str = "",
    force: bool = False,
    message: str = "",
    confirm: Callable[[PushPlan], bool] = lambda plan: True,
) -> Pushed:
    """Publish a run folder as a repository of the Hub, in one commit.

    What is pushed are the files that a run folder consists of, and nothing else that may lie
    there. The card is written for the repository; one of your own stays as it is. A push that
    was cut off is simply done again: what has arrived is not sent twice. The token is that of
    `HF_TOKEN` or of `hf auth login`.

    Args:
        run: A finished run folder, or a folder that `rezoo verify --record` has sealed.
        repo: `owner/name`; created if it is not there.
        private: Create a private repository.
        licence: Of the weights, as the Hub spells it (`apache-2.0`); that of the base weights
            where not given.
        force: Replace a README.md there that rezoo did not write.
        message: Of the commit.
        confirm: Called with the plan before anything is sent; False stops.

    Raises:
        AccessError: No token, or one that may not write.
        NetworkError: The Hub is not reached.
        IntegrityError: The folder is not as it was sealed, or what arrived differs.
        UnsafeFileError: A file holds what looks like a secret.
        IncompatibleError: The repository changed meanwhile, or has a card of someone else's.
        SpecError: The folder is no finished run, or an argument is not allowed.
    """
    plan, contents = _prepare(run, repo, private, licence, force, offline_ok=False)
    if not confirm(plan):
        raise SpecError("nothing was pushed", hint="it was not confirmed.")
    url = f"{_endpoint()}/{repo}"
    if plan.nothing_new and plan.exists:
        return Pushed(repo=repo, commit=plan.parent, url=url, changed=False)
    commit = _send(plan, contents, message or f"{_title(contents[CONFIG])}, by rezoo")
    _check_arrival(plan, commit, contents)
    for name in (records.CARD, CONFIG):  # the folder is now what the repository is
        write_bytes(plan.folder / name, contents[name])
    return Pushed(repo=repo, commit=commit, url=url, changed=True)


def _prepare(
    run: str | Path, repo: str, private: bool, licence: str, force: bool, offline_ok: bool
) -> tuple[PushPlan, dict[str, bytes]]:
    folder = Path(run).expanduser()
    address = Address(repo)
    if licence and not _LICENCE.fullmatch(licence):
        raise SpecError(f"licence: {licence!r}; write it as the Hub does, such as apache-2.0")
    _check_folder(folder)
    contents = _contents(folder, repo, licence)
    uploads = {n: FileRecord(hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()}
    for name in records.PUBLISHED:
        if name not in uploads and (folder / name).is_file():
            uploads[name] = record(folder / name)
    _check_secrets(folder, contents, uploads)
    note, info = "", None
    try:
        info = _remote(address)
        there = _states(info, folder, contents, uploads) if info else {}
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
        card=contents[records.CARD].decode(),
        note=note,
    )
    return plan, contents


def _check_folder(folder: Path) -> None:
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
    for name, expected in config.files.items():
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder} has no {name}, which its {CONFIG} lists")
        found = record(folder / name)
        if name != records.CARD:  # a card may be edited by hand
            expected.check(folder / name, size=found.size or 0, sha256=found.sha256)


def _contents(folder: Path, repo: str, licence: str) -> dict[str, bytes]:
    """Return the two files that are written for the repository: the card and the config."""
    path = folder / records.CARD
    own = path.read_text("utf-8") if path.is_file() else ""
    card = own if own and MARK not in own else model_card(folder, repo=repo, licence=licence)
    content = read_json(folder)
    if licence and isinstance(content.get("pretrained_cfg"), dict):
        content["pretrained_cfg"]["license"] = licence
    files = dict(read_config(folder).files)
    files[records.CARD] = FileRecord(hashlib.sha256(card.encode()).hexdigest(), len(card.encode()))
    text = json.dumps(seal(content, files), indent=2, ensure_ascii=False, allow_nan=False)
    return {CONFIG: text.encode() + b"\n", records.CARD: card.encode()}


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
    if force or records.CARD not in names or not info.sha:
        return
    path = fetch.fetch(address.at(info.sha), records.CARD, limit=MAX_CARD_BYTES)
    if MARK not in path.read_text("utf-8", errors="replace"):
        raise IncompatibleError(
            f"{address.repo} has a {records.CARD} that rezoo did not write",
            hint="--force replaces it; the old one stays in the repository's history.",
        )


def _states(
    info: Any, folder: Path, contents: Mapping[str, bytes], uploads: Mapping[str, FileRecord]
) -> dict[str, str]:
    """Compare with the repository: by SHA-256 for large files, by git's hash for others."""
    states = {}
    for file in info.siblings or ():
        if file.rfilename in uploads:
            name = file.rfilename
            content = contents.get(name)
            same = _is(file, folder / name, content, uploads[name])
            states[name] = "unchanged" if same else "changed"
    return states


def _is(file: Any, path: Path, content: bytes | None, expected: FileRecord) -> bool:
    if file.lfs is not None:
        return bool(file.lfs.sha256 == expected.sha256)
    content = path.read_bytes() if content is None else content
    return bool(file.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


def _send(plan: PushPlan, contents: Mapping[str, bytes], message: str) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(**identity())
    what = f"hf://{plan.repo}"
    parent = plan.parent
    if not plan.exists:
        ask(what, lambda: api.create_repo(plan.repo, private=plan.private, exist_ok=True))
        parent = ask(what, lambda: api.model_info(plan.repo)).sha or ""
    operations = [
        CommitOperationAdd(
            path_in_repo=upload.name,
            path_or_fileobj=contents.get(upload.name) or plan.folder / upload.name,
        )
        for upload in plan.uploads
        if upload.state != "unchanged"
    ]
    size = sum(upload.size for upload in plan.uploads)
    try:
        done = ask(
            what,
            lambda: api.create_commit(
                plan.repo, operations, commit_message=message, parent_commit=parent or None
            ),
            longest_s=size / _SLOWEST,
        )
    except NetworkError:
        # the commit may have been made and only its answer lost
        head = ask(what, lambda: api.model_info(plan.repo, files_metadata=True))
        if head.sha == parent or not _has_all(plan, head, contents):
            raise
        return str(head.sha)
    return str(done.oid)


def _has_all(plan: PushPlan, info: Any, contents: Mapping[str, bytes]) -> bool:
    uploads = {u.name: FileRecord(u.sha256, u.size) for u in plan.uploads}
    states = _states(info, plan.folder, contents, uploads)
    return all(states.get(name) == "unchanged" for name in uploads)


def _check_arrival(plan: PushPlan, commit: str, contents: Mapping[str, bytes]) -> None:
    """Compare what the Hub has now with what was to be sent."""
    from huggingface_hub import HfApi

    api = HfApi(**identity())
    what = f"hf://{plan.repo}@{commit}"
    info = ask(what, lambda: api.model_info(plan.repo, revision=commit, files_metadata=True))
    if not _has_all(plan, info, contents):
        raise IntegrityError(
            f"{what} is not what was sent", hint="push again; nobody should use that commit."
        )


def _title(config: bytes) -> str:
    return str(json.loads(config)["architecture"])


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
