"""The share of a run's time in which it waits for images."""

from __future__ import annotations

import time

import pytest

from rezoo.tasks import SINGLE_LABEL
from rezoo.training import input_wait
from rezoo.training.printing import epoch_line
from rezoo.training.timetable import Clock


@pytest.fixture
def seconds(monkeypatch):
    """A clock that goes on only where a test says so."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def passed(s):
        now[0] += s

    return passed


def steps(clock, seconds, *, wait_s, step_s, timed):
    for each in timed:
        with clock.next_batch(timed=each):
            seconds(wait_s)
        seconds(step_s)


def test_the_share_is_that_of_the_waits(seconds):
    clock = Clock()
    assert clock.input_wait_share is None
    steps(clock, seconds, wait_s=1.0, step_s=3.0, timed=[True] * 8)
    assert clock.input_wait_share == pytest.approx(0.25)


def test_waits_that_were_not_timed_are_the_mean_of_the_others(seconds):
    clock = Clock()
    steps(clock, seconds, wait_s=1.0, step_s=1.0, timed=[False] * 3)
    assert clock.input_wait_share is None
    steps(clock, seconds, wait_s=1.0, step_s=1.0, timed=[True, False, False])
    assert clock.input_wait_share == pytest.approx(0.5)


def test_a_share_is_at_most_one(seconds):
    clock = Clock()
    steps(clock, seconds, wait_s=0.1, step_s=0.0, timed=[False] * 9)
    steps(clock, seconds, wait_s=9.0, step_s=0.0, timed=[True])
    assert clock.input_wait_share == 1.0


def rows(*shares, epoch_s=100.0):
    """Return lines of `history.csv`, the first of which is the network before training."""
    first = {"epoch": 0, "wall_time_s": 5.0, "input_wait_share": None}
    epochs = enumerate(shares, start=1)
    return [
        first,
        *({"epoch": n, "wall_time_s": 5 + n * epoch_s, "input_wait_share": s} for n, s in epochs),
    ]


def test_the_share_of_a_run_is_weighted_by_time():
    history = rows(0.1, 0.4)
    history[-1]["wall_time_s"] += 200.0
    assert input_wait.of_run(history) == pytest.approx((0.1 * 100 + 0.4 * 300) / 400)
    assert input_wait.of_run([]) is None
    assert input_wait.of_run([{"epoch": 1, "wall_time_s": 9.0}]) is None  # of an earlier version


def test_the_first_epoch_that_waits_too_long_is_named_once():
    assert input_wait.warnings(rows(0.1, 0.2)) == []
    (text,) = input_wait.warnings(rows(0.1, 0.35, 0.9))
    assert "waited for images 35% of the time of epoch 2 (35 of 100 s)" in text
    assert input_wait.warnings(rows(0.1, 0.35)) == [text]
    assert input_wait.warnings(rows(0.9, epoch_s=10.0)) == []  # 9 s


def test_the_line_of_an_epoch_says_when_it_waits_too_long():
    record = {"epoch": 1, "learning_rate": 0.1, "images_per_s": 9.0, "train_loss": 1.0}
    record |= {"train_top1": 0.1, "val_loss": 1.0, "val_top1": 0.1}
    keys = {"best": False, "task": SINGLE_LABEL}
    assert epoch_line({**record, "input_wait_share": 0.2}, 3, **keys).endswith("9 img/s")
    line = epoch_line({**record, "input_wait_share": 0.35}, 3, **keys)
    assert line.endswith("9 img/s, 35% waiting for images")
