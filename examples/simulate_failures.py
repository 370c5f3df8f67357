"""Simulate the failures of a pod: `python examples/simulate_failures.py`.

All nodes of a pod compute together, so the failure of one ends the work of all, back to the last
checkpoint. The share of time lost has three parts: saving, work that is done again, and restarts.
`draw_failures.py` draws it.

Assumptions: nodes fail independently, at a constant rate. A failed node is replaced at once.
Training waits for the whole save; in rezoo it waits for the copy to the host's memory only.
"""

from __future__ import annotations

import numpy as np

NODES = (1, 8, 64)
DAY_S = 86_400.0
# mean time between failures of one node, in days: 6.5 failures in 1,000 node-days were counted in
# a cluster of 2,000 nodes (Kokolis et al. 2025, arXiv:2410.21680, RSC-1)
STEADY, PREEMPTIBLE = 1000 / 6.5, 1.0
SAVE_S = 5.0  # of a ResNet-50, docs/reference/files.md
RESTART_S = 180.0  # from a failure to the next step: finding it, starting, compiling; assumed
DEFAULT_S = 600.0  # between two saves of rezoo, if a save takes at most 12 s
LIFETIMES = 200_000  # from a restart to the next failure


def lifetimes(seed: int = 0) -> np.ndarray:
    """Return how long a pod lives, float64 `(LIFETIMES,)`; the mean is about 1."""
    return np.random.default_rng(seed).exponential(size=LIFETIMES)


def lost(
    lives: np.ndarray, mtbf_s: float, interval_s: float, save_s: float, restart_s: float
) -> float:
    """Return the share of time that does not become a part of a checkpoint.

    Args:
        lives: As `lifetimes` returns them.
        mtbf_s: Mean time between failures of the pod, in seconds.
        interval_s: Work between two saves, in seconds.
        save_s: Duration of a save, in seconds.
        restart_s: Duration of a restart, in seconds; another failure may interrupt it.
    """
    elapsed = lives * mtbf_s
    saves = np.floor(np.maximum(elapsed - restart_s, 0) / (interval_s + save_s))
    return float(1 - saves.sum() * interval_s / elapsed.sum())


def best_interval(lives: np.ndarray, mtbf_s: float, save_s: float, restart_s: float) -> float:
    """Return the interval with the least time lost, in seconds.

    The curve is flat at its minimum, so a parabola is fitted to it, over the logarithm of the
    interval, where at most a tenth more is lost than at the best of the points.
    """
    intervals = np.geomspace(save_s / 3, mtbf_s * 3, 300)
    found = np.array([lost(lives, mtbf_s, t, save_s, restart_s) for t in intervals])
    near = found <= 1.1 * found.min()
    square, linear, _ = np.polyfit(np.log(intervals[near]), found[near], 2)
    return float(np.exp(-linear / (2 * square)))


def daly(mtbf_s: float, save_s: float) -> float:
    """Return the best interval by the rule of Daly 2006, in seconds.

    Its first term is the rule of Young 1974, the root of `2 * save_s * mtbf_s`.
    """
    part = save_s / (2 * mtbf_s)
    return float(np.sqrt(2 * save_s * mtbf_s) * (1 + np.sqrt(part) / 3 + part / 9) - save_s)


def table() -> list[tuple[float, int, float, float, float, float, float]]:
    """Return a row for each kind of node and size of a pod.

    Returns:
        Days between failures of a node, nodes, seconds between failures of the pod, the best
        interval in seconds by the simulation and by rule, and the share lost with the best one and
        with rezoo's default.
    """
    lives, rows = lifetimes(), []
    for days in (STEADY, PREEMPTIBLE):
        for nodes in NODES:
            mtbf = days * DAY_S / nodes
            best = best_interval(lives, mtbf, SAVE_S, RESTART_S)
            shares = (lost(lives, mtbf, t, SAVE_S, RESTART_S) for t in (best, DEFAULT_S))
            rows.append((days, nodes, mtbf, best, daly(mtbf, SAVE_S), *shares))
    return rows


if __name__ == "__main__":
    print("days  nodes   failure each    best     rule    lost  lost at 600 s")
    for days, nodes, mtbf, best, rule, least, default in table():
        print(
            f"{days:4.0f} {nodes:6d} {mtbf / 3600:11.1f} h {best:7.0f} s {rule:6.0f} s"
            f" {least:7.2%} {default:7.2%}"
        )
