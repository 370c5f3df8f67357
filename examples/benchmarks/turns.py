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


Actions = dict[str, Callable[[int], None]]
"""Name → `steps(n)`, which does n steps of an action and waits for them."""


def take_turns(build: Callable[[], tuple[Actions, dict[str, Any]]], cores: int) -> None:
    """Run a workload: warm up, then do the steps of the action that each line of the input names.

    Args:
        build: Returns actions and JSON values.
        cores: That the process may use; libraries take their number of threads from it.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    actions, known = build()
    known["warm_s"] = {}
    for name, steps in actions.items():
        steps(3)
        began = time.perf_counter()
        steps(1)
        known["warm_s"][name] = time.perf_counter() - began
    print("ready", json.dumps(known), flush=True)
    for line in sys.stdin:
        name, count = line.split()
        wall, busy = time.perf_counter(), time.process_time()
        actions[name](int(count))
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        print("done", json.dumps([wall / int(count), busy / int(count)]), flush=True)


class Worker:
    """The process of a workload, which begins to build it.

    Args:
        arguments: Of the Python file that calls `take_turns`, itself first.
        verbose: Show its stderr.

    Attributes:
        known: JSON values of the workload.
        turns: Name of an action → seconds and processor seconds of a step in each turn.
    """

    def __init__(self, arguments: Sequence[str], *, verbose: bool) -> None:
        self.known: dict[str, Any] = {}
        self.turns: dict[str, list[list[float]]] = {}
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT | os.environ,
        )

    def wait(self) -> None:
        """Wait until the workload is built and warm."""
        self.known = self._answer("ready")

    def turn(self) -> None:
        """Do the steps of a round, of each action, while the other workloads wait."""
        for name, warm_s in self.known["warm_s"].items():
            self._process.stdin.write(f"{name} {math.ceil(TURN_S / warm_s)}\n")
            self._process.stdin.flush()
            self.turns.setdefault(name, []).append(self._answer("done"))

    def median(self, action: str, place: int) -> float:
        """Return the median over rounds of the seconds (0) or processor seconds (1) per step."""
        return statistics.median(turn[place] for turn in self.turns[action])

    def end(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self, word: str) -> Any:
        for line in self._process.stdout:
            if line.startswith(word):
                return json.loads(line[len(word) :])
        raise SystemExit(f"{' '.join(self._process.args)} failed: see it with --verbose")
