"""Transfer: a head fitted to features, alone or as the start of fine-tuning; plans and limits."""

from __future__ import annotations

import csv
import json
import time
import tomllib

import numpy as np
import pytest

import rezoo
from conftest import fails
from rezoo.artifacts.safetensors import read_tensors
from rezoo.errors import SpecError
from rezoo.training import step_memory, trial
from rezoo.training.reporters import Reporter
from rezoo.utils import device
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

CHANGES = {"image_size": 16, "batch_size": 64}


class Notes(Reporter):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def probed(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe") / "run"
    return rezoo.train(str(trained), "digits", recipe="probe", changes=CHANGES, output=folder)


@pytest.mark.ci
def test_probe_is_a_run_like_any_other(trained, probed, call):
    """All but the head is as it was, bit by bit; the head is better than chance by far."""
    before, after = (read_tensors(f / "model.safetensors")[0] for f in (trained, probed.folder))
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert probed.metrics["val"]["top1"] > 0.5
    assert (probed.metrics["best_epoch"], probed.metrics["epochs"]) == (0, 0)
    (row,) = history(probed.folder)
    assert (row["epoch"], row["gradient_norm"]) == ("0", "")
    assert float(row["train_top1"]) > 0.9
    assert call("verify", probed.folder).rc == 0
    answer = call("eval", probed.folder, "--json")
    assert json.loads(answer.out)["top1"] > 0.5
    chosen = "its regularization chosen by cross-validation on the training split"
    card = (probed.folder / "README.md").read_text("utf-8")
    assert f"the linear probe on the features of the weights, {chosen}: the validation" in card
    assert "optimistic" not in card
    assert chosen in (probed.folder / "report.html").read_text("utf-8")
    assert "epochs = 0" in (probed.folder / "recipe.toml").read_text("utf-8")


def test_probe_needs_weights(call):
    fails(call("train", "test_resnet", "--recipe", "probe"), 2, "starts from trained weights")
    fails(call("train", "test_resnet", "--set", "epochs=0"), 2, "epochs = 0", "head_start")


@pytest.mark.ci
def test_finetune_starts_from_the_probe_and_keeps_what_is_better(trained, photographs, tmp_path):
    folder = photographs({"cat": 12, "dog": 12, "eel": 12})
    heard = Notes()
    run = rezoo.train(
        str(trained),
        f"folder:{folder}",
        recipe="finetune",
        changes={**CHANGES, "batch_size": 8, "epochs": 1},
        output=tmp_path / "run",
        reporter=heard,
    )
    assert [row["epoch"] for row in history(run.folder)] == ["0", "1"]
    assert any(text.startswith("head fitted with strength C") for text in heard.texts)
    best = max(history(run.folder), key=lambda r: (float(r["val_top1"]), -float(r["val_loss"])))
    assert run.metrics["best_epoch"] == int(best["epoch"])
    again = rezoo.train(
        str(trained),
        f"folder:{folder}",
        recipe="finetune",
        changes={**CHANGES, "batch_size": 8, "epochs": 1},
        output=tmp_path / "run",
        resume=True,
    )
    assert again.metrics["val"] == run.metrics["val"]


@pytest.mark.slow
def test_the_average_starts_from_the_fitted_head(trained, tmp_path):
    changes = {**CHANGES, "ema_decay": 0.5}
    run = rezoo.train(str(trained), "digits", recipe="probe", changes=changes, output=tmp_path)
    assert run.metrics["val"]["top1"] > 0.5


# plans


@pytest.mark.ci
def test_a_dry_run_writes_nothing_and_tells_all(tmp_path, call):
    out = tmp_path / "run"
    args = ("train", NETWORK, "--image-size", 16, "--dry-run", "--output", out)
    answer = call(*args, "--json")
    assert answer.rc == 0
    assert not out.exists()
    told = json.loads(answer.out)
    assert told["params"] == 178
    assert told["flops"] == 2 * told["macs"]
    assert told["memory"]["predicted_peak_bytes"] > told["memory"]["activations"] > 0
    assert told["memory"]["measured_peak_bytes"] > 0
    assert 0 < told["times"]["step_s"] <= told["epoch_s"] <= told["total_s"]
    assert sum(told["classes"].values()) == 1295
    assert list(told["classes"]) == list("0123456789")
    assert np.isfinite(told["times"]["loss"])
    words = call(*args).out
    for word in ("network", "batch", "memory", "time", "disk", "classes", "nothing was trained"):
        assert word in words


@pytest.mark.slow
def test_a_dry_run_without_epochs(trained, call):
    """A probe has no steps; its time is that of the images in the network."""
    args = ("train", trained, "--dataset", "digits", "--recipe", "probe", "--dry-run")
    answer = call(*args, "--json")
    assert answer.rc == 0, answer
    told = json.loads(answer.out)
    assert told["times"]["loss"] is None
    assert told["times"]["step_s"] == 0
    assert 0 < told["times"]["probe_s"] < told["total_s"]
    words = call(*args)
    assert words.rc == 0, words
    assert "for the features" in words.out
    assert "images/s" not in words.out


def test_a_dry_run_that_diverges(tmp_path, call):
    args = ("--image-size", 8, "--lr", "1e30", "--set", "warmup_epochs=0", "--dry-run", "--json")
    answer = call("train", NETWORK, *args, "--output", tmp_path / "run")
    fails(answer, 8, "the loss is", "of a trial, learning rate 1e+30", "lower --lr")


@pytest.mark.ci
def test_the_steps_of_a_plan_leave_no_mark(tmp_path):
    """A run whose steps were timed first is the run without, to the same bits."""
    changes = {**CHANGES, "epochs": 1}
    plain = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / "a")
    timed = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / "b", max_time_s=3600)
    one, other = ((r.folder / "model.safetensors").read_bytes() for r in (plain, timed))
    assert one == other


@pytest.mark.slow
def test_a_time_limit_shortens_the_schedule(tmp_path):
    changes = {**CHANGES, "epochs": 2000, "warmup_epochs": 100.0}
    begun = time.monotonic()
    run = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / "a", max_time_s=100)
    assert time.monotonic() - begun < 150
    assert 1 <= run.metrics["epochs"] < 2000
    planned = tomllib.loads((run.folder / "recipe.toml").read_text("utf-8"))
    assert run.metrics["epochs"] <= planned["epochs"] < 2000
    assert planned["warmup_epochs"] == pytest.approx(planned["epochs"] / 20)
    with pytest.raises(SpecError, match="one epoch takes about"):
        rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / "b", max_time_s=11)
    assert not (tmp_path / "b").exists()


@pytest.mark.ci
def test_an_automatic_batch_is_the_recipes_in_parts(monkeypatch, tmp_path):
    plain = {"image_size": 16}
    whole = trial.dry_run(NETWORK, "digits", changes=plain, output=tmp_path)[1].memory
    free = (whole.total - whole.activations // 3) / step_memory.FREE_PART
    monkeypatch.setattr(device, "free_bytes", lambda: round(free))
    changes = {**plain, "batch_size": "auto"}
    plan, found = trial.dry_run(NETWORK, "digits", changes=changes, output=tmp_path)
    assert (plan.recipe.batch_size, plan.recipe.accumulation) == (32, 2)
    assert found.memory.activations < whole.activations
    assert any("batch 32 in 2 micro-batches of 16" in note for note in plan.notes)


def test_times_as_people_write_them(call):
    for text in ("soon", "0", "-3m", "2x", ""):
        fails(call("train", "test_resnet", "--max-time", text), 2, "is not a duration")
    fails(call("train", "test_resnet", "--batch-size", "many"), 2, "many")
