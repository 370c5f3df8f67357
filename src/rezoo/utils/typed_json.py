"""Read typed values from parsed JSON; every error names the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rezoo.errors import IncompatibleError


def no_constant(text: str) -> Any:
    """Refuse NaN and Infinity, which JSON does not have; for `json.loads(parse_constant=…)`."""
    raise ValueError(f"{text} is not a JSON number")


def typed(mapping: Mapping[str, Any], key: str, kind: Any, default: Any = ...) -> Any:
    """Return a value of a type, or the default if the key is absent."""
    value = mapping.get(key, default)
    if value is default and default is not ...:
        return default
    if value is ...:
        raise IncompatibleError(f"key {key!r} is missing")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise IncompatibleError(f"key {key!r} has the value {value!r} of the wrong type")
    return value


def triple(cfg: Mapping[str, Any], key: str) -> tuple[int, int, int] | None:
    """Return `[channels, height, width]`, or None if the key is absent."""
    value = cfg.get(key)
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    ):
        raise IncompatibleError(f"key {key!r} must be [channels, height, width]: {value!r}")
    return (value[0], value[1], value[2])


def numbers(cfg: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """Return a list of numbers; empty if the key is absent."""
    value = cfg.get(key, [])
    if not isinstance(value, list):
        raise IncompatibleError(f"key {key!r} must be a list of numbers: {value!r}")
    return tuple(number(key, v) for v in value)


def number(key: str, value: Any) -> float:
    """Return a number as float."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            value = "a number out of range"
    raise IncompatibleError(f"key {key!r} must be a number: {value!r}")
