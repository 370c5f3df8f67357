"""The simulated failures of a pod, their picture, and the tables of the guide."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path

import pytest

from rezoo.training.timetable import Timetable
from test_zoo_chart import words

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def drawing():
    """Return the module of the example that draws the picture; `pod` in it is the simulation."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import draw_failures
    finally:
        sys.path.pop(0)
    return draw_failures


@pytest.mark.parametrize(("nodes", "days"), [(64, 1000 / 6.5), (8, 1.0), (64, 1.0)])
def test_the_best_interval_of_the_simulation_is_that_of_dalys_rule(drawing, nodes, days):
    """Within 3 %: a hundredth of it is the noise of the simulated failures."""
    pod = drawing.pod
    mtbf = days * pod.DAY_S / nodes
    found = pod.best_interval(pod.lifetimes()[:50_000], mtbf, pod.SAVE_S, pod.RESTART_S)
    assert found == pytest.approx(pod.daly(mtbf, pod.SAVE_S), rel=0.03)
    young = (2 * pod.SAVE_S * mtbf) ** 0.5
    assert found == pytest.approx(young, rel=0.1)


def test_time_lost_is_that_of_dalys_model(drawing):
    """Daly 2006: the expected time of work with failures at a constant rate."""
    pod, lives = drawing.pod, drawing.pod.lifetimes()
    mtbf = 1350.0
    for interval in (30.0, 113.0, 600.0, 1800.0):
        kept = interval / mtbf * math.exp(-pod.RESTART_S / mtbf)
        kept /= math.expm1((interval + pod.SAVE_S) / mtbf)
        found = pod.lost(lives, mtbf, interval, pod.SAVE_S, pod.RESTART_S)
        assert found == pytest.approx(1 - kept, abs=0.005)


def test_the_defaults_are_those_of_training(drawing):
    assert Timetable().seconds == drawing.pod.DEFAULT_S
    assert drawing.pod.SAVE_S * Timetable().times_a_save <= Timetable().seconds


def test_the_picture_of_the_guide_is_current(drawing, tmp_path):
    """`python examples/draw_failures.py` draws it, with the same words each time."""
    drawing.main(str(tmp_path / "failures.svg"))
    assert words(tmp_path / "failures.svg") == words(ROOT / "images" / "failures.svg")


def test_the_tables_of_the_guide(monkeypatch):
    monkeypatch.chdir(ROOT)
    tables = runpy.run_path("docs/cluster.py")
    assert "| 141 GB | 45.1 s | 8.54 min | 64.1 s | 8.01 s |" in tables["data"]()
    assert "| 275 MB/s | 2.2 GB/s | 2.2 GB/s |" in tables["rates"]()
    assert "| 409 MB | 682 kB/s | 2.86 GB |" in tables["checkpoints"]()
    assert "| 550 MB/s |" in tables["rates"](5000)
