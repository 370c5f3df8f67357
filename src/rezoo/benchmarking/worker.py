"""The process of one target: it warms up, then does its calls when it is told to.

`python -m rezoo.benchmarking.worker` reads JSON lines and answers each with one: the job, the word
to warm up, then the names of actions, each with a number of calls. So its memory is that of its
target alone, several load their libraries at a time, and targets can take turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from rezoo.benchmarking.results import TRAIN
from rezoo.errors import ResourceError, RezooError
from rezoo.utils import device

_WARM_CALLS = 3  # the first also compiles


def main() -> None:
    """Serve on standard streams; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _answer(answers, {"error": _record(error)})
        if os.environ.get("REZOO_DEBUG"):
            raise
        sys.exit(1)


def serve(orders: TextIO, answers: TextIO) -> None:
    """Build what the first order names, warm up at the second, and time what the others ask for."""
    job = json.loads(orders.readline())
    if hasattr(os, "sched_setaffinity"):  # libraries count their threads by this
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["threads"]])
    from rezoo.benchmarking.workloads import contender

    made = contender(job)
    _answer(answers, {"built": True})
    orders.readline()
    calls: dict[str, Callable[[], object]] = {}
    seconds: dict[str, float] = {}
    for name, build in made.actions.items():
        if name == TRAIN:
            made.known["peak_bytes"] = device.peak_bytes()
        calls[name] = call = build()
        for _ in range(_WARM_CALLS):
            begun = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - begun
    made.known.setdefault("peak_bytes", device.peak_bytes())
    if TRAIN in calls:
        made.known["train_peak_bytes"] = device.peak_bytes()
    _answer(answers, {"known": made.known, "seconds": seconds})
    for line in orders:
        order = json.loads(line)
        call, taken = calls[order["action"]], []
        for _ in range(order["calls"]):
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
        _answer(answers, {"taken": taken})


def _record(error: Exception) -> dict[str, Any]:
    """Return an error as JSON values, for the process that asked to raise it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        error = ResourceError(
            "the memory does not suffice", hint="use smaller --batch-sizes or --image-size."
        )
    if isinstance(error, RezooError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    first = (str(error).strip().splitlines() or [""])[0]
    return {"type": "", "message": f"unexpected {type(error).__name__}: {first}", "hint": ""}


def _answer(stream: TextIO, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
