"""Measure latency, throughput and memory of an export, in a process of its own.

    python -m rezoo.exporters.measuring FOLDER --threads N

prints one JSON document. It imports the runtime of the format only, so memory is the export's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.exporters.runner import Runner, open_exported
from rezoo.utils.device import peak_host_bytes, resident_bytes, usable_threads

WARM_UP, CALLS, BATCH, ROUND_S = 5, 50, 16, 2.0


def measure(folder: Path, *, threads: int | None = None) -> dict[str, Any]:
    """Measure an export in a process of its own, on all processors if `threads` is None.

    Returns:
        `latency_ms_p50` and `latency_ms_p95` of one image, `images_per_s` of batches of
        `batch_size`, `load_s`, the number of `threads`, and `memory_bytes`: the growth of the
        process at its peak, 0 if the platform does not report it.

    Raises:
        IncompatibleError: The process fails; the message has its last line.
    """
    command = [sys.executable, "-m", "rezoo.exporters.measuring", str(folder)]
    command += ["--threads", str(threads or usable_threads())]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise IncompatibleError(f"{folder} does not run in a process of its own: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def limit_processors(threads: int) -> None:
    """Limit this process to a number of processors, where the platform supports it.

    Libraries that are imported later derive their number of threads from it.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _measure(folder: Path, threads: int) -> dict[str, Any]:
    limit_processors(threads)
    begun, before = time.perf_counter(), resident_bytes()
    run = open_exported(folder, threads=threads)
    load_s = time.perf_counter() - begun
    one, many = _images(run, 1), _images(run, BATCH)
    for _ in range(WARM_UP):
        run(one)
    times = [_timed(run, one) for _ in range(CALLS)]
    _timed(run, many)
    rates: list[float] = []
    begun = time.perf_counter()
    while not rates or time.perf_counter() - begun < ROUND_S:
        rates.append(len(many) / _timed(run, many))
    return {
        "latency_ms_p50": 1e3 * float(np.percentile(times, 50)),
        "latency_ms_p95": 1e3 * float(np.percentile(times, 95)),
        "images_per_s": float(np.median(rates)),
        "batch_size": len(many),
        "load_s": load_s,
        "memory_bytes": max((peak_host_bytes() or 0) - before, 0),
        "threads": run.threads,
        "runtime": run.runtime,
    }


def _images(run: Runner, count: int) -> np.ndarray:
    height, width, channels = run.shape
    random = np.random.default_rng(0)
    if run.input == "raw":  # a photograph is about twice as large
        size = (count, height * 2, width * 2 + width // 4, channels)
        return random.integers(0, 256, size, np.uint8)
    return random.normal(size=(count, height, width, channels)).astype(np.float32)


def _timed(run: Runner, images: np.ndarray) -> float:
    begun = time.perf_counter()
    run(images)
    return time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    print(json.dumps(_measure(arguments.folder, arguments.threads)))
