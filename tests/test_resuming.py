"""More epochs for a run that has ended, and other keys, which are refused by name."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import time
import tomllib

import pytest

import rezoo
from conftest import fails
from rezoo.data.datasets import DataOptions
from rezoo.errors import IncompatibleError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.training import resuming
from rezoo.training import train as training
from rezoo.training.reporters import Reporter
from rezoo.training.request import Request, settle
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SIZES = {"batch_size": 256, "image_size": 8}


def recipe(**keys) -> Recipe:
    return Recipe(name="r", **{"epochs": 5, **keys})


@pytest.mark.parametrize(
    ("before", "now", "chosen"),
    [
        ({}, {}, ()),
        ({"schedule": "constant"}, {"schedule": "constant", "epochs": 8}, ("epochs",)),
        ({}, {"epochs": 8}, ("epochs", "schedule")),
        ({}, {"epochs": 8, "schedule": "constant", "learning_rate": 1e-3}, ("epochs", "schedule")),
    ],
)
def test_a_run_may_go_on(tmp_path, before, now, chosen):
    resuming.check_recipe(tmp_path, recipe(**before), recipe(**now), chosen)


@pytest.mark.parametrize(
    ("now", "chosen", "message", "hint"),
    [
        ({"epochs": 8}, ("epochs",), "epochs = 8: the run in .* has 5", "--set schedule=constant"),
        ({"epochs": 3}, ("epochs", "schedule"), "epochs = 3 in place of 5", "recipe.toml"),
        ({"flip": 0.0, "epochs": 8}, ("schedule",), "flip = 0.0 in place of 0.5", "recipe.toml"),
        ({"learning_rate": 0.2}, ("schedule",), "learning_rate = 0.2 in place of 0.1", "--output"),
    ],
)
def test_other_keys_are_named(tmp_path, now, chosen, message, hint):
    with pytest.raises(IncompatibleError, match=message) as caught:
        resuming.check_recipe(tmp_path, recipe(), recipe(**now), chosen)
    assert hint in caught.value.hint


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """A run of one epoch at a constant rate, and one of two."""
    root = tmp_path_factory.mktemp("constant")
    for epochs in (1, 2):
        rezoo.train(
            NETWORK, lr=0.01, schedule="constant", warmup_epochs=0, epochs=epochs,
            output=root / str(epochs), verbose=0, **SIZES,
        )  # fmt: skip
    return root


KEYS = {"lr": 0.01, "warmup_epochs": 0, **SIZES}


def test_more_epochs_at_a_constant_rate_are_those_of_a_longer_run(constant, capsys, tmp_path):
    longer = shutil.copytree(constant / "1", tmp_path / "run")
    run = rezoo.train(NETWORK, schedule="constant", epochs=2, output=longer, resume=True, **KEYS)
    out, err = capsys.readouterr()
    assert out == ""
    for text in (
        "dataset  digits: train 1,295, val 143, test 359",
        "classes  10, images in train: 0 128, 1 131",
        "note     epochs 1 → 2: the learning rate stays 0.01",
        "resuming at epoch 2, step 1",
        "epoch   2/2",
    ):
        assert text in err
    assert run.metrics["epochs"] == 2
    assert tomllib.loads((longer / "recipe.toml").read_text("utf-8"))["epochs"] == 2
    last = "checkpoints/last/model.safetensors"
    assert (longer / last).read_bytes() == (constant / "2" / last).read_bytes()


def test_more_epochs_of_another_schedule_say_the_rate(constant, call, tmp_path):
    run = shutil.copytree(constant / "1", tmp_path / "run")
    keys = ("--lr", "0.01", "--set", "warmup_epochs=0", "--batch-size", "256", "--image-size", "8")
    command = ("train", NETWORK, *keys, "--output", run, "--resume", "--epochs", "2")
    fails(call(*command), 6, "epochs = 2: the run in", "--set schedule=constant")
    answer = call(*command, "--set", "schedule=cosine")
    assert answer.rc == 0, answer
    assert "epochs 1 → 2: the learning rate goes on at 0.005 after 0.01" in answer.err


def test_a_resumed_run_with_a_time_limit_keeps_its_length(tmp_path):
    """The time may have shortened the schedule, so the same command goes on with it."""
    request = Request.of(NETWORK, "digits", changes={"epochs": 90, **SIZES}, output=tmp_path)
    before, _ = settle(request.recipe, count=1295, chosen=request.chosen)
    before = dataclasses.replace(before, epochs=7, warmup_epochs=0.5)
    began = time.monotonic()
    setup, _ = training._set_up(request, DataOptions(), Reporter(), 600.0, began, before)
    assert setup.recipe == before
    assert setup.notes[-1] == "epochs stay 7: with a time limit, a run keeps its length"


def test_verbose_0_is_silent(constant, capsys, tmp_path):
    run = shutil.copytree(constant / "1", tmp_path / "run")
    keys = {**KEYS, "schedule": "constant", "epochs": 1}
    rezoo.train(NETWORK, output=run, resume=True, verbose=0, **keys)
    assert capsys.readouterr() == ("", "")


# the vocabulary of Python is that of the command line


def test_keywords_are_recipe_keys(constant):
    told = tomllib.loads((constant / "1" / "recipe.toml").read_text("utf-8"))
    assert (told["learning_rate"], told["schedule"], told["epochs"]) == (0.01, "constant", 1)


def test_options_and_keywords_of_train_have_the_same_names():
    from rezoo.cli.train import train

    options = {name.lstrip("-") for option in train.params for name in option.opts}
    keywords = {*inspect.signature(rezoo.train).parameters}
    keywords |= {*inspect.signature(rezoo.DataOptions).parameters}
    named = {option.replace("-", "_") for option in options}
    of_the_shell = {"json", "dry_run", "set", "max_time", "columns", "require_pinned"}
    assert named - keywords <= of_the_shell  # in Python max_time_s, and columns in the reference
    assert {"epochs", "batch_size", "lr", "image_size", "seed"} <= named & keywords


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epoch": 3}, "unknown recipe key 'epoch'"),
        ({"lr": 0.1, "learning_rate": 0.1}, "'learning_rate' is set twice"),
        ({"epochs": 3, "changes": {"epochs": 3}}, "'epochs' is set twice"),
        ({"lr": -1.0}, "recipe key learning_rate = -1.0; allowed is above 0"),
    ],
)
def test_keywords_that_do_not_fit(keys, message):
    with pytest.raises(SpecError, match=message):
        rezoo.train(NETWORK, **keys)
