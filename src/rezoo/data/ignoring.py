"""Lists of examples that are left out: `--ignore FILE`."""

from __future__ import annotations

import warnings
from pathlib import Path

from rezoo.data.examples import Splits
from rezoo.errors import DataWarning, NotFoundError


def read_ignored(path: str | Path) -> set[str]:
    """Return the keys in a list: one a line, UTF-8; lines that begin with # are remarks.

    Raises:
        NotFoundError: The file cannot be read.
    """
    try:
        lines = Path(path).expanduser().read_text("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise NotFoundError(
            f"cannot read the list {path}: {error.strerror}",
            hint="`rezoo data check` writes one.",
        ) from error
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def drop_ignored(splits: Splits, path: str | Path) -> Splits:
    """Return the splits without the examples that a list names; names that are none are told."""
    wanted = read_ignored(path)
    left_out: dict[str, set[int]] = {}
    found: set[str] = set()
    for split, part in splits.parts.items():
        keys = {part.key(i): i for i in range(len(part))}
        named = wanted & keys.keys()
        left_out[split] = {keys[key] for key in named}
        found |= named
    if unknown := sorted(wanted - found):
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        text = f"{path} names {len(unknown)} examples that are not there: "
        warnings.warn(DataWarning(text + ", ".join(unknown[:5]) + more), stacklevel=2)
    count = sum(map(len, left_out.values()))
    return splits.without(left_out, f"{count} examples left out by {Path(path).name}")
