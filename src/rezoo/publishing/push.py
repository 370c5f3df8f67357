"""`push`: publish a run folder as a repository of the Hub, in one commit that is then checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import read_config
from rezoo.errors import IntegrityError, NetworkError, SpecError
from rezoo.publishing.plan import PushPlan, compare, plan_push
from rezoo.sources.hub_address import Address
from rezoo.sources.hub_client import endpoint, hub_errors, open_api, repository
from rezoo.sources.references import WithFolder, local_folder
from rezoo.utils.files import write_bytes
from rezoo.utils.lock import locked


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The result of `push`.

    Attributes:
        repo: `owner/name`.
        commit: The commit of the repository's main branch, 40 hexadecimal digits.
        url: The repository's page.
        changed: Whether a commit was made.
    """

    repo: str
    commit: str
    url: str
    changed: bool

    @property
    def reference(self) -> str:
        """The model reference with the commit, which always means this content."""
        return f"hf://{self.repo}@{self.commit}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**vars(self), "reference": self.reference}


def push(
    run: str | Path | WithFolder,
    repo: str,
    *,
    private: bool = False,
    licence: str = "",
    force: bool = False,
    message: str = "",
    confirm: Callable[[PushPlan], bool] = lambda plan: True,
) -> Pushed:
    """Publish a run folder as a repository of the Hub, in one commit.

    Only the files in the manifest of a run are pushed; others in the folder are not. The card
    is written for the repository, unless it was edited by hand. The report is pushed without
    paths and, unless their licence lets them travel, without photographs. After an interruption,
    call it again: files that have arrived are not sent twice. The token is read from `HF_TOKEN` or
    from `hf auth login`.

    Args:
        run: The folder of a finished run, the result of `train`, or a folder that
            `rezoo verify --record` has prepared.
        repo: `owner/name`; created if it does not exist.
        private: Create a private repository.
        licence: Licence of the weights as the Hub spells it (`apache-2.0`); if empty, that of
            the base weights.
        force: Replace a README.md of the repository that rezoo did not write.
        message: Commit message.
        confirm: Called with the plan before anything is sent; False stops.

    Raises:
        AccessError: No token, or one that may not write.
        NetworkError: The Hub is not reached.
        IntegrityError: The folder differs from its manifest or is changed meanwhile, or the
            repository differs from what was sent.
        UnsafeFileError: A file contains what looks like a secret, or is not a regular file.
        IncompatibleError: The repository changed meanwhile, or rezoo did not write its card.
        SpecError: The folder is not a finished run, or an argument is not allowed.
        RunLockedError: Another process changes the folder, such as a training.
    """
    folder = local_folder(run)
    read_config(folder)  # a folder without a network is an error before it is locked
    with locked(folder, what="pushing"):
        plan = plan_push(folder, repo, private=private, licence=licence, force=force)
        return _push(plan, message, confirm)


def _push(plan: PushPlan, message: str, confirm: Callable[[PushPlan], bool]) -> Pushed:
    if not confirm(plan):
        raise SpecError("nothing was pushed", hint="it was not confirmed.")
    repo, url = plan.repo, f"{endpoint()}/{plan.repo}"
    if plan.exists and all(upload.state == "unchanged" for upload in plan.uploads):
        return Pushed(repo=repo, commit=plan.parent, url=url, changed=False)
    plan.contents.refuse_changed()
    commit = _send(plan, message or f"{read_config(plan.folder).architecture}, by rezoo")
    if not _has_all(plan, repository(Address(repo, commit), sizes=True)):
        raise IntegrityError(
            f"hf://{repo}@{commit} is not what was sent",
            hint="push again; nobody should use that commit.",
        )
    for name, content in plan.contents.kept.items():  # as in the repository, but for the report
        write_bytes(plan.folder / name, content)
    return Pushed(repo=repo, commit=commit, url=url, changed=True)


def _send(plan: PushPlan, message: str) -> str:
    from huggingface_hub import CommitOperationAdd

    address, parent = Address(plan.repo), plan.parent
    if not plan.exists:
        with hub_errors(str(address)):
            open_api().create_repo(plan.repo, private=plan.private, exist_ok=True)
        parent = repository(address).sha or ""
    files = plan.contents.files
    operations = [
        CommitOperationAdd(path_in_repo=upload.name, path_or_fileobj=files[upload.name])
        for upload in plan.uploads
        if upload.state != "unchanged"
    ]
    try:
        with hub_errors(str(address)):
            done = open_api().create_commit(
                plan.repo, operations, commit_message=message, parent_commit=parent or None
            )
    except NetworkError:
        # perhaps the commit was made and only the answer was lost
        head = repository(address, sizes=True)
        if head.sha == parent or not _has_all(plan, head):
            raise
        return str(head.sha)
    return str(done.oid)


def _has_all(plan: PushPlan, info: Any) -> bool:
    states = compare(info, plan.contents)
    return all(states.get(name) == "unchanged" for name in plan.contents.files)
