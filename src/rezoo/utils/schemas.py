"""Schemas of documents: the types, ranges and lengths of their values.

A schema is a `Constraint` for a single value; a list of one schema, for lists; a mapping of keys to
schemas, where keys that end in `?` may be absent and other keys are not compared; or a `Table`,
for a mapping whose keys are data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rezoo.errors import IncompatibleError
from rezoo.utils.documents import MAX_TEXT, short

MAX_ITEMS = 1000  # in a list or table of a record; a card has room for fewer


@dataclass(frozen=True)
class Constraint:
    """The values that are allowed: a test, and its description in messages."""

    allowed: Callable[[Any], bool]
    words: str


@dataclass(frozen=True)
class Table:
    """A mapping of short texts to values of one schema."""

    value: Schema


Schema = Constraint | Table | Sequence[Any] | Mapping[str, Any]


def integer(low: int, high: int) -> Constraint:
    """Return the rule of an integer within a range."""
    return Constraint(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"an integer from {low:,} to {high:,}",
    )


def real(low: float, high: float) -> Constraint:
    """Return the rule of a number within a range, which rounding may exceed by a millionth."""
    return Constraint(
        lambda v: (
            isinstance(v, (int, float))
            and not isinstance(v, bool)
            and low - 1e-6 <= v <= high + 1e-6
        ),
        f"a number from {low:g} to {high:g}",
    )


def text(most: int = MAX_TEXT, *, pattern: str = "", words: str = "") -> Constraint:
    """Return the rule of a text of at most `most` characters that matches a pattern, if given."""
    form = re.compile(pattern or r"(?s).*")
    return Constraint(
        lambda v: isinstance(v, str) and len(v) <= most and bool(form.fullmatch(v)),
        words or f"a text of at most {most:,} characters",
    )


def several(count: int, rule: Constraint) -> Constraint:
    """Return the rule of a list of so many values, such as an interval `[low, high]`."""
    return Constraint(
        lambda v: isinstance(v, list) and len(v) == count and all(map(rule.allowed, v)),
        f"{count} values, each {rule.words}",
    )


def optional(rule: Constraint) -> Constraint:
    """Return a rule that also allows null."""
    return Constraint(lambda v: v is None or rule.allowed(v), f"{rule.words}, or null")


FLAG = Constraint(lambda v: isinstance(v, bool), "true or false")
_KEY = text()


def conform(value: Any, schema: Schema, origin: object, key: str = "") -> None:
    """Compare a value with a schema.

    Args:
        value: JSON or TOML values.
        schema: The schema.
        origin: File or place of the document, for messages.
        key: Key of the value within the document, with dots; empty for the whole.

    Raises:
        IncompatibleError: A key is missing, or a value is not allowed; the message names the key.
    """
    if isinstance(schema, Constraint):
        if not schema.allowed(value):
            raise _refused(value, schema.words, origin, key)
    elif isinstance(schema, Sequence):
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise _refused(value, f"a list of at most {MAX_ITEMS} values", origin, key)
        for index, item in enumerate(value):
            conform(item, schema[0], origin, f"{key}[{index}]")
    elif not isinstance(value, Mapping):
        raise _refused(value, "an object", origin, key)
    elif isinstance(schema, Table):
        if len(value) > MAX_ITEMS:
            raise _refused(value, f"an object of at most {MAX_ITEMS} keys", origin, key)
        for name, item in value.items():
            conform(name, _KEY, origin, f"name in {key}" if key else "name")
            conform(item, schema.value, origin, f"{key}.{name}" if key else name)
    else:
        for wanted, inner in schema.items():
            name = wanted.removesuffix("?")
            place = f"{key}.{name}" if key else name
            if name in value:
                conform(value[name], inner, origin, place)
            elif name == wanted:
                raise IncompatibleError(f"{origin}: key {place} is missing")


def _refused(value: Any, words: str, origin: object, key: str) -> IncompatibleError:
    what = f"key {key}" if key else "the document"
    return IncompatibleError(f"{origin}: {what} is {short(value)}; it must be {words}")
