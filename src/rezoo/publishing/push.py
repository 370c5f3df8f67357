"""`push`: a run folder becomes a repository of the Hub, in one commit that is checked after."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.artifacts import run_files
from rezoo.artifacts.config import CONFIG
from rezoo.errors import IntegrityError, NetworkError, SpecError
from rezoo.publishing.plan import PushPlan, prepare, states
from rezoo.sources.hub_client import ask, endpoint, identity
from rezoo.utils.files import FileRecord, write_bytes

_SLOWEST = 50_000  # bytes a second, below which an upload is given up


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
    plan, contents = prepare(
        run, repo, private=private, licence=licence, force=force, offline_ok=False
    )
    if not confirm(plan):
        raise SpecError("nothing was pushed", hint="it was not confirmed.")
    url = f"{endpoint()}/{repo}"
    if plan.nothing_new and plan.exists:
        return Pushed(repo=repo, commit=plan.parent, url=url, changed=False)
    commit = _send(plan, contents, message or f"{_title(contents[CONFIG])}, by rezoo")
    _check_arrival(plan, commit, contents)
    for name in (run_files.CARD, CONFIG):  # the folder is now what the repository is
        write_bytes(plan.folder / name, contents[name])
    return Pushed(repo=repo, commit=commit, url=url, changed=True)


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
            retries=(),
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
    found = states(info, plan.folder, contents, uploads)
    return all(found.get(name) == "unchanged" for name in uploads)


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
