"""What a push would send: the folder, the Hub and the card are checked before it begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rezoo.artifacts import run_files
from rezoo.artifacts.card import MARK
from rezoo.artifacts.config import CONFIG, read_config
from rezoo.errors import (
    AccessError,
    IncompatibleError,
    NetworkError,
    NotFoundError,
    RezooError,
    SpecError,
)
from rezoo.publishing.contents import Contents, read_contents
from rezoo.sources import hub_fetch
from rezoo.sources.hub_address import Address
from rezoo.sources.hub_client import hub_errors, open_api, repository
from rezoo.sources.references import WithFolder, local_folder
from rezoo.utils.documents import MAX_JSON_BYTES
from rezoo.utils.files import record

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
        contents: The bytes of the files.
        note: Why the Hub was not reached; empty if it was.
    """

    folder: Path
    repo: str
    private: bool
    exists: bool | None
    parent: str
    uploads: tuple[Upload, ...]
    contents: Contents
    note: str = ""

    @property
    def card(self) -> str:
        """The model card."""
        return self.contents.files[run_files.CARD].decode()

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
    contents = read_contents(folder, repo, licence)
    note, info = "", None
    try:
        info = _existing(address)
        if info is not None:
            _check_existing(info, address.at(info.sha or address.revision), private, force)
        states = compare(info, contents)
    except NetworkError as error:
        if not offline_ok:
            raise
        note, states = str(error), dict.fromkeys(contents.files, "unknown")
    return PushPlan(
        folder=folder,
        repo=repo,
        private=bool(info.private) if info else private,
        exists=None if note else info is not None,
        parent=(info.sha or "") if info else "",
        uploads=tuple(
            Upload(name, known.size or 0, known.sha256, states.get(name, "new"))  # type: ignore[arg-type]
            for name, known in contents.records.items()
        ),
        contents=contents,
        note=note,
    )


def compare(info: Any, contents: Contents) -> dict[str, str]:
    """Return name → "unchanged" or "changed", for each file that the repository has.

    Large files are compared by their SHA-256, the others by the hash of git.
    """
    from huggingface_hub.utils.sha import git_hash

    found = {}
    for file in info.siblings or () if info else ():
        name = file.rfilename
        if name in contents.files:
            if file.lfs is not None:
                same = file.lfs.sha256 == contents.records[name].sha256
            else:
                same = file.blob_id == git_hash(contents.files[name])
            found[name] = "unchanged" if same else "changed"
    return found


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
    path = hub_fetch.fetch(address, CONFIG, limit=MAX_JSON_BYTES)
    try:
        listed = read_config(path.parent).files.get(run_files.CARD)
    except RezooError:
        return False
    return listed is not None and listed.sha256 == record(card).sha256
