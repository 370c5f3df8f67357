"""`rezoo plugin list`: what the installed plugins register, and what of it does not load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rezoo import registry
from rezoo.registry import Entry
from rezoo.testing.contract import FAILED, registration, run
from rezoo.testing.subjects import KINDS, subject_at
from rezoo.utils.names import suggest

LOADS, LOADS_NOT = "loads", "does not load"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One name of a plugin.

    Attributes:
        name: The name.
        kind: architecture, dataset, recipe or catalogue; the entry-point group if it is unknown.
        distribution: Name of the package.
        version: Version of the package.
        state: `"loads"` or `"does not load"`.
        reason: Why it does not load; empty if it does.
    """

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    reason: str


def installed() -> Iterator[Registered]:
    """Yield every name that a plugin registers, by distribution; each is imported."""
    groups = {of.group: kind for kind, of in KINDS.items()}
    for entry in registry.scan():
        if not entry.builtin:
            yield _registered(entry, groups)


def _registered(entry: Entry, groups: dict[str, str]) -> Registered:
    group = entry.point.group
    if group in groups:
        result = run(registration, subject_at(groups[group], entry, Path()))
        reason = result.text if result.outcome == FAILED else ""
    else:
        reason = f"rezoo has no group {group}. {suggest(group, groups, 'The groups are')}"
    return Registered(
        name=entry.name,
        kind=groups.get(group, group),
        distribution=entry.distribution,
        version=entry.version,
        state=LOADS_NOT if reason else LOADS,
        reason=reason,
    )
