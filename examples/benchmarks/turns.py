"""Contenders that take turns: each a process of its own, so that a busy machine disturbs all alike.

The one that measures starts a `Worker` for each contender; the contender's process calls
`take_turns`.
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

TURN_S = 1.0  # a turn is as many steps as fit
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # PyTorch's threads spin otherwise: much slower on a busy machine
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def take_turns(
    build: Callable[[], tuple[Callable[[int], None], dict[str, Any]]], cores: int
) -> None:
    """Be a contender: warm up, then do as many steps as each line of the input says.

    Args:
        build: Returns `steps(n)`, which does n steps and waits for them, and what is known.
        cores: Of the processor; libraries count their threads by what they may use.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    steps, known = build()
    steps(3)
    begun = time.perf_counter()
    steps(1)
    known["warm_s"] = time.perf_counter() - begun
    print("ready", json.dumps(known), flush=True)
    for line in sys.stdin:
        wall, busy = time.perf_counter(), time.process_time()
        steps(int(line))
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        print("done", json.dumps([wall / int(line), busy / int(line)]), flush=True)


class Worker:
    """A contender's process.

    Args:
        arguments: Of the Python file that calls `take_turns`, itself first.
        verbose: Show what it says on stderr.
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
        """Let it do its steps while the others wait."""
        self._process.stdin.write(f"{self.steps}\n")
        self._process.stdin.flush()
        self.turns.append(self._answer("done"))

    def median(self, place: int) -> float:
        """Return the median of the turns: seconds (0) or processor seconds (1) of a step."""
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
