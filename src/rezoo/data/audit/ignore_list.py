"""`ignore.txt`: the examples that a dataset is better without, one key a line.

Undecodable files, and of each picture that stands several times all but one. What is kept is the
copy in test, else the one in val, else the largest: a test split must not change because of
what is in train. Where the copies have several labels nobody but a person can say which is
right, so these lines are commented out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rezoo.data.audit.findings import Findings, Group
from rezoo.utils.names import printable

MARK = "# rezoo data check wrote this"
_HEAD = (
    "# One example a line; a line that begins with # is a comment. Nothing was removed.",
    "# Edit it as you like: rezoo does not write over a file that was edited.",
)


def ignore_text(findings: Findings) -> str:
    """Return the file's content."""
    body = "\n".join((*_HEAD, *_lines(findings), ""))
    return f"{MARK}, sha256 {_digest(body)}\n{body}"


def is_unedited(text: str) -> bool:
    """Whether a file is as rezoo wrote it."""
    first, _, body = text.partition("\n")
    return first == f"{MARK}, sha256 {_digest(body)}"


def can_be_listed(key: str) -> bool:
    """Whether a key stays itself as a line of a text file."""
    return bool(key) and key == key.strip() and key[0] != "#" and len(key.splitlines()) == 1


def ignored(findings: Findings) -> list[str]:
    """Return the keys that the file lists and that are not commented out."""
    return [line for line in _lines(findings) if line and not line.startswith("#")]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _lines(findings: Findings) -> Iterator[str]:
    if findings.undecodable:
        yield from ("", "# cannot be decoded")
        for example in findings.undecodable:
            yield _comment(example.note)
            yield _line(example.key)
    agreeing = [g for g in findings.groups if len(g.labels) == 1]
    if agreeing:
        yield from ("", "# the same picture as the one named above it")
        for group in agreeing:
            yield from _group(group)
    if len(agreeing) < len(findings.groups):
        yield from ("", "# the same picture with several labels: decide, and take the # away")
        for group in findings.groups:
            if len(group.labels) > 1:
                yield _comment(f"{group.kind}:")
                yield from (f"# {_quoted(m.key)}  ({m.split}, {m.label})" for m in group.members)


def _group(group: Group) -> Iterator[str]:
    kept, *others = group.members
    yield _comment(f"{group.kind}: {kept.key} ({kept.split}) stays")
    yield from (_line(other.key) for other in others)


def _line(key: str) -> str:
    if can_be_listed(key):
        return key
    return _comment(f"this name cannot stand in a list, rename it: {key!r}")


def _comment(text: str) -> str:
    return f"# {_quoted(text)}"


def _quoted(text: str) -> str:
    return " ".join(printable(text).split("\n"))
