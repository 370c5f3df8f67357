"""Ctrl-C, SIGTERM and what is said of the last checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest

import rezoo
from conftest import fails
from rezoo.artifacts.run_files import CHECKPOINT
from rezoo.artifacts.safetensors import read_tensors
from rezoo.cli.main import cli as group
from rezoo.cli.stopping import number_of, stopping
from rezoo.errors import DivergedError, Interrupted
from rezoo.training.reporters import Reporter
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SIZES = {"epochs": 2, "batch_size": 256, "image_size": 8}
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
LONG_STEP = """
import hashlib
from rezoo.cli.stopping import stopping
with stopping():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes of C without an instruction
"""


class Signals(Reporter):
    """Sends signals to this process at a step."""

    interval_s = 0.0

    def __init__(self, at, *numbers):
        self.at, self.numbers = at, numbers

    def step(self, epoch, step, figures):
        if (epoch, step) == self.at:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_second_signal_ends_a_long_step_within_a_second(number, code):
    command = [sys.executable, "-c", LONG_STEP]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)  # until the long step has begun
            process.send_signal(number)
            time.sleep(0.1)
            assert process.poll() is None
            process.send_signal(number)
            _, err = process.communicate(timeout=1)
        finally:
            process.kill()
    assert (process.returncode, err.strip()) == (code, "Interrupted.")


@pytest.mark.parametrize(("number", "code"), CODES)
def test_every_command_ends_with_the_code_of_its_signal(call, monkeypatch, number, code):
    """Without a checkpoint, nothing is said of one."""

    @click.command()
    def slow():
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setitem(group.commands, "list", slow)
    before = signal.getsignal(signal.SIGTERM)
    answer = call("list")
    assert (answer.rc, answer.err.strip()) == (code, "Interrupted.")
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_has_the_number_of_its_signal():
    with pytest.raises(KeyboardInterrupt) as caught, stopping():
        os.kill(os.getpid(), signal.SIGTERM)  # the handler runs before the next instruction
    assert number_of(caught.value) == signal.SIGTERM
    assert number_of(KeyboardInterrupt()) == number_of(None) == signal.SIGINT


@pytest.mark.parametrize("at", [(0, 2), (1, 2)])
def test_the_last_checkpoint_is_named_if_there_is_one(tmp_path, at):
    numbers = signal.SIGTERM, signal.SIGTERM
    with pytest.raises(KeyboardInterrupt) as caught:
        rezoo.train(NETWORK, output=tmp_path / "a b", reporter=Signals(at, *numbers), **SIZES)
    assert number_of(caught.value) == signal.SIGTERM
    notes = getattr(caught.value, "__notes__", [])
    if at == (0, 2):
        assert notes == []
    else:
        (note,) = notes
        command = f"rezoo train --resume '{tmp_path}/a b'"
        assert note == f"the last checkpoint is kept; continue with {command}"
        read_tensors(tmp_path / "a b" / CHECKPOINT, max_header_bytes=1 << 23)


@pytest.mark.ci
def test_a_stopped_run_names_the_command_that_goes_on(call, tmp_path, monkeypatch):
    """The name of its folder looks like an option."""
    monkeypatch.chdir(tmp_path)
    options = {"model": NETWORK, "output": "-runs/--set", **SIZES}
    for (number, code), step in zip(CODES, (3, 5), strict=True):
        with pytest.raises(Interrupted) as caught:
            rezoo.train(**options, reporter=Signals((0, step), number))
        assert caught.value.exit_code == code
        assert f"stopped at epoch 1, step {step}; state saved" in str(caught.value)
        words = caught.value.hint.removeprefix("continue with rezoo ").split()
        assert words == ["train", "--resume", "./-runs/--set"]
        options = {"resume": "-runs/--set"}
    answer = call(*words)
    assert answer.rc == 0, answer
    assert "resuming at epoch 1, step 6" in answer.err


@pytest.mark.ci
def test_a_run_that_diverges_names_a_checkpoint_if_there_is_one(call, tmp_path):
    large = {"lr": 1e30, "warmup_epochs": 0, "verbose": 0, **SIZES}
    with pytest.raises(DivergedError) as caught:
        rezoo.train(NETWORK, output=tmp_path / "new", **large)
    assert "checkpoint" not in caught.value.hint
    rezoo.train(NETWORK, output=tmp_path / "run", verbose=0, **{**SIZES, "epochs": 1})
    words = ("--lr", "1e30", "--epochs", "2", "--set", "schedule=constant")
    answer = call("train", "--resume", tmp_path / "run", *words)
    fails(answer, 8, "at epoch 2, step", "The last checkpoint is kept.")
