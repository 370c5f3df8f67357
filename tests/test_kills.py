"""Runs that are killed (SIGKILL) again and again, in processes of their own.

    python -m pytest -m slow -rP tests/test_kills.py

prints what was counted. `KERAS_BACKEND=jax` does the same on JAX. A start takes 10 to 20 s, so the
variable `REZOO_TEST_KILLS` sets how many kills there are, by default 50.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import keras
import pytest

from rezoo.errors import RunWarning
from rezoo.training.generations import Generations
from same_bits import EVERYTHING, different, state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL"),
]

NETWORK, EPOCH, SAVE_STEPS = "resnet20", 10, 3  # steps on digits
ALL = {
    **EVERYTHING, "auto_augment": "ta_wide", "stochastic_depth": 0.2, "optimizer": "lamb",
    "learning_rate": 0.005, "layer_lr_decay": 0.8, "precision": "mixed_float16", "ema_every": 2,
    "class_weights": "balanced", "early_stopping_epochs": 1000, "verbose": 0,
}  # fmt: skip

CHILD = """
import json, os, signal, sys, threading, time
import rezoo
from rezoo.training.reporters import Reporter

given = json.loads(sys.argv[1])
CALLS = {"open", "write", "flush", "fsync", "__exit__", "rename", "replace", "close"}
left = given["call"]

class Steps(Reporter):
    interval_s = 0.0
    count = 0
    def step(self, epoch, step, figures):
        time.sleep(given["step_s"])
        print(10 * epoch + step, time.monotonic(), flush=True)
        self.count += 1
        if self.count == given["after"] and left:
            threading.setprofile(profile)  # of the thread that writes the next checkpoint

def profile(frame, event, function):
    global left
    if event == "c_call" and function.__name__ in CALLS:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

rezoo.train(*given["what"], output=given["folder"], resume=True, reporter=Steps(),
            checkpoint_every=given["every"], **given["keys"])
"""


@dataclass(frozen=True)
class Started:
    """What a process did until it ended.

    Attributes:
        code: Its exit code.
        steps: Seconds of the clock and number of each step, over all epochs.
        at_s: When it was killed or had ended.
    """

    code: int
    steps: list[tuple[float, int]]
    at_s: float


def train(folder: Path, *, lines: int = 0, delay_s: float = 0.0, **given) -> Started:
    """Train in a process, which is killed after so many steps and seconds; 0: it is not.

    Args:
        folder: Of the run, which goes on if there is one.
        lines: Steps.
        delay_s: Seconds after these steps.
        given: For the process: keys, and when it kills itself.
    """
    defaults = {
        "what": [NETWORK, "digits"], "folder": str(folder), "keys": ALL, "step_s": 0.0,
        "every": f"{SAVE_STEPS}steps", "call": 0, "after": 0,
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps({**defaults, **given})]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True) as process:
        try:
            read = [process.stdout.readline() for _ in range(lines)]
            if read and read[-1]:
                time.sleep(delay_s)
                process.kill()
            at_s = time.monotonic()
            out, err = process.communicate(timeout=900)
        finally:
            process.kill()
    assert process.returncode in (0, -signal.SIGKILL), err
    told = [line.split() for line in "".join([*read, out]).splitlines()]
    return Started(
        process.returncode, [(float(clock), int(number)) for number, clock in told],
        at_s if lines else time.monotonic(),
    )  # fmt: skip


def saved(folder: Path) -> int:
    """Return the steps in the newest whole checkpoint, which must be there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)  # `last` is renamed, its successor not yet
        found = Generations(folder).read(lambda content, path: content.metadata["rezoo"])
    position = json.loads(found)
    return position["epoch"] * EPOCH + position["step"]


def is_inside_a_write(folder: Path) -> bool:
    """Return whether a kill has left a part of a checkpoint, or no `last`."""
    files = Generations(folder)
    parts = [*files.last.parent.glob(f".{files.last.name}.*.tmp")]
    return bool(parts) or (files.previous.exists() and not files.last.exists())


