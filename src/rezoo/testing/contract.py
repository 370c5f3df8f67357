"""What a contract is made of: a subject, its checks, and the result of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rezoo import registry
from rezoo.errors import (
    MissingExtraError,
    NetworkError,
    PluginError,
    ResourceError,
    RezooError,
)
from rezoo.registry import Entry, Registry
from rezoo.testing import elsewhere

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# what `rezoo list` and `rezoo --help` must not load
HEAVY = (
    *("keras", "tensorflow", "jax", "torch", "numpy", "scipy", "sklearn", "pandas"),
    *("matplotlib", "PIL", "datasets", "tensorflow_datasets"),
)
_REGISTRIES: dict[str, Registry[Any]] = {
    r.group: r for r in (registry.architectures, registry.datasets, registry.recipes)
}


class BrokenContractError(Exception):
    """A check has found something that the contract does not allow."""


class NotCheckedError(Exception):
    """A check cannot run here; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one check.

    Attributes:
        check: Name of the check.
        outcome: `"passed"`, `"failed"` or `"skipped"`.
        text: What was found, or the reason.
        trace: Traceback of an exception in the plugin's own code; empty without one.
    """

    check: str
    outcome: str
    text: str
    trace: str = ""


Check = Callable[[Any], str]


@dataclass(frozen=True)
class Subject:
    """A registered name that is checked.

    Attributes:
        name: The name.
        entry: Where it is registered; None for rezoo's own recipes and for files.
        scratch: An empty folder for files.
    """

    name: str
    entry: Entry | None
    scratch: Path
    kind: ClassVar[str]
    group: ClassVar[str]

    @property
    def origin(self) -> str:
        """Kind and distribution in words."""
        if self.entry is None:
            return self.kind
        return f"{self.kind} of {self.entry.distribution} {self.entry.version}"


def run(check: Check, subject: Subject) -> Result:
    """Run one check of a subject; its exceptions become a result.

    Raises:
        NetworkError, ResourceError: The network, memory or disk is missing, not the plugin's fault.
    """
    name = name_of(check)
    try:
        return Result(check=name, outcome=PASSED, text=check(subject))
    except (NotCheckedError, MissingExtraError) as error:
        return Result(check=name, outcome=SKIPPED, text=str(error))
    except BrokenContractError as error:
        return Result(check=name, outcome=FAILED, text=str(error))
    except (NetworkError, ResourceError):
        raise
    except RezooError as error:
        trace = _trace(error.__cause__) if error.__cause__ else ""
        text = f"{error.message}. {error.hint}" if error.hint else error.message
        return Result(check=name, outcome=FAILED, text=text, trace=trace)
    except (Exception, SystemExit) as error:  # any of the plugin's code
        first = (str(error).strip().splitlines() or [""])[0]
        text = f"{type(error).__name__}: {first}"
        return Result(check=name, outcome=FAILED, text=text, trace=_trace(error))


def name_of(check: Check) -> str:
    """Return the name of a check in words."""
    return check.__name__.replace("_", " ")


def require(results: Mapping[str, Sequence[Result]], *, reasons: bool = True) -> None:
    """Raise `PluginError` if a check has failed.

    Args:
        results: Those of each subject.
        reasons: Whether the message has the reasons; otherwise only the names of the checks.
    """
    broken = []
    for name, found in results.items():
        bad = [f"{r.check}: {r.text}" if reasons else r.check for r in found if r.outcome == FAILED]
        if bad:
            broken.append(f"{name} fails {len(bad)} of {len(found)} checks: {'; '.join(bad)}")
    if broken:
        hint = 'the guide "Write a plugin" explains the checks.'
        raise PluginError("; ".join(broken), hint=hint)


def registration(subject: Subject) -> str:
    """The name loads, belongs to one distribution, and fits the installed rezoo."""
    entry = subject.entry
    if entry is None:
        return "not an entry point"
    named = subject.group in _REGISTRIES  # a catalogue's name is free
    others = [e for e in registry.scan(subject.group) if e.name == entry.name and e != entry]
    if named and others and not entry.builtin:
        raise BrokenContractError(
            f"{others[0].distribution} registers the {subject.kind} {entry.name!r}, too: "
            "choose another name"
        )
    if named and not _good_name(entry.name):
        raise BrokenContractError(
            f"{entry.name!r} is not a name: use a-z, 0-9 and _, and begin with a letter"
        )
    if unmet := unmet_requirement(entry):
        raise BrokenContractError(unmet)
    if named:
        _REGISTRIES[subject.group].get(f"{entry.distribution}:{entry.name}")
    else:
        registry.load(entry)
    return f"{entry.point.value} of {entry.distribution} {entry.version}"


def _good_name(name: str) -> bool:
    return name.isascii() and name.isidentifier() and name == name.lower() and name[0] != "_"


def unmet_requirement(entry: Entry) -> str:
    """Return the version of rezoo that a distribution requires, if it is not installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    installed = next(e.version for e in registry.scan("rezoo.architectures") if e.builtin)
    for text in (entry.point.dist.requires or ()) if entry.point.dist else ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        ours = registry.normalize(requirement.name) == registry.BUILTIN
        if ours and not requirement.specifier.contains(installed, prereleases=True):
            return (
                f"{entry.distribution} {entry.version} requires rezoo{requirement.specifier}; "
                f"installed is rezoo {installed}"
            )
    return ""


def import_cost(subject: Subject) -> str:
    """The module of the spec loads without Keras and the like, and prints nothing."""
    if subject.entry is None:
        return "no module"
    found = elsewhere.ask("import", subject.scratch, subject.entry.point.value)
    heavy = [name for name in HEAVY if name in found["modules"]]
    if heavy:
        raise BrokenContractError(
            f"importing {subject.entry.point.module} imports {', '.join(heavy)}, and `rezoo list` "
            "imports it: move these imports into the functions"
        )
    if found["printed"]:
        raise BrokenContractError(f"it prints when it is imported: {found['printed'][:60]!r}")
    return f"{found['ms']:.0f} ms; no {', '.join(HEAVY[:3])}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
