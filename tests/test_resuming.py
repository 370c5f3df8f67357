"""More epochs for a run that has ended, and other keys, which are refused by name."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import shutil
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rezoo
from conftest import fails
from rezoo.artifacts.run_files import LOCAL, read_history
from rezoo.cli.train import _model_and_run
from rezoo.cli.train import train as train_command
from rezoo.data.datasets import DataOptions
from rezoo.errors import IncompatibleError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.training import recorded, resuming, run_differences, run_folder
from rezoo.training.reporters import Reporter
from rezoo.training.request import Request, settle
from rezoo.training.run_folder import environment
from rezoo.training.time_limit import set_up
from rezoo.utils import lock
from rezoo.utils.files import write_json
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
def test_a_run_may_go_on(before, now, chosen):
    assert not [*run_differences.of_recipe(recipe(**before), recipe(**now), chosen)]


@pytest.mark.parametrize(
    ("now", "chosen", "message", "hint"),
    [
        (
            {"epochs": 8},
            ("epochs",),
            "epochs = 8 in place of 5: its learning rate",
            "--set schedule=constant",
        ),
        ({"epochs": 3}, ("epochs", "schedule"), "epochs = 3 in place of 5", "recipe.toml"),
        ({"flip": 0.0, "epochs": 8}, ("schedule",), "flip = 0.0 in place of 0.5", "recipe.toml"),
        ({"learning_rate": 0.2}, ("schedule",), "learning_rate = 0.2 in place of 0.1", "--output"),
    ],
)
def test_other_keys_are_named(tmp_path, now, chosen, message, hint):
    with pytest.raises(IncompatibleError, match=message) as caught:
        resuming.refuse(tmp_path, [*run_differences.of_recipe(recipe(), recipe(**now), chosen)])
    assert hint in caught.value.hint


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """A run of one epoch at a constant rate."""
    return at_a_constant_rate(tmp_path_factory.mktemp("constant") / "run", epochs=1)


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    """The same run with two epochs."""
    return at_a_constant_rate(tmp_path_factory.mktemp("longer") / "run", epochs=2)


def at_a_constant_rate(folder, epochs):
    keys = {"lr": 0.01, "schedule": "constant", "warmup_epochs": 0, "epochs": epochs, **SIZES}
    return rezoo.train(NETWORK, **keys, output=folder, verbose=0).folder


KEYS = {"lr": 0.01, "warmup_epochs": 0, **SIZES}


@pytest.mark.ci
def test_nothing_depends_on_a_clock_that_goes_forward(two_epochs, tmp_path, monkeypatch):
    """Each look at the clock of the machine shows an hour less than the one before."""
    hours = itertools.count()
    start_s = time.time()

    class Backward(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(start_s - 3600 * next(hours), tz)

    for module in (lock, run_folder):
        monkeypatch.setattr(module, "datetime", Backward)
    monkeypatch.setattr(time, "time", lambda: Backward.now(UTC).timestamp())
    keys = {**KEYS, "schedule": "constant", "checkpoint_every": "1s", "tensorboard": True}
    run = rezoo.train(NETWORK, output=tmp_path, epochs=2, max_time_s=600, **keys)
    rezoo.train(resume=run)
    last = "checkpoints/last/model.safetensors"
    assert (tmp_path / last).read_bytes() == (two_epochs / last).read_bytes()
    assert next(hours) > 5
    rows = read_history(tmp_path)
    times = [0.0, *(float(row["wall_time_s"]) for row in rows)]
    assert times == sorted(times)
    assert rows[1]["finished_utc"] < rows[0]["finished_utc"]


@pytest.mark.ci
def test_more_epochs_at_a_constant_rate_are_those_of_a_longer_run(
    constant, two_epochs, capsys, tmp_path
):
    longer = shutil.copytree(constant, tmp_path / "run")
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
    assert (longer / last).read_bytes() == (two_epochs / last).read_bytes()


@pytest.mark.ci
def test_more_epochs_of_another_schedule_say_the_rate(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    keys = ("--lr", "0.01", "--set", "warmup_epochs=0", "--batch-size", "256", "--image-size", "8")
    command = ("train", NETWORK, *keys, "--output", run, "--resume", "--epochs", "2")
    fails(call(*command), 6, "epochs = 2 in place of 1", "--set schedule=constant")
    answer = call(*command, "--set", "schedule=cosine")
    assert answer.rc == 0, answer
    assert "epochs 1 → 2: the learning rate goes on at 0.005 after 0.01" in answer.err


# a run folder alone is enough


@pytest.mark.ci
def test_a_run_folder_alone_is_resumed(constant, two_epochs, call, tmp_path, monkeypatch):
    run = shutil.copytree(constant, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    answer = call("train", "--resume", "./run", "--epochs", "2", "--json")
    assert answer.rc == 0, answer
    assert json.loads(answer.out)["epochs"] == 2
    assert f"model    {NETWORK}" in answer.err
    last = "checkpoints/last/model.safetensors"
    assert (run / last).read_bytes() == (two_epochs / last).read_bytes()
    (entry,) = json.loads((run / "environment.json").read_text("utf-8"))["changes"]
    assert entry["changes"] == ["epochs 1 → 2: the learning rate stays 0.01"]
    again = rezoo.train(resume=rezoo.train(resume=run, verbose=0), verbose=0)
    assert again.metrics["epochs"] == 2
    answer = call("train", "--resume", "--output", "run")  # likewise
    assert answer.rc == 0, answer


@pytest.mark.parametrize(
    ("words", "model", "run"),
    [
        (("resnet18",), "resnet18", False),
        (("resnet18", "--resume"), "resnet18", True),
        (("--resume", "resnet18"), "resnet18", True),
        (("--resume", "timm/resnet18.a1_in1k"), "timm/resnet18.a1_in1k", True),
        (("--resume", "runs/typo"), "runs/typo", True),  # an error: no such folder
        (("--resume", "./here"), None, "./here"),
        (("resnet18", "--resume", "here"), "resnet18", "here"),
        (("--resume", "--epochs", "3"), None, True),
        (("--resume", "--", "resnet18"), "resnet18", True),
    ],
)
def test_the_word_after_resume(tmp_path, monkeypatch, words, model, run):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    context = train_command.make_context("train", list(words))
    assert _model_and_run(context, dict(context.params)) == (model, run)


def test_what_cannot_be_resumed_is_an_error(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    fails(call("train"), 2, "Missing argument 'MODEL'")
    fails(call("train", "--resume"), 2, "no model is named", "--resume RUN")
    fails(call("train", "--resume", tmp_path / "typo"), 3, "typo")
    fails(call("train", "--resume", tmp_path / "empty"), 3, "empty holds no run")
    fails(call("train", "--resume", run, "--output", tmp_path / "x"), 2, "two run folders")
    fails(call("train", "--resume", run, "--dry-run"), 2, "--dry-run is for a new run")
    fails(call("train", "--resume", run, "--overwrite"), 2, "exclude each other")
    with pytest.raises(SpecError, match="no model is named"):
        rezoo.train()
    write_json(run / LOCAL, {"model": NETWORK, "dataset": "digits"})  # of an earlier version
    fails(call("train", "--resume", run), 3, "does not record all", "repeat the whole command")


def test_what_is_given_in_addition_is_compared(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    answer = call("train", "resnet20", "--resume", run, "--lr", "0.02")
    fails(
        answer, 6, "another recipe: learning_rate = 0.02 in place of 0.01; another network: "
        f"architecture resnet20 in place of {NETWORK}, fingerprint", "--allow-change",
    )  # fmt: skip
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_options_of_the_data_are_those_of_the_run(constant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = recorded.lasting(DataOptions(ignore="bad.txt", bad_limit=0.5))
    assert given.ignore == str(tmp_path / "bad.txt")
    run = shutil.copytree(constant, tmp_path / "run")
    old = recorded.Recorded.read(run)
    dataclasses.replace(old, options=given, max_time_s=60.0, tensorboard=True).write(run)
    nothing = dict.fromkeys(("model", "dataset", "recipe", "output", "options", "max_time_s"))
    inputs = recorded.complete(run, **nothing, tensorboard=False)
    assert (inputs.options, inputs.max_time_s, inputs.tensorboard) == (given, 60.0, True)
    assert (inputs.dataset, inputs.output) == ("digits", run)
    longer = recorded.complete(
        run, **{**nothing, "options": {"cache": "off"}}, tensorboard=False, changes={"epochs": 3}
    )
    assert longer.options == dataclasses.replace(given, cache="off")
    assert longer.max_time_s is None


@pytest.mark.ci
def test_kernels_stay_those_of_the_run(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    fails(
        call("train", "--resume", run, "--deterministic"), 6,
        "other kernels: deterministic = True in place of False", "omit --deterministic",
    )  # fmt: skip
    assert not recorded.was_deterministic(run, None, None)
    edited(run, LOCAL, deterministic=True)
    assert recorded.was_deterministic(run, None, None)
    assert not recorded.was_deterministic(True, NETWORK, run)  # a whole command says it again
    assert call("train", "--resume", run).rc == 0
    assert recorded.Recorded.read(run).deterministic is True
    whole = ("train", NETWORK, "--output", run, "--resume", "--epochs", "1", "--lr", "0.01")
    sizes = ("--batch-size", "256", "--image-size", "8", "--set", "warmup_epochs=0")
    answer = call(*whole, *sizes, "--set", "schedule=constant")
    fails(answer, 6, "other kernels: deterministic = False in place of True", "add --deterministic")
    local = json.loads((run / LOCAL).read_text("utf-8"))
    del local["deterministic"]  # of an earlier version: nothing to compare
    write_json(run / LOCAL, local)
    assert call("train", "--resume", run, "--deterministic").rc == 0


# other versions and networks


def edited(run: Path, name: str, **values) -> Path:
    write_json(run / name, {**json.loads((run / name).read_text("utf-8")), **values})
    return run


@pytest.mark.ci
def test_another_version_is_refused_or_recorded(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    packages = json.loads((run / "environment.json").read_text())["packages"]
    edited(run, "environment.json", packages={**packages, "keras": "3.0.0", "numpy": "1.0"})
    keras, numpy = packages["keras"], packages["numpy"]
    answer = call("train", "--resume", run)
    fails(answer, 6, f"other versions: keras {keras} in place of 3.0.0", "pip install keras==3.0.0")
    answer = call("train", "--resume", run, "--allow-change", "--lr", "0.02", "--seed", "7")
    assert answer.rc == 0, answer
    assert f"the last bits may differ: numpy {numpy} in place of 1.0" in answer.err
    found = json.loads((run / "environment.json").read_text())
    assert found["packages"] == packages
    (entry,) = found["changes"]
    assert datetime.fromisoformat(entry["changed_utc"]).utcoffset() == timedelta(0)
    assert entry["changes"] == [
        "another recipe: learning_rate = 0.02 in place of 0.01, seed = 7 in place of 0",
        f"other versions: keras {keras} in place of 3.0.0",
    ]
    assert (entry["epochs"], entry["steps"]) == (1, 0)
    assert tomllib.loads((run / "recipe.toml").read_text("utf-8"))["learning_rate"] == 0.02
    assert call("train", "--resume", run).rc == 0  # this is its recipe now


def test_a_run_with_other_batches_from_the_same_seed_is_refused():
    now = environment()
    before = {key: value for key, value in now.items() if key != "input_pipeline"}
    (found,) = run_differences.of_versions(before, now)  # a run of rezoo before it recorded this
    assert found.text == f"input pipeline {now['input_pipeline']} in place of 1"
    assert found.remedy == "use the rezoo of its start"
    assert not list(run_differences.of_versions(now, now))
    assert not list(run_differences.of_versions({}, now))  # nothing is recorded


def test_another_backend_and_another_network_are_named(constant, call, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    edited(run, "environment.json", backend="jax")
    edited(run, LOCAL, fingerprint="1:0")
    fails(
        call("train", "--resume", run), 6, "another network: fingerprint 1:", "in place of 1:0",
        "Keras's backend tensorflow in place of jax", "set KERAS_BACKEND=jax",
    )  # fmt: skip


def test_a_resumed_run_with_a_time_limit_keeps_its_length(tmp_path):
    """The time may have shortened the schedule, so the same command goes on with it."""
    request = Request.of(NETWORK, "digits", changes={"epochs": 90, **SIZES}, output=tmp_path)
    before, _ = settle(request.recipe, count=1295, chosen=request.chosen)
    before = dataclasses.replace(before, epochs=7, warmup_epochs=0.5)
    began = time.monotonic()
    setup, end_s = set_up(request, DataOptions(), Reporter(), 600.0, began, before)
    assert setup.recipe == before
    assert 5 < end_s < 20  # it was 30 s for any network
    assert setup.notes[-1] == "epochs stay 7: with a time limit, a run keeps its length"


@pytest.mark.ci
def test_verbose_0_is_silent(constant, capsys, tmp_path):
    run = shutil.copytree(constant, tmp_path / "run")
    keys = {**KEYS, "schedule": "constant", "epochs": 1}
    rezoo.train(NETWORK, output=run, resume=True, verbose=0, **keys)
    assert capsys.readouterr() == ("", "")


# the vocabulary of Python is that of the command line


def test_keywords_are_recipe_keys(constant):
    told = tomllib.loads((constant / "recipe.toml").read_text("utf-8"))
    assert (told["learning_rate"], told["schedule"], told["epochs"]) == (0.01, "constant", 1)


def test_options_and_keywords_of_train_have_the_same_names():
    from rezoo.cli.train import train

    options = {name.lstrip("-") for option in train.params for name in option.opts}
    keywords = {*inspect.signature(rezoo.train).parameters}
    keywords |= {*inspect.signature(rezoo.DataOptions).parameters}
    named = {option.replace("-", "_") for option in options}
    of_the_shell = {"json", "dry_run", "set", "max_time", "columns", "require_pinned", "restarts"}
    of_the_shell |= {"device"}  # a program sets it before it imports the backend
    keys = {field.name for field in dataclasses.fields(Recipe)}  # any of them is a keyword, too
    assert named - keywords - keys <= of_the_shell  # max_time_s; columns in the reference
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
