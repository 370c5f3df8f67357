"""The process of one target, started as `python -m rezoo.benchmarking.worker`.

It reads JSON lines and answers each with one: first the job, then the request to warm up, then
actions with a number of calls. The memory of the process is that of its target alone. All processes
import their libraries at the same time and compute one after the other.
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
from rezoo.utils.memory import is_out_of_memory, memory_errors
from rezoo.utils.paths import DEBUG_VARIABLE, switched_on

LESS_MEMORY = "use smaller --batch-sizes or --image-size, or fewer targets at a time."
_WARM_UP_CALLS = 3  # the first compiles


def main() -> None:
    """Serve on stdin and stdout; output of libraries goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        with memory_errors("the benchmark", hint=LESS_MEMORY):
            serve(sys.stdin, answers)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _answer(answers, {"error": error_record(error)})
        if switched_on(DEBUG_VARIABLE):
            raise
        sys.exit(1)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Build the workload of the job, warm it up, and time the requested actions."""
    job = json.loads(requests.readline())
    if hasattr(os, "sched_setaffinity"):  # libraries derive their number of threads from it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["threads"]])
    from rezoo.benchmarking.workloads import build_workload

    workload = build_workload(job)
    _answer(answers, {"built": True})
    requests.readline()
    calls: dict[str, Callable[[], object]] = {}
    seconds: dict[str, float] = {}
    memory: dict[str, int | None] = {}
    for name, build in workload.actions.items():
        calls[name] = build()
        for _ in range(_WARM_UP_CALLS):
            (seconds[name],) = _timed(calls[name], 1)
        memory["train_peak_bytes" if name == TRAIN else "peak_bytes"] = device.peak_bytes()
    facts = {**workload.facts, **memory, **workload.counts()}
    _answer(answers, {"facts": facts, "seconds": seconds})
    for line in requests:
        request = json.loads(line)
        _answer(answers, {"seconds": _timed(calls[request["action"]], request["calls"])})


def error_record(error: Exception) -> dict[str, Any]:
    """Return an error as JSON values, for the benchmark to raise."""
    if not isinstance(error, RezooError) and is_out_of_memory(error):
        error = ResourceError("out of memory", hint=LESS_MEMORY)
    if isinstance(error, RezooError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    first = (str(error).strip().splitlines() or [""])[0]
    return {"type": "", "message": f"unexpected {type(error).__name__}: {first}", "hint": ""}


def _timed(call: Callable[[], object], count: int) -> list[float]:
    """Return the seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds


def _answer(stream: TextIO, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