def test_50_kills_at_any_moment_end_in_the_same_bits(tmp_path):
    """Half of the kills come from outside, the others inside the write of a checkpoint."""
    kills, folder, draw = int(os.environ.get("REZOO_TEST_KILLS", "50")), tmp_path / "run", Random(0)
    keys = {**ALL, "epochs": max(kills, 4)}
    inside, between, lost = 0, 0, [0]
    for number in range(kills):
        lines, call = draw.randrange(4, 9), draw.randrange(1, 340)
        if number % 2:
            started = train(folder, keys=keys, after=lines, call=call)
        else:
            started = train(folder, keys=keys, lines=lines, delay_s=draw.uniform(0, 0.4))
        assert started.code == -signal.SIGKILL
        inside += is_inside_a_write(folder)
        between += not Generations(folder).last.exists()
        lost.append(started.steps[-1][1] - saved(folder))
    end = train(folder, keys=keys)
    assert end.code == 0
    whole, other = tmp_path / "whole", tmp_path / "seed"
    train(whole, keys=keys, every="epoch")
    train(other, keys={**keys, "seed": 1}, every="epoch")
    print(
        f"{keras.config.backend()}: {kills} kills, {inside} inside a write ({between} of them "
        f"between its two renames), at most {max(lost)} steps lost; "
        f"{len(different(folder, whole))} of {len(state(whole)[0])} tensors, position and history "
        f"differ; with another seed {len(different(other, whole))}"
    )
    assert inside >= kills // 5
    assert max(lost) <= 2 * SAVE_STEPS
    assert different(folder, whole) == set()
    assert different(other, whole) >= {"model.safetensors", "history.csv"}
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_run_ends_although_it_is_killed_all_the_time(tmp_path):
    """Each kill comes 6 s after the first step, that is 1.5 intervals, and before an epoch ends."""
    folder, step_s, interval_s = tmp_path / "run", 0.9, 4.0
    given = {"keys": {**ALL, "epochs": 2}, "step_s": step_s}
    kills, lost_s, steps_s = 0, [], []
    while True:
        started = train(folder, lines=1, delay_s=1.5 * interval_s, every="4s", **given)
        if started.code == 0:
            break
        assert len({number // EPOCH for _, number in started.steps}) <= 2
        times = {number: clock for clock, number in started.steps}
        steps_s += [b - a for a, b in pairwise(times.values())]
        lost_s.append(started.at_s - times[saved(folder)])
        kills += 1
    for _ in range(2):  # with saves at the ends of epochs alone, there is no progress
        never = tmp_path / "never"
        train(never, lines=1, delay_s=1.5 * interval_s, every="epoch", **given)
        assert not Generations(never).last.exists()
    print(
        f"{kills} kills, each {1.5 * interval_s:g} s after the first step of a process: the run "
        f"ended; lost {max(lost_s):.2f} s at most, interval {interval_s:g} s, a step took "
        f"{min(steps_s):.2f} to {max(steps_s):.2f} s"
    )
    assert kills >= 2
    assert max(lost_s) <= interval_s + max(steps_s) + 0.5  # 0.5 s for a save and a late kill


@pytest.fixture
def pets(shared, tmp_path):
    """A table of the photographs of pets, with the dataset's own splits."""
    root, rows = shared / "data/pets", ["path,label,split"]
    for split, name in (("train", "trainval"), ("test", "test")):
        for line in (root / f"annotations/{name}.txt").read_text().splitlines():
            stem = line.split()[0]
            rows.append(f"{root}/images/{stem}.jpg,{stem.rpartition('_')[0]},{split}")
    (tmp_path / "pets.csv").write_text("\n".join(rows))
    return f"csv:{tmp_path}/pets.csv"


def test_a_fine_tuned_network_is_the_same_after_a_kill(shared, pets, tmp_path):
    weights, keys = shared / "data/weights/resnet50_v1_keras", {"epochs": 2, "image_size": 64}
    given = {"what": [str(weights), pets], "keys": {**keys, "verbose": 0}}
    whole, folder = tmp_path / "whole", tmp_path / "run"
    train(whole, every="epoch", **given)
    started = train(folder, lines=5, delay_s=0.5, **given)
    assert started.code == -signal.SIGKILL
    answer = subprocess.run(
        [sys.executable, "-m", "rezoo", "train", "--resume", folder], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    found = different(folder, whole)
    print(f"ResNet-50 on pets, {len(state(whole)[0])} tensors: {len(found)} differ after a kill")
    assert "resuming at epoch 1, step" in answer.stderr
    assert found == set()
