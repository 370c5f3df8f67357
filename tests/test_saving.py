"""Checkpoints inside epochs: written in a thread, and a run resumes from them to the same bits."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import rezoo
from conftest import fails
from rezoo.artifacts.run_files import read_history
from rezoo.errors import DivergedError, ResourceError, RunWarning, SpecError
from rezoo.training.checkpoints import Progress
from rezoo.training.generations import Generations, read_whole
from rezoo.training.reporters import Reporter
from rezoo.training.saving import Saver
from rezoo.training.timetable import Timetable
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

EVERYTHING = {
    "batch_size": 128, "image_size": 8, "epochs": 2, "warmup_epochs": 0.5, "random_erase": 0.3,
    "color_jitter": 0.4, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "repeated_augmentation": 2,
    "label_smoothing": 0.1, "ema_decay": 0.99, "accumulation": 2, "clip_norm": 1.0,
}  # fmt: skip
TIMES = {"wall_time_s", "images_per_s", "finished_utc"}


class Died(Exception):  # noqa: N818
    """The process has ended: nothing more is saved."""


class DieAt(Reporter):
    interval_s = 0.0

    def __init__(self, *at):
        self.at = at

    def step(self, epoch, step, figures):
        if (epoch, step) == self.at:
            raise Died


def train(folder, **keys):
    keys = {**EVERYTHING, "verbose": 0, "output": folder, **keys}
    return rezoo.train(NETWORK, "digits", **keys).folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped, and never saved inside an epoch."""
    return train(tmp_path_factory.mktemp("whole") / "run", checkpoint_every="epoch")


def state(folder: Path) -> tuple[dict[str, bytes], dict]:
    """Return the bits of a run's state, and its position without times."""
    last = read_whole(folder / "checkpoints/last.safetensors")
    progress = json.loads(last.metadata["rezoo"])
    for key in ("wall_time_s", "total_s", "epoch_began_s", "epoch_s"):
        del progress[key]
    history = [{k: v for k, v in r.items() if k not in TIMES} for r in progress.pop("history")]
    return {name: v.tobytes() for name, v in last.values.items()}, {**progress, "h": history}


def assert_same(one: Path, other: Path) -> None:
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    tables = [read_history(folder) for folder in (one, other)]
    rows = [[{k: v for k, v in row.items() if k not in TIMES} for row in t] for t in tables]
    assert rows[0] == rows[1]
    (values, progress), (others, position) = map(state, (one, other))
    assert progress == position  # also what the warnings depend on
    assert {name for name in values | others if values.get(name) != others.get(name)} == set()


