"""The recipe key `auto_augment`: which random operations change a training image, and how much.

| text | policy |
|---|---|
| `ta_wide` | TrivialAugment, wide (Müller & Hutter 2021, arXiv:2103.10158): one operation |
| `ra` | RandAugment (Cubuk et al. 2019, arXiv:1909.13719) as in torchvision: 2 operations |
| `rand-m7-mstd0.5-inc1` | RandAugment as in timm, in timm's words |
| `augmix`, `augmix-m3-w3-d2` | AugMix (Hendrycks et al. 2020, arXiv:1912.02781), in timm's words |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from rezoo.errors import SpecError
from rezoo.utils.names import suggest

FULL_LEVEL = 10  # of timm's and AugMix's scale: the level at which an operation is at full strength
_UNIFORM_FROM = 100  # timm: a standard deviation above it means "evenly spread"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A checked `auto_augment`. A field that a kind does not name stays at its default."""

    kind: str  # ta_wide, ra, rand, augmix
    num_layers: int = 1  # ra, rand: operations on one image, one after the other
    magnitude: int = 0  # ra: 0 to 30; rand: 0 to magnitude_max; augmix: 1 to 10
    magnitude_std: float = 0.0  # rand, augmix: of a normal draw; inf: even draws up to magnitude
    magnitude_max: int = FULL_LEVEL  # rand: draws are clipped to it
    probability: float = 1.0  # rand: of each operation
    increasing: bool = False  # rand: a larger magnitude never means a weaker operation
    width: int = 0  # augmix: chains
    depth: int = 0  # augmix: operations in a chain; 0: drawn for each, 1 to 3
    alpha: float = 0.0  # augmix: of the Dirichlet and the Beta distribution


class _Key(NamedTuple):
    field: str
    whole: bool
    low: float
    high: float


_DEFAULTS = {
    "ta_wide": Policy(kind="ta_wide"),
    "ra": Policy(kind="ra", num_layers=2, magnitude=9),
    "rand": Policy(kind="rand", num_layers=2, magnitude=10, probability=0.5),
    "augmix": Policy(kind="augmix", magnitude=3, magnitude_std=math.inf, width=3, alpha=1.0),
}

_KEYS: dict[str, dict[str, _Key]] = {
    "ta_wide": {},
    "ra": {},
    "rand": {
        "m": _Key("magnitude", True, 0, 100),
        "n": _Key("num_layers", True, 1, 15),
        "mstd": _Key("magnitude_std", False, 0, 1000),
        "mmax": _Key("magnitude_max", True, 1, 100),
        "inc": _Key("increasing", True, 0, 1),
        "p": _Key("probability", False, 0.001, 1),
    },
    "augmix": {
        "m": _Key("magnitude", True, 1, FULL_LEVEL),
        "w": _Key("width", True, 1, 10),
        "d": _Key("depth", True, 1, 10),
        "a": _Key("alpha", False, 0.01, 100),
        "mstd": _Key("magnitude_std", False, 0, 1000),
    },
}


def parse_policy(text: str) -> Policy:
    """Read a value of `auto_augment`.

    Raises:
        SpecError: An unknown policy (with near ones), an unknown, doubled or malformed part, a
            value out of bounds.
    """
    kind, *parts = text.split("-")
    if kind not in _KEYS:
        raise _wrong(text, f"no policy {kind!r}", hint=suggest(kind, _KEYS, "the policies are"))
    values: dict[str, Any] = {}
    for part in parts:
        key, value = _read_part(text, kind, part)
        if key.field in values:
            raise _wrong(text, f"{part!r} sets a key for the second time")
        values[key.field] = value
    if values.get("magnitude_std", 0.0) > _UNIFORM_FROM:
        values["magnitude_std"] = math.inf
    if "increasing" in values:
        values["increasing"] = bool(values["increasing"])
    policy = Policy(**{**vars(_DEFAULTS[kind]), **values})
    if kind == "rand" and policy.magnitude > policy.magnitude_max:
        above = f"m{policy.magnitude} is above mmax{policy.magnitude_max}"
        raise _wrong(text, above, hint=f"Add -mmax{policy.magnitude} or lower m.")
    return policy


def _read_part(text: str, kind: str, part: str) -> tuple[_Key, float]:
    keys = _KEYS[kind]
    found = re.fullmatch(r"([a-z]+)([0-9]{1,9}(?:\.[0-9]{1,9})?)", part, re.ASCII)
    if found is None or found[1] not in keys:
        if not keys:
            raise _wrong(text, f"{kind} takes no keys")
        raise _wrong(text, f"cannot read {part!r}; {kind} takes {_listed(keys)}")
    key = keys[found[1]]
    if key.whole and "." in found[2]:
        raise _wrong(text, f"{found[1]} must be a whole number")
    value = int(found[2]) if key.whole else float(found[2])
    if not key.low <= value <= key.high:
        raise _wrong(text, f"{found[1]} must be {key.low} to {key.high}")
    return key, value


def _listed(keys: dict[str, _Key]) -> str:
    return ", ".join(f"{name} ({key.low} to {key.high})" for name, key in keys.items())


def _wrong(text: str, why: str, *, hint: str = "") -> SpecError:
    allowed = "allowed is ta_wide, ra, rand-m7-mstd0.5-inc1 or augmix-m3-w3, with other numbers"
    return SpecError(f"recipe key auto_augment = {text!r}: {why}; {allowed}", hint=hint)
