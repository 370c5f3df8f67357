"""The share of a run's time in which it waited for images, and a warning if that is large.

All follows from the history of the run, so a run that is resumed warns once, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

KEY = "input_wait_share"
LIMIT = 0.2  # of an epoch
_LEAST_S = 10.0  # of an epoch: less is not worth a change

History = Sequence[Mapping[str, Any]]


def of_run(history: History) -> float | None:
    """Return the share of all epochs, weighted by their time; None if none is known."""
    known = [(share, seconds) for _, share, seconds in _epochs(history)]
    total_s = sum(seconds for _, seconds in known)
    return sum(share * seconds for share, seconds in known) / total_s if total_s else None


def warnings(history: History) -> list[str]:
    """Return a text on the first epoch that waited for more than `LIMIT` of its time, if any."""
    for epoch, share, seconds in _epochs(history):
        if share > LIMIT and share * seconds >= _LEAST_S:
            text = (
                f"training waited for images {share:.0%} of the time of epoch {epoch} "
                f"({share * seconds:.0f} of {seconds:.0f} s): reading and preparing them is "
                "slower than the steps. More processor cores, a faster disk, or images that are "
                "stored at about the size of training make it faster"
            )
            return [text]
    return []


def _epochs(history: History) -> list[tuple[int, float, float]]:
    """Return number, share and seconds of training of each epoch whose share is known."""
    rows = [{"wall_time_s": 0.0}, *history]
    return [
        (row["epoch"], row[KEY], row["wall_time_s"] - before["wall_time_s"])
        for before, row in pairwise(rows)
        if row.get(KEY) is not None
    ]