@pytest.mark.backend
def test_a_run_that_died_inside_an_epoch_ends_in_the_same_bits(whole, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Died):
        train(folder, checkpoint_every="3steps", reporter=DieAt(1, 6))
    files = Generations(folder)
    position = json.loads(read_whole(files.last).metadata["rezoo"])
    assert (position["epoch"], position["step"]) == (1, 5)  # the fifteenth; an epoch has ten
    files.last.write_bytes(files.last.read_bytes()[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)
        train(folder, resume=True)
    assert_same(folder, whole)
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.ci
def test_the_bits_do_not_depend_on_when_a_run_is_saved_but_on_the_seed(whole, tmp_path):
    assert_same(train(tmp_path / "often", checkpoint_every="1step"), whole)
    with pytest.raises(AssertionError):
        assert_same(train(tmp_path / "seed", seed=1), whole)


@pytest.mark.ci
def test_the_command_goes_on_from_the_checkpoint_before_a_damaged_one(call, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    files = Generations(folder)
    content = bytearray(files.last.read_bytes())
    content[5000] ^= 4
    files.last.write_bytes(content)
    keys = [f"--set={key}={value}" for key, value in EVERYTHING.items()]
    answer = call("train", NETWORK, *keys, "--output", folder, "--resume")
    assert answer.rc == 0, answer
    assert answer.err.count("The checkpoint before it is used") == 1
    assert_same(folder, whole)
    for path in (files.last, files.previous):
        path.write_bytes(path.read_bytes()[:-8])
    answer = call("train", NETWORK, *keys, "--output", folder, "--resume")
    fails(answer, 5, "last.safetensors is damaged", "previous.safetensors is damaged")


def variables(size=6):
    return [("a", keras.Variable(np.arange(size, dtype=np.float32)))]


def saved(files: Generations) -> list[float]:
    return read_whole(files.last).values["a"].tolist()


def test_what_follows_a_save_does_not_change_it(tmp_path):
    files = Generations(tmp_path)
    pairs = variables()
    with Saver(files) as saver:
        saver.save(pairs, Progress(step=1), "one")
        pairs[0][1].assign(np.zeros(6, np.float32))
    assert saved(files) == [0, 1, 2, 3, 4, 5]
    assert 0 < saver.copy_s < saver.save_s


def test_two_saves_are_never_written_at_once(tmp_path):
    writing, most = 0, 0

    class Watched(Generations):
        def write(self, content, *, proceed):
            nonlocal writing, most
            writing += 1
            most = max(most, writing)
            super().write(content, proceed=proceed)
            writing -= 1

    with Saver(Watched(tmp_path)) as saver:
        for step in range(5):
            saver.save(variables(10**6), Progress(step=step), "one")
            assert threading.active_count() >= 1
    assert most == 1


def test_an_error_of_the_thread_reaches_the_training_thread(full_disk):
    files = Generations(full_disk)
    with pytest.raises(ResourceError, match="no space left"), Saver(files) as saver:  # noqa: PT012
        saver.save(variables(), Progress(), "one")
        saver.save(variables(10**6), Progress(), "one")
        while True:  # as at each step
            saver.check()
    assert saved(files) == [0, 1, 2, 3, 4, 5]
    assert not list(full_disk.rglob("*.tmp"))


def test_a_state_that_is_not_finite_does_not_replace_a_good_one(tmp_path):
    files = Generations(tmp_path)
    pairs = variables()
    saver = Saver(files)
    saver.save(pairs, Progress(), "one")
    pairs[0][1].assign([1, 2, 3, 4, 5, np.inf])
    saver.save(pairs, Progress(), "one")
    with pytest.raises(DivergedError, match=r"not finite \(a\)"):
        saver.wait()
    assert saved(files) == [0, 1, 2, 3, 4, 5]


def test_a_second_signal_stops_writing_and_leaves_the_last_checkpoint(tmp_path):
    files = Generations(tmp_path)
    with pytest.raises(KeyboardInterrupt), Saver(files) as saver:  # noqa: PT012
        saver.save(variables(), Progress(), "one")
        saver.save(variables(2 * 10**7), Progress(), "one")
        raise KeyboardInterrupt
    assert saved(files) == [0, 1, 2, 3, 4, 5]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("text", "step", "since_s", "save_s", "due"),
    [
        (None, 5, 599, 0, False),
        (None, 5, 601, 1, True),
        (None, 5, 601, 13, False),  # 2 % of 650 s
        (None, 5, 651, 13, True),
        ("10s", 5, 11, 13, True),
        ("1h30m", 5, 5399, 0, False),
        ("500steps", 500, 0, 0, True),
        ("500 steps", 501, 9999, 0, False),
        ("epoch", 5, 1e9, 0, False),
    ],
)
def test_when_a_save_is_due(text, step, since_s, save_s, due):
    assert Timetable.of(text).is_due(step, since_s=since_s, save_s=save_s) is due


@pytest.mark.parametrize("text", ["", "10", "0steps", "-1m", "never", "1e3s", "10m steps", "nan"])
def test_other_timetables_are_refused(text):
    with pytest.raises(SpecError, match="checkpoint_every"):
        rezoo.train(NETWORK, checkpoint_every=text)


def test_the_time_of_an_epoch_is_part_of_the_state():
    progress = Progress(total_s=10.0)
    progress.complete(1, best=True)
    progress.total_s = 14.0
    progress.complete(2, best=True)
    assert (progress.epoch_s, progress.epoch_began_s) == (4.0, 14.0)


KILLED = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import tiny, rezoo
from rezoo import registry
from rezoo.training.reporters import Reporter

folder, after, call, keys = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), eval(sys.argv[5])
CALLS = {"open", "write", "flush", "fsync", "__exit__", "rename", "replace", "close"}
left = call

class Steps(Reporter):
    interval_s = 0.0
    count = 0
    def step(self, epoch, step, figures):
        self.count += 1
        if self.count == after and call:
            threading.setprofile(profile)  # of the next save's thread
        elif self.count == after:
            os.kill(os.getpid(), signal.SIGKILL)

def profile(frame, event, function):
    global left
    if event == "c_call" and function.__name__ in CALLS:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

rezoo.train(tiny.NETWORK, "digits", output=folder, resume=True, checkpoint_every="3steps",
            reporter=Steps(), **keys)
"""


def killed(site: Path, folder: Path, kills: int, keys: dict) -> int:
    """Kill a run again and again, half of the times while it writes a checkpoint; end it.

    Each kill comes 1.5 intervals or later after the run was resumed. Returns the kills.
    """
    draw, done = random.Random(0), 0
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    tests = str(Path(__file__).parent)
    for number in range(10 * kills):
        after, call = draw.randrange(5, 9), draw.randrange(1, 14) if number % 2 else 0
        if number >= kills:
            after = 10**6
        command = [sys.executable, "-W", "ignore", "-c", KILLED, tests, str(folder)]
        command += [str(after), str(call), repr(keys)]
        code = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert code.returncode in (0, -signal.SIGKILL), code.stderr
        done += code.returncode != 0
        if code.returncode == 0:
            break
    return done


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kills_at_any_moment_end_in_the_same_bits(tmp_path):
    """`python -m pytest -m slow tests/test_saving.py -k kills` takes about 10 s a kill.

    Half of the kills come inside the write of a checkpoint. The variable `REZOO_TEST_KILLS` sets
    their number, by default 50.
    """
    kills = int(os.environ.get("REZOO_TEST_KILLS", "50"))
    keys = {**EVERYTHING, "epochs": max(kills, 2), "verbose": 0}
    site = Path(next(p for p in sys.path if (Path(p) / "tiny-1.dist-info").exists()))
    assert killed(site, tmp_path / "killed", kills, keys) == kills
    assert_same(tmp_path / "killed", train(tmp_path / "whole", **keys))
    assert not list(tmp_path.rglob("*.tmp"))
