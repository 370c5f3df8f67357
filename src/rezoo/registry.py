"""Architectures, datasets and recipes by name, from entry points of rezoo and of plugins.

A distribution registers a name in its `pyproject.toml`:

```toml
[project.entry-points."rezoo.architectures"]
tinynet = "my_package.tinynet:tinynet"      # a rezoo.specs.ModelSpec
```

Names are listed without any import. The module of a name is imported when the name is used or
described. With `REZOO_DISABLE_PLUGINS=1`, only rezoo's own names exist.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Generic, TypeVar

from rezoo.errors import PluginError, PluginWarning, UnknownNameError
from rezoo.specs import DatasetSpec, ModelSpec
from rezoo.utils.names import natural_key, near, suggest
from rezoo.utils.paths import switched_on
from rezoo.utils.timm_names import NOT_BUILT, OLD_NAMES

BUILTIN = "rezoo"
DISABLE_VARIABLE = "REZOO_DISABLE_PLUGINS"
_GROUPS = "rezoo."  # prefix of all groups
_LONG_S = 5.0  # an import that takes longer is named

Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Entry:
    """One registered name and the distribution that registered it."""

    name: str
    distribution: str
    version: str
    point: EntryPoint

    @property
    def builtin(self) -> bool:
        """Whether rezoo registers it."""
        return self.distribution == BUILTIN


def plugins_disabled() -> bool:
    """Whether `REZOO_DISABLE_PLUGINS` is set."""
    return switched_on(DISABLE_VARIABLE)


class Registry(Generic[Spec]):
    """The names of one entry-point group.

    Args:
        group: The entry-point group.
        kind: "model", "dataset" or "recipe", for messages.
        spec_type: Class of the objects to which its entry points resolve.
    """

    def __init__(self, group: str, kind: str, spec_type: type[Spec]) -> None:
        self.group = group
        self.kind = kind
        self.spec_type = spec_type

    def entries(self) -> dict[str, list[Entry]]:
        """Return name → the entries that register it, in natural order of the names."""
        found: dict[str, list[Entry]] = {}
        for entry in scan(self.group):
            found.setdefault(entry.name, []).append(entry)
        return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))

    def names(self) -> list[str]:
        """Return all names in natural order, without importing anything."""
        return list(self.entries())

    def get(self, name: str) -> Spec:
        """Return the spec registered as `name`, or as `distribution:name`.

        Raises:
            UnknownNameError: The name is not registered; the hint has similar names.
            PluginError: Two distributions register the name, or the plugin does not load.
        """
        return self._load(self.find(name))

    def find(self, name: str) -> Entry:
        """Return the entry of a name without importing it; raises as `get` does."""
        entries = self.entries()
        distribution, _, bare = name.rpartition(":")
        claims = entries.get(bare, [])
        if distribution:
            claims = [e for e in claims if e.distribution == normalize(distribution)]
        elif any(e.builtin for e in claims):
            claims = [e for e in claims if e.builtin]  # a built-in cannot be shadowed
        if not claims:
            if self.kind == "model":
                _explain_name_of_timm(name, entries)
            raise UnknownNameError(f"unknown {self.kind} {name!r}", hint=self._hint(name, entries))
        if len(claims) > 1:
            owners = " and ".join(f"{e.distribution} {e.version}" for e in claims)
            raise PluginError(
                f"{self.kind} {name!r} is registered twice, by {owners}",
                hint=f"name one of them: {claims[0].distribution}:{bare}, or uninstall one.",
            )
        return claims[0]

    def describe(self) -> Iterator[tuple[Entry, Spec | None]]:
        """Yield every entry with its spec; None, with a warning, if it does not load."""
        for claims in self.entries().values():
            for entry in claims:
                try:
                    yield entry, self._load(entry)
                except PluginError as error:
                    warnings.warn(PluginWarning(f"{error} {error.hint}"), stacklevel=2)
                    yield entry, None
                else:
                    self._warn_about(entry, claims)

    def _warn_about(self, entry: Entry, claims: list[Entry]) -> None:
        if entry.builtin or len(claims) == 1:
            return
        others = [e for e in claims if e is not entry]
        if any(e.builtin for e in others):
            reason = "is rezoo's own and cannot be replaced"
        else:
            reason = f"is also registered by {' and '.join(e.distribution for e in others)}"
        warnings.warn(
            PluginWarning(
                f"{entry.distribution} registers the {self.kind} {entry.name!r}, which {reason}; "
                f"reach this one as {entry.distribution}:{entry.name}."
            ),
            stacklevel=3,
        )

    def _hint(self, name: str, known: Iterable[str]) -> str:
        if self.kind == "model" and not near(name, known):  # all of them would fill the screen
            return f"{name} is no residual network of this zoo; rezoo list --models shows all."
        words = suggest(name, known, f"The {self.kind}s are")
        return f"{words} All: rezoo list --{self.kind}s"

    def _load(self, entry: Entry) -> Spec:
        spec = load(entry)
        if not isinstance(spec, self.spec_type):
            raise PluginError(
                f"plugin {entry.distribution} {entry.version}: {entry.point.value} is a "
                f"{type(spec).__name__}, not a rezoo.specs.{self.spec_type.__name__}",
                hint=_REMEDY.format(entry.distribution),
            )
        return spec


def _explain_name_of_timm(name: str, built: Iterable[str]) -> None:
    """Raise the error for a name that only timm knows; `built` are the names of rezoo."""
    architecture = name.partition(".")[0]
    if architecture in NOT_BUILT:
        close = near(architecture, built)
        others = f"near it: {', '.join(close)}; " if close else ""
        raise UnknownNameError(
            f"unknown model {name!r}: timm's {architecture} of the family "
            f"{NOT_BUILT[architecture]}, which rezoo does not build",
            hint=f"{others}rezoo list --models shows all.",
        )
    if name in OLD_NAMES:
        raise UnknownNameError(
            f"unknown model {name!r}: timm's old name of {OLD_NAMES[name]}",
            hint=f"the architecture is {OLD_NAMES[name].partition('.')[0]}.",
        )


_REMEDY = "Update or uninstall it (pip uninstall {}), or set REZOO_DISABLE_PLUGINS=1."


def scan(group: str = "") -> tuple[Entry, ...]:
    """Return the entry points of a group, or of all, by distribution, without any import."""
    return tuple(e for e in _scan(plugins_disabled()) if group in ("", e.point.group))


@cache
def _scan(builtin_only: bool) -> tuple[Entry, ...]:
    """Read the entry points of all distributions; the first of two copies counts.

    Names and versions are read only of distributions with entry points for rezoo: reading all
    would take longer than the rest of `rezoo list`.
    """
    found: dict[str, list[Entry]] = {}
    for distribution in distributions():
        try:
            points = [p for p in distribution.entry_points if p.group.startswith(_GROUPS)]
            if not points:
                continue
            name = normalize(_field(distribution, "Name"))
            if not name or name in found or (builtin_only and name != BUILTIN):
                continue  # a stale or duplicate dist-info, or a plugin that is disabled
            version = _field(distribution, "Version") or "of no version"
            found[name] = [Entry(point.name, name, version, point) for point in points]
        except (ValueError, TypeError, KeyError, OSError) as error:
            where = getattr(distribution, "_path", "a distribution")
            text = f"the metadata of {where} are damaged and left out: {type(error).__name__}."
            warnings.warn(PluginWarning(text), stacklevel=2)
    return tuple(entry for name in sorted(found) for entry in found[name])


def _field(distribution: Distribution, key: str) -> str:
    """Return a metadata field, or "" if it is missing, which will be an error one day."""
    metadata = distribution.metadata
    return metadata[key] if key in metadata else ""  # noqa: SIM401 - the protocol has no `get`


@cache
def load(entry: Entry) -> object:
    """Import the object of an entry point; any failure is a `PluginError`."""
    who = f"plugin {entry.distribution} {entry.version}"
    try:
        if entry.builtin:
            return entry.point.load()
        with _named_if_long(who), _stdout_aside() as spoken:
            found = entry.point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
        raise PluginError(
            f"{who} does not load ({entry.point.value}): {reason.removesuffix('.')}",
            hint=_REMEDY.format(entry.distribution),
        ) from error
    if spoken:
        line = spoken[0].splitlines()[0]
        warnings.warn(PluginWarning(f"{who} printed at import: {line!r}."), stacklevel=2)
    return found


@contextlib.contextmanager
def _named_if_long(who: str) -> Iterator[None]:
    """Warn which plugin is being imported, if that takes long or never ends."""
    text = (
        f"the import of {who} takes more than {_LONG_S:.0f} s; Ctrl-C ends it, and "
        f"{DISABLE_VARIABLE}=1 leaves plugins out."
    )
    timer = threading.Timer(_LONG_S, warnings.warn, [PluginWarning(text)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _stdout_aside() -> Iterator[list[str]]:
    """Collect what is written to stdout, which is reserved for the output of commands."""
    spoken: list[str] = []
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file, io.StringIO() as text:
        os.dup2(file.fileno(), 1)
        try:
            with contextlib.redirect_stdout(text):
                yield spoken
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            said = text.getvalue() + file.read().decode(errors="replace")
            if said.strip():
                spoken.append(said.strip())


def normalize(name: str) -> str:
    """Return the normalized name of a distribution, equal for all its spellings."""
    return name.lower().replace("_", "-").replace(".", "-")


architectures: Registry[ModelSpec] = Registry("rezoo.architectures", "model", ModelSpec)
datasets: Registry[DatasetSpec] = Registry("rezoo.datasets", "dataset", DatasetSpec)
recipes: Registry[Path] = Registry("rezoo.recipes", "recipe", Path)
"""Recipes of plugins, each the path of a TOML file; rezoo's own need no entry point."""
