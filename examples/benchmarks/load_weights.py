"""Measure time and peak memory of `rezoo.load`: `python load_weights.py REFERENCE [RUNS]`.

Each run is a new process, measured after the imports. The peak includes the network's graph and
its weights. Linux only: it is read from /proc.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

CHILD = """
import sys, time
import rezoo, rezoo.sources.load
if "tensorflow" in sys.modules:
    sys.modules["tensorflow"].constant(0)

def memory(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1000

before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # reset the peak
begun = time.perf_counter()
model = rezoo.load(sys.argv[1])
seconds = time.perf_counter() - begun
count = model.count_params()
print(seconds, memory("VmHWM") - before, count * 4 / 1e6)
"""


def main(reference: str, runs: int) -> None:
    """Print the medians of several runs."""
    results = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, reference],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        results.append([float(x) for x in done.stdout.split()])
    seconds, peak, weights = map(list, zip(*results, strict=True))
    print(
        f"{reference}: {statistics.median(seconds):.2f} s (best {min(seconds):.2f}), "
        f"peak {statistics.median(peak):.0f} MB for {weights[0]:.0f} MB of weights = "
        f"{statistics.median(peak) / weights[0]:.2f}, medians of {runs} processes"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
