"""Interleaved rounds of workloads, each in its own process, so that a busy machine affects all.

The benchmark starts a `Worker` for each workload; the workload's process calls `take_turns`.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

TURN_S = 1.0  # a round has as many steps as fit
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # PyTorch's threads would spin: much slower on a busy machine
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def take_turns(
    build: Callable[[], tuple[Callable[[int], None], dict[str, Any]]], cores: int
) -> None:
    """Run a workload: warm up, then do the number of steps in each line of the input.

    Args:
        build: Returns `steps(n)`, which does n steps and waits for them, and JSON values.
        cores: That the process may use; libraries take their number of threads from it.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    steps, known = build()
    steps(3)
    began = time.perf_counter()
    steps(1)
    known["warm_s"] = time.perf_counter() - began
    print("ready", json.dumps(known), flush=True)
    for line in sys.stdin:
        wall, busy = time.perf_counter(), time.process_time()
        steps(int(line))
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        print("done", json.dumps([wall / int(line), busy / int(line)]), flush=True)


class Worker:
    """The process of a workload.

    Args:
        arguments: Of the Python file that calls `take_turns`, itself first.
        verbose: Show its stderr.
    """

    def __init__(self, arguments: Sequence[str], *, verbose: bool) -> None:
        self.turns: list[list[float]] = []
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT | os.environ,
        )
        self.known = self._answer("ready")
        self.steps = math.ceil(TURN_S / self.known["warm_s"])

    def turn(self) -> None:
        """Do the steps of a round while the other workloads wait."""
        self._process.stdin.write(f"{self.steps}\n")
        self._process.stdin.flush()
        self.turns.append(self._answer("done"))

    def median(self, place: int) -> float:
        """Return the median over rounds of the seconds (0) or processor seconds (1) per step."""
        return statistics.median(turn[place] for turn in self.turns)

    def end(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self, word: str) -> Any:
        for line in self._process.stdout:
            if line.startswith(word):
                return json.loads(line[len(word) :])
        raise SystemExit(f"{' '.join(self._process.args)} failed: see it with --verbose")
