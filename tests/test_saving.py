"""Checkpoints inside epochs: written in a thread, and a run resumes from them to the same bits."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

import rezoo
from conftest import fails
from rezoo.errors import DivergedError, ResourceError, RunWarning, SpecError
from rezoo.training.checkpoints import Progress
from rezoo.training.generations import Generations, read_whole
from rezoo.training.reporters import Reporter
from rezoo.training.saving import Saver
from rezoo.training.timetable import Timetable
from same_bits import EVERYTHING, different
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture


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


def assert_same(one: Path, other: Path) -> None:
    assert different(one, other) == set()


@pytest.mark.ci
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


def mounted(*args: str) -> bool:
    time.sleep(0.05)
    return not subprocess.run(["mount", *args], capture_output=True).returncode


class ReadOnlyAt(Reporter):
    """Mounts the run folder read-only at a step."""

    interval_s = 0.0

    def __init__(self, folder, *at):
        self.folder, self.at = str(folder), at

    def step(self, epoch, step, figures):
        if (epoch, step) == self.at and not (
            mounted("--bind", self.folder, self.folder)
            # not while the last checkpoint is being written
            and any(mounted("-o", "remount,bind,ro", self.folder) for _ in range(100))
        ):
            pytest.skip("only root may mount a folder read-only")


@pytest.mark.ci
def test_a_run_folder_that_becomes_read_only_ends_the_run(whole, tmp_path):
    folder = tmp_path / "run"
    try:
        with pytest.raises(ResourceError, match="Read-only") as caught:
            train(folder, checkpoint_every="2steps", reporter=ReadOnlyAt(folder, 1, 3))
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)
    assert "The last checkpoint is kept." in caught.value.hint
    position = json.loads(read_whole(Generations(folder).last).metadata["rezoo"])
    assert (position["epoch"], position["step"]) == (1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)  # the lock could not be removed
        train(folder, resume=True)
    assert_same(folder, whole)


OPTIONS = [f"--set={key}={value}" for key, value in EVERYTHING.items()]


def goes_on_from_previous(call, whole, folder, change) -> None:
    """Change the bytes of `last`; the command says so once, and ends in the same bits."""
    shutil.copytree(whole, folder)
    last = Generations(folder).last
    last.write_bytes(change(last.read_bytes()))
    answer = call("train", NETWORK, *OPTIONS, "--output", folder, "--resume")
    assert answer.rc == 0, answer
    assert answer.err.count("The checkpoint before it is used") == 1
    assert_same(folder, whole)


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.mark.ci
def test_the_command_goes_on_from_the_checkpoint_before_a_damaged_one(call, whole, tmp_path):
    folder = tmp_path / "run"
    goes_on_from_previous(call, whole, folder, lambda good: flipped(good, 8 * 5000 + 2))
    files = Generations(folder)
    for path in (files.last, files.previous):
        path.write_bytes(path.read_bytes()[:-8])
    answer = call("train", NETWORK, *OPTIONS, "--output", folder, "--resume")
    fails(answer, 5, "last.safetensors is damaged", "previous.safetensors is damaged")


@pytest.mark.slow
def test_the_command_goes_on_after_200_flipped_bits_and_20_cuts(call, whole, tmp_path):
    """`python -m pytest -m slow tests/test_saving.py -k flipped` takes about 6 minutes."""
    draw, size = random.Random(0), Generations(whole).last.stat().st_size
    changes = [partial(flipped, bit=bit) for bit in draw.sample(range(8 * size), 200)]
    changes += [lambda good, n=n: good[:n] for n in [0, size - 1, *draw.sample(range(size), 18)]]
    for number, change in enumerate(changes):
        goes_on_from_previous(call, whole, tmp_path / str(number), change)
        shutil.rmtree(tmp_path / str(number))
    print(f"{len(changes)} damaged files of {size} bytes: each run ended in the same bits")


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
