"""Names of models, data and classes: natural order and similar names."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

_LISTED = 40  # names in a hint


def natural_key(name: str) -> tuple[object, ...]:
    """Sort key that puts resnet18 before resnet101."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts if p)


def near(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Return up to `most` of the `known` names that are similar to `name`, best first."""
    folded = {_fold(k): k for k in known}
    wanted = _fold(name)
    hits = difflib.get_close_matches(wanted, folded, n=most, cutoff=0.6)
    return [folded[h] for h in hits]


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a hint: similar names, else the words `otherwise` and all names, or the first 40."""
    known = sorted(known, key=natural_key)
    close = near(name, known)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"{otherwise} {listed(known, _LISTED)}."


def listed(texts: Sequence[str], most: int, *, separator: str = ", ") -> str:
    """Return at most `most` texts in a line, and how many more there are."""
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def normalized(name: str) -> str:
    """Return the Unicode form NFC: an accented letter is one character, not two."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a form without case, blanks and underscores, in the Unicode form NFC."""
    return normalized("".join(normalized(name).casefold().replace("_", " ").split()))


def printable(text: str) -> str:
    """Escape control characters, which would be commands to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1: `1 class`, `2,000 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_").replace("_", "")


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
