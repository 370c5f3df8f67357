"""Catalogues of published weights: rezoo's own, a team's, and those of plugins.

A catalogue is a TOML file of `[[weights]]` entries, such as rezoo's `weights.toml`. The first
entry of a name counts, in this order:

1. the files in the environment variable `REZOO_CATALOGUE`;
2. rezoo's own;
3. those that distributions register in the entry-point group `rezoo.catalogues` (a path, or a
   function that returns one). If two distributions list one name, it is ambiguous without
   `distribution:arch.tag`.

Loads without Keras and NumPy.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rezoo import registry
from rezoo.errors import (
    NotFoundError,
    PluginError,
    PluginWarning,
    RezooError,
    SpecError,
    UnknownNameError,
    UnsafeFileError,
)
from rezoo.sources.hub_address import Address
from rezoo.specs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, WeightsSpec
from rezoo.utils.documents import MAX_TEXT, MAX_TOML_BYTES, parse_toml, short
from rezoo.utils.files import is_sha256, read_regular
from rezoo.utils.names import natural_key, near, suggest
from rezoo.utils.paths import expanded

VARIABLE = "REZOO_CATALOGUE"
BUILTIN = "rezoo"
_REQUIRED = ("arch", "tag", "repo", "licence")
# keys that `WeightsSpec` has under the same name
_PLAIN = (
    *("tag", "repo", "commit", "sha256", "licence"),
    *("num_classes", "macs", "default", "extra_data", "note"),
)
_FIGURES = ("top1_test_size", "top5_test_size", "top1_train_size", "top5_train_size")
_KEYS: dict[str, type] = {
    **dict.fromkeys((*_REQUIRED, "commit", "sha256", "crop_mode", "interpolation"), str),
    **dict.fromkeys(("extra_data", "note"), str),
    **dict.fromkeys(("bytes", "num_classes", "train_size", "test_size", "macs"), int),
    **dict.fromkeys(("crop_pct", "test_crop_pct", *_FIGURES), float),
    **dict.fromkeys(("mean", "std"), list),
    "default": bool,
}


def list_weights(architecture: str | None = None) -> list[str]:
    """Return the names of published weights, `arch.tag`, of one architecture or of all."""
    return [spec.name for spec in describe() if architecture in (None, spec.architecture)]


def describe() -> list[WeightsSpec]:
    """Return the first entry of each name, in natural order; defaults come first."""
    found: dict[str, WeightsSpec] = {}
    defaults: set[str] = set()
    for spec in _all():
        if spec.default and spec.architecture in defaults:
            spec = replace(spec, default=False)  # an earlier catalogue has one
        if spec.default:
            defaults.add(spec.architecture)
        found.setdefault(spec.name, spec)
    return sorted(found.values(), key=lambda s: (natural_key(s.architecture), not s.default, s.tag))


def get(name: str) -> WeightsSpec:
    """Return the entry of `arch.tag`, or of `distribution:arch.tag`.

    Raises:
        UnknownNameError: No such entry; the hint has similar names.
        PluginError: Two plugins list it.
        SpecError: A catalogue file is not valid.
    """
    distribution, _, bare = name.rpartition(":")
    owner = registry.normalize(distribution)
    claims = [s for s in _all() if s.name == bare and owner in ("", s.catalogue)]
    if not claims:
        known = [s.name for s in _all()]
        close = [other for other in known if other.startswith(name)][:3] or near(name, known)
        guess = f"Did you mean {' or '.join(close)}? " if close else ""
        raise UnknownNameError(
            f"unknown weights {name!r}", hint=f"{guess}rezoo list --weights shows all."
        )
    first, *others = claims
    if first.catalogue in _plugins() and others:
        owners = " and ".join(s.catalogue for s in claims)
        raise PluginError(
            f"weights {bare!r} are listed twice, by {owners}",
            hint=f"name one of them: {first.catalogue}:{bare}",
        )
    return first


def default(architecture: str) -> WeightsSpec:
    """Return the weights that `pretrained=True` means, or raise `NotFoundError`."""
    known = [s for s in _all() if s.architecture == architecture]
    for spec in known:
        if spec.default:
            return spec
    names = ", ".join(dict.fromkeys(s.name for s in known))
    raise NotFoundError(
        f"there are no default weights of {architecture}",
        hint=f"its weights are {names}." if names else "all weights: rezoo list --weights",
    )


def of_repository(repo: str) -> WeightsSpec | None:
    """Return the first entry of a repository with a SHA-256; None if there is none."""
    return next((s for s in _all() if s.repo == repo and s.sha256), None)


def _all() -> Iterator[WeightsSpec]:
    for path in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        yield from read(str(expanded(path)), path)
    yield from read(str(files("rezoo.sources") / "weights.toml"), BUILTIN)
    for name, paths in _plugins().items():
        for path in paths:
            yield from read(path, name)


@cache
def _plugins() -> dict[str, list[str]]:
    """Return distribution → paths of its catalogues; one that does not load gives a warning."""
    found: dict[str, list[str]] = {}
    for entry in registry.scan("rezoo.catalogues"):
        try:
            path = path_of(entry)
            read(path, entry.distribution)
            found.setdefault(entry.distribution, []).append(path)
        except RezooError as error:
            warnings.warn(PluginWarning(f"{error} It is left out."), stacklevel=2)
    return found


def path_of(entry: registry.Entry) -> str:
    """Return the path of the catalogue that a distribution registers."""
    value = registry.load(entry)
    return str(value() if callable(value) else value)


def read(path: str, catalogue: str) -> tuple[WeightsSpec, ...]:
    """Return the entries of a file; `catalogue` is its name in them.

    Raises:
        NotFoundError: The file cannot be read.
        SpecError: It is not valid TOML, or has keys or values that are not allowed.
    """
    try:
        stamp = os.stat(path).st_mtime_ns
    except OSError as error:
        raise NotFoundError(
            f"cannot read the catalogue {path}: {error.strerror}", hint=f"check {VARIABLE}."
        ) from error
    return _parse(path, catalogue, stamp)


@cache
def _parse(path: str, catalogue: str, stamp: int) -> tuple[WeightsSpec, ...]:
    what = f"the catalogue {path}"
    content = read_regular(Path(path), most=MAX_TOML_BYTES, what=what)
    values = parse_toml(content, what, error=SpecError)
    if values.get("format_version", 1) != 1:
        raise SpecError(
            f"the catalogue {path} has format_version {short(values['format_version'])}"
        )
    entries = values.get("weights", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise SpecError(f"the catalogue {path} has no [[weights]]")
    specs = []
    for number, entry in enumerate(entries, start=1):
        try:
            specs.append(replace(_spec(entry), catalogue=catalogue))
        except SpecError as error:
            raise SpecError(f"the catalogue {path}, entry {number}: {error}") from error
    return tuple(specs)


def _spec(entry: Mapping[str, Any]) -> WeightsSpec:
    for key in _REQUIRED:
        if key not in entry:
            raise SpecError(f"key {key!r} is missing")
    for key, value in entry.items():
        if key not in _KEYS:
            raise SpecError(f"unknown key {short(key)}; {suggest(key, _KEYS, 'the keys are')}")
        kinds = (int, float) if _KEYS[key] is float else _KEYS[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and _KEYS[key] is not bool):
            raise SpecError(f"{key} = {short(value)} has the wrong type")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise SpecError(f"{key} has {len(value):,} characters; at most {MAX_TEXT:,}")
    top1, top5, top1_train, top5_train = (_fraction(key, entry.get(key)) for key in _FIGURES)
    spec = WeightsSpec(
        architecture=entry["arch"],
        size=entry.get("bytes"),
        preprocessing=_preprocessing(entry),
        top1=top1_train if top1 is None else top1,
        top5=top5_train if top5 is None else top5,
        top1_train_size=top1_train,
        top5_train_size=top5_train,
        **{key: entry[key] for key in _PLAIN if key in entry},
    )
    _check(spec)
    return spec


def _check(spec: WeightsSpec) -> None:
    try:
        address = Address(spec.repo, spec.commit or "main")
    except SpecError as error:  # a file must not lead out of the cache
        raise UnsafeFileError(f"a catalogue names {error}") from error
    if spec.commit and not address.pinned:
        raise SpecError(f"commit = {spec.commit!r}; it must be 40 hexadecimal digits")
    if spec.sha256 and not is_sha256(spec.sha256):
        raise SpecError(f"sha256 = {spec.sha256!r}; it must be 64 hexadecimal digits")
    if spec.default and not spec.sha256:
        raise SpecError(f"{spec.name} is a default without a sha256")
    if spec.default and spec.non_commercial:
        raise SpecError(f"{spec.name} is a default, and its licence forbids commercial use")


def _preprocessing(entry: Mapping[str, Any]) -> Preprocessing:
    mean, std = (
        _numbers(key, entry.get(key, default))
        for key, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD))
    )
    train = entry.get("train_size", 224)
    test = entry.get("test_size")
    return Preprocessing(
        input_size=(len(mean), train, train),
        crop_pct=entry.get("crop_pct", 0.875),
        crop_mode=entry.get("crop_mode", "center"),
        interpolation=entry.get("interpolation", "bilinear"),
        mean=mean,
        std=std,
        test_input_size=(len(mean), test, test) if test else None,
        test_crop_pct=entry.get("test_crop_pct"),
    )


def _numbers(key: str, values: Sequence[Any]) -> tuple[float, ...]:
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise SpecError(f"{key} = {short(values)}; it must be a list of numbers")
    return tuple(values)


def _fraction(key: str, percentage: float | None) -> float | None:
    if percentage is None:
        return None
    if not 0 <= percentage <= 100:
        raise SpecError(f"{key} = {percentage}; it must be a percentage")
    return round(percentage / 100, 6)
