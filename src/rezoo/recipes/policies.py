"""Policies of random augmentation: the values of the recipe key `auto_augment`.

| text | policy |
|---|---|
| `ta_wide` | TrivialAugment, wide (Müller & Hutter 2021, arXiv:2103.10158): one operation |
| `ra` | RandAugment (Cubuk et al. 2019, arXiv:1909.13719) as in torchvision: 2 operations |
| `rand-m7-mstd0.5-inc1` | RandAugment as in timm, with timm's keys |
| `augmix`, `augmix-m3-w3-d2` | AugMix (Hendrycks et al. 2020, arXiv:1912.02781), timm's keys |
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from rezoo.errors import SpecError
from rezoo.utils.names import suggest

FULL_LEVEL = 10  # level of full strength on timm's and AugMix's scale
_UNIFORM_FROM = 100  # timm: above this standard deviation, magnitudes are uniform


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A parsed `auto_augment`. Fields that a kind does not use have their defaults."""

    kind: str  # ta_wide, ra, rand, augmix
    num_layers: int = 1  # ra, rand: consecutive operations on an image
    magnitude: int = 0  # ra: 0 to 30; rand: 0 to magnitude_max; augmix: 1 to 10
    magnitude_std: float = 0.0  # rand, augmix: inf draws uniformly up to magnitude
    magnitude_max: int = FULL_LEVEL  # rand: largest magnitude
    probability: float = 1.0  # rand: probability of each operation
    increasing: bool = False  # rand: a larger magnitude never means a weaker operation
    width: int = 0  # augmix: chains
    depth: int = 0  # augmix: operations per chain; 0: random, 1 to 3
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
    """Parse a value of `auto_augment`.

    Raises:
        SpecError: The policy or a key is unknown, a key is repeated, or a value is invalid.
    """
    kind, *parts = text.split("-")
    if kind not in _KEYS:
        raise _wrong(text, f"no policy {kind!r}", hint=suggest(kind, _KEYS, "the policies are"))
    values: dict[str, Any] = {}
    for part in parts:
        key, value = _read_part(text, kind, part)
        if key.field in values:
            raise _wrong(text, f"{part!r} sets a key that is set already")
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
        raise _wrong(text, f"{found[1]} must be an integer")
    value = int(found[2]) if key.whole else float(found[2])
    if not key.low <= value <= key.high:
        raise _wrong(text, f"{found[1]} must be {key.low} to {key.high}")
    return key, value


def _listed(keys: dict[str, _Key]) -> str:
    return ", ".join(f"{name} ({key.low} to {key.high})" for name, key in keys.items())


def _wrong(text: str, why: str, *, hint: str = "") -> SpecError:
    allowed = "allowed is ta_wide, ra, rand-m7-mstd0.5-inc1 or augmix-m3-w3, with other numbers"
    return SpecError(f"recipe key auto_augment = {text!r}: {why}; {allowed}", hint=hint)
