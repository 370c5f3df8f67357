"""When something is due in a run: a checkpoint inside an epoch, a report of the figures.

Loads without NumPy.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from rezoo.errors import SpecError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "": 1}  # seconds
_EPOCH = "epoch"


def parse_duration(text: str) -> float | None:
    """Return the seconds of `90s`, `45m`, `2h`, `1h30m`, `1d` or a number of seconds; else None."""
    text = text.strip().lower()
    if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?[dhms])+|[0-9]+(?:\.[0-9]+)?", text):
        return None
    parts = re.findall(r"([0-9.]+)([dhms]?)", text)
    seconds = sum(float(count) * _UNITS[unit] for count, unit in parts)
    return seconds if 0 < seconds < 1e9 else None


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a run is saved inside an epoch; it is also saved at the end of each.

    Attributes:
        seconds: Between the beginnings of two saves, at least.
        times_a_save: That time in durations of the last save, at least: 50 for 2 % of the time.
        steps: Optimizer steps between two saves, in place of a time; 0 for none.
    """

    seconds: float = 600.0
    times_a_save: float = 50.0
    steps: int = 0

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return the timetable of a text: `10m`, `500steps`, `epoch`; None for the default.

        Raises:
            SpecError: It is none of these.
        """
        if text is None:
            return cls()
        if text.strip() == _EPOCH:
            return cls(seconds=math.inf)
        if match := re.fullmatch(r"\s*([1-9][0-9]{0,9})\s*steps?\s*", text):
            return cls(seconds=math.inf, steps=int(match[1]))
        seconds = parse_duration(text)
        if seconds is None or text.strip()[-1:].isdecimal():
            raise SpecError(
                f"checkpoint_every: {text!r}",
                hint="write a time (10m, 1h30m), a number of steps (500steps), or epoch.",
            )
        return cls(seconds=seconds, times_a_save=0.0)

    def is_due(self, step: int, *, since_s: float, save_s: float) -> bool:
        """Return whether to save after a step.

        Args:
            step: Of the optimizer, counted from 1 over all epochs.
            since_s: Seconds since the last save began, or since the start.
            save_s: Seconds that the last save took; 0 before the first.
        """
        if self.steps:
            return step % self.steps == 0
        return since_s >= max(self.seconds, self.times_a_save * save_s)


class Clock:
    """Time and images of an epoch, without validation.

    Attributes:
        images: That were trained on.
    """

    def __init__(self) -> None:
        self._began = self._reported = self._noted = time.perf_counter()
        self.images = 0
        self._batches = self._timed = 0
        self._waited_s = 0.0

    @contextmanager
    def next_batch(self, *, timed: bool) -> Iterator[None]:
        """Count a batch that is awaited inside the block, and with `timed` also the seconds."""
        began = time.perf_counter()
        yield
        self._batches += 1
        if timed:
            self._timed += 1
            self._waited_s += time.perf_counter() - began

    @property
    def input_wait_share(self) -> float | None:
        """The share of the time that was spent waiting for batches; None before one was timed.

        Those that were not timed count as the mean of the others.
        """
        if not self._timed:
            return None
        waited_s = self._waited_s * self._batches / self._timed
        return min(waited_s / max(self.elapsed_s(), 1e-9), 1.0)

    def due(self, interval_s: float) -> bool:
        """Return whether a report is due, and if so, begin the next interval."""
        now = time.perf_counter()
        if now - self._reported < interval_s:
            return False
        self._reported = now
        return True

    def elapsed_s(self) -> float:
        """Return the seconds since the clock was made."""
        return time.perf_counter() - self._began

    def new_s(self) -> float:
        """Return the seconds since the last call, or since the clock was made."""
        before, self._noted = self._noted, time.perf_counter()
        return self._noted - before
