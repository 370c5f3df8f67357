"""Read JSON and TOML from elsewhere: bounded, finite, in Unicode, and with values of known types.

Every JSON or TOML file that somebody else may have written is read here. Loads without NumPy.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rezoo.errors import IncompatibleError, IntegrityError, RezooError, UnsafeFileError
from rezoo.utils.files import read_regular
from rezoo.utils.names import is_unicode

# The names of 1,000,000 classes, the most that a network may have, take about this much.
MAX_JSON_BYTES = 8 * 1024 * 1024
# Forty times rezoo's own catalogue; Python's parser takes about a second for it.
MAX_TOML_BYTES = 1024 * 1024
# rezoo's and timm's documents have at most 6 levels; what works on values recurses.
MAX_DEPTH = 32
MAX_TEXT = 1000  # characters of a name, a licence or a tag; a page has room for fewer
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80  # characters
# TOML, NumPy and most readers of JSON have integers of 64 bits.
_INTEGERS = range(-(2**63), 2**64)
# Python's parser needs quadratic time for a key of many parts, a.a.a.a.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_PART}){{{MAX_DEPTH}}}")


def read_document(path: Path, *, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the content of a TOML file, if its name ends in `.toml`, or else of a JSON file.

    Args:
        path: A regular file, or a link to one.
        most: The largest size of a JSON file, in bytes.

    Raises:
        NotFoundError: The file does not exist or cannot be read.
        UnsafeFileError: It is not a regular file, or too large.
        IntegrityError: It is not valid.
        IncompatibleError: It is valid JSON, but not an object, or has a value that is refused.
    """
    if path.suffix == ".toml":
        return parse_toml(read_regular(path, most=MAX_TOML_BYTES), path)
    parsed = parse_json(read_regular(path, most=most), path, most=most)
    if not isinstance(parsed, dict):
        raise IncompatibleError(f"{path}: the root must be an object; it is {short(parsed)}")
    return parsed


def parse_json(content: bytes | str, origin: object, *, most: int = MAX_JSON_BYTES) -> Any:
    """Return the values of a JSON document.

    Refused are duplicate keys, more than 32 levels, numbers that are not finite or need more
    than 64 bits, and texts that are not Unicode.

    Args:
        content: The document; bytes are UTF-8.
        origin: File or place of the document, for messages.
        most: The largest length in bytes, or in characters of a text.

    Raises:
        UnsafeFileError: The document is longer than `most`.
        IntegrityError: It is not valid JSON, has duplicate keys or too many levels.
        IncompatibleError: It has one of the refused numbers or texts.
    """
    _refuse_large(content, origin, most)
    with _faults(f"{origin} is not valid JSON", origin):
        values = json.loads(
            _text(content),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_int=_integer,
        )
        _check([values])
        return values


def parse_toml(
    content: bytes | str, origin: object, *, error: type[RezooError] | None = None
) -> dict[str, Any]:
    """Return the values of a TOML document of at most 1 MiB.

    Args:
        content: The document; bytes are UTF-8.
        origin: File or place of the document, for messages.
        error: Raised for every fault but the length; if None, the errors of `parse_json`.
    """
    _refuse_large(content, origin, MAX_TOML_BYTES)
    with _faults(f"{origin} is not valid TOML", origin, error):
        text = _text(content)
        _refuse_long_keys(text)
        values = tomllib.loads(text)
        _check([values])
        return values


@contextmanager
def _faults(invalid: str, origin: object, error: type[RezooError] | None = None) -> Iterator[None]:
    try:
        yield
    except _RefusedValueError as fault:
        raise (error or IncompatibleError)(f"{origin}: {fault}") from fault
    except RecursionError as fault:
        raise (error or IntegrityError)(f"{invalid}: {_TOO_DEEP}") from fault
    except ValueError as fault:
        # Python's own limit, of thousands of digits
        reason = _TOO_LARGE if "integer string conversion" in str(fault) else fault
        raise (error or IntegrityError)(f"{invalid}: {reason}") from fault


class _RefusedValueError(ValueError):
    """A value that is valid JSON or TOML, and that nothing else could work with."""


def short(value: object) -> str:
    """Return a value for a message: on one line, and cut if it is long."""
    return _SHORT.repr(value)


def typed(mapping: Mapping[str, Any], key: str, kind: Any, default: Any = ...) -> Any:
    """Return a value of a type, or the default if the key is absent."""
    value = mapping.get(key, default)
    if value is default and default is not ...:
        return default
    if value is ...:
        raise IncompatibleError(f"key {key!r} is missing")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise IncompatibleError(f"key {key!r} has the value {short(value)} of the wrong type")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise IncompatibleError(f"key {key!r} has {len(value):,} characters; at most {MAX_TEXT}")
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
        raise IncompatibleError(f"key {key!r} must be [channels, height, width]: {short(value)}")
    return (value[0], value[1], value[2])


def numbers(cfg: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """Return a list of numbers; empty if the key is absent."""
    value = cfg.get(key, [])
    if not isinstance(value, list):
        raise IncompatibleError(f"key {key!r} must be a list of numbers: {short(value)}")
    return tuple(number(key, v) for v in value)


def number(key: str, value: Any) -> float:
    """Return a number as float."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            value = "a number out of range"
    raise IncompatibleError(f"key {key!r} must be a number: {short(value)}")


def _refuse_large(content: bytes | str, origin: object, most: int) -> None:
    if len(content) > most:
        raise UnsafeFileError(f"{origin} has {len(content):,} bytes; at most {most:,} are allowed")


def _text(content: bytes | str) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise ValueError(f"line {line} is not UTF-8") from fault


def _refuse_long_keys(toml: str) -> None:
    if _LONG_KEY.search(toml):
        raise ValueError(f"a key has more than {MAX_DEPTH} parts")


_TOO_DEEP = f"it has more than {MAX_DEPTH} levels"
_TOO_LARGE = "an integer has more than 64 bits"


def _check(values: list[Any]) -> None:
    """Raise `ValueError` for too many levels, or for a value that is refused."""
    containers: list[tuple[str, Any]] = [("", values)]
    for _ in range(MAX_DEPTH + 1):
        inner = []
        for name, container in containers:
            pairs: Iterable[tuple[str, Any]] = (
                container.items()
                if isinstance(container, dict)
                else ((name, value) for value in container)
            )
            for key, value in pairs:
                if not isinstance(value, (dict, list)):
                    _check_value(key, value)
                elif value:
                    inner.append((key, value))
        if not inner:
            return
        containers = inner
    raise ValueError(_TOO_DEEP)


def _check_value(key: str, value: Any) -> None:
    if isinstance(value, int) and value not in _INTEGERS:
        raise _RefusedValueError(f"key {short(key)}: {_TOO_LARGE}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _RefusedValueError(f"key {short(key)}: {value} is not a finite number")
    for text in (key, value):
        if isinstance(text, str) and not text.isascii() and not is_unicode(text):
            raise _RefusedValueError(f"key {short(key)}: {short(text)} is not Unicode")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {short(twice)} occurs twice")
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > 1000:  # Python's own limit is 4300, unless the environment sets another
        raise ValueError(_TOO_LARGE)
    return int(text)
