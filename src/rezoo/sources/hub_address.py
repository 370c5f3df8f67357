"""`hf://owner/name[@revision]`: the address of a repository, checked before any request.

huggingface_hub makes paths in its cache from names and revisions without checking them. An
`Address` has no value that could lead out of the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, Self

from rezoo.errors import SpecError

SCHEMES = ("hf://", "hf-hub:")
MAIN = "main"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPO = re.compile(rf"{_PART}/{_PART}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Address:
    """A repository of the Hub, at a revision.

    Attributes:
        repo: `owner/name`.
        revision: A branch, a tag or a commit of 40 hexadecimal digits.
        kind: Whether it is a repository of models or of datasets.

    Raises:
        SpecError: The repository or the revision is not a valid name.
    """

    repo: str
    revision: str = MAIN
    kind: Literal["model", "dataset"] = "model"

    def __post_init__(self) -> None:
        if not is_repository(self.repo):
            raise SpecError(
                f"{self.repo!r} is not a repository of the Hub",
                hint="write owner/name: letters, digits, '.', '_' and '-', up to 96 each.",
            )
        if not is_revision(self.revision):
            raise SpecError(
                f"{self.revision!r} is not a revision of a repository",
                hint="write a branch, a tag, or a commit of 40 hexadecimal digits.",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `hf://owner/name[@revision]`, or timm's `hf-hub:owner/name[@revision]`."""
        bare = text
        for scheme in SCHEMES:
            bare = bare.removeprefix(scheme)
        repo, at, revision = bare.partition("@")
        if at and not revision:
            raise SpecError(f"{text!r} has no revision after the @", hint="leave the @ out.")
        return cls(repo, revision or MAIN)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose content cannot change."""
        return is_commit(self.revision)

    def at(self, revision: str) -> Self:
        """Return the same repository at another revision."""
        return replace(self, revision=revision)

    def __str__(self) -> str:
        """Return the reference; `hf://datasets/owner/name@revision` for a dataset."""
        prefix = "datasets/" if self.kind == "dataset" else ""
        return f"hf://{prefix}{self.repo}@{self.revision}"


def is_repository(text: str) -> bool:
    """Whether a text is a valid name of a repository, `owner/name`."""
    return bool(_REPO.fullmatch(text)) and ".." not in text and "--" not in text


def is_commit(text: object) -> bool:
    """Whether a value is a commit: 40 lower-case hexadecimal digits."""
    return isinstance(text, str) and bool(_COMMIT.fullmatch(text))


def is_revision(text: str) -> bool:
    """Whether a text is a valid name of a branch, a tag or a commit."""
    return (
        len(text) <= 200
        and bool(_REF.fullmatch(text))
        and ".." not in text
        and not text.endswith((".", ".lock"))
    )


def is_address(text: str) -> bool:
    """Whether a model reference is an address of the Hub."""
    return text.startswith(SCHEMES)
