"""The training loop: runs, exact resume, fine-tuning, and what stops a run."""

import csv
import json
import os
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import rezoo
from rezoo.artifacts.safetensors import read_tensors
from rezoo.errors import DivergedError, IncompatibleError, Interrupted, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.recipes.recipe import Recipe
from rezoo.training.generations import read_whole
from rezoo.training.optimizers import build_optimizer
from rezoo.training.reporters import Reporter
from rezoo.training.schedules import schedule
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SMALL = {"image_size": 16, "batch_size": 128, "epochs": 2}
FILES = {
    "README.md",
    "checkpoints",
    "config.json",
    "curves.svg",
    "environment.json",
    "history.csv",
    "metrics.json",
    "model.safetensors",
    "predictions-val.npz",
    "recipe.toml",
    "report.html",
    "reference.safetensors",
}


class StopAt(Reporter):
    """Asks to stop at a step, as Ctrl-C does."""

    interval_s = 0.0

    def __init__(self, epoch, step, number=signal.SIGINT):
        self.at, self.number = (epoch, step), number

    def step(self, epoch, step, figures):
        if (epoch, step) == self.at:
            os.kill(os.getpid(), self.number)


class Said(Reporter):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    return rezoo.train(NETWORK, "digits", changes=SMALL, output=folder)


WRONG_NAMES = """
import sys
import rezoo
for model, dataset, keys in (
    ("resnet21", "digits", {}),
    ("resnet18", "digit", {}),
    ("resnet18", "digits", {"recipe": "quik"}),
    ("resnet18", "digits", {"changes": {"epoch": 3}}),
):
    try:
        rezoo.train(model, dataset, **keys)
    except rezoo.RezooError as error:
        assert error.exit_code in (2, 3), error
    else:
        raise AssertionError((model, dataset, keys))
print(sorted({"tensorflow", "keras", "jax", "numpy", "rich"} & set(sys.modules)))
"""


def test_wrong_names_are_reported_before_tensorflow_is_imported():
    command = [sys.executable, "-c", WRONG_NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.ci
def test_the_random_state_of_the_process_is_kept(run, tmp_path):
    states = [random.getstate(), np.random.get_state()[1].tolist()]
    keras.utils.set_random_seed(7)
    wanted = keras.random.uniform((3,))
    keras.utils.set_random_seed(7)
    before = [random.getstate(), np.random.get_state()[1].tolist()]
    assert before != states
    again = rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path)
    assert [random.getstate(), np.random.get_state()[1].tolist()] == before
    assert np.array_equal(keras.random.uniform((3,)), wanted)
    assert_same_bits(again.folder, run.folder)  # and the run does not depend on it


@pytest.mark.ci
def test_paths_recipes_and_opened_datasets_are_accepted(run, tmp_path):
    data = rezoo.load_dataset("digits")
    recipe = Recipe(name="mine", epochs=1, batch_size=256, learning_rate=0.01)
    changes = {"image_size": 8}
    tuned = rezoo.train(run.folder, data, recipe=recipe, changes=changes, output=tmp_path / "a")
    assert (tuned.metrics["dataset"], tuned.metrics["epochs"]) == ("digits", 1)
    file = tmp_path / "mine.toml"
    file.write_text('epochs = 1\nbatch_size = 256\nlearning_rate = 0.01\nname = "mine"\n')
    named = rezoo.train(
        str(run.folder), "digits", recipe=file, changes=changes, output=tmp_path / "b"
    )
    assert_same_bits(tuned.folder, named.folder)


@pytest.mark.backend
def test_run_folder_is_complete(run):
    assert {p.name for p in run.folder.iterdir()} == FILES
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(run.metrics))
    best = max(rows, key=lambda row: (float(row["val_top1"]), -float(row["val_loss"])))
    assert metrics["best_epoch"] == int(best["epoch"])
    assert metrics["val"]["top1"] == pytest.approx(float(best["val_top1"]))
    assert str(run.folder.parent) not in (run.folder / "README.md").read_text()


@pytest.mark.backend
def test_reference_batch_is_reproduced(run):
    reference, metadata = read_tensors(run.folder / "reference.safetensors")
    assert metadata == {"images": "4 validation images of digits (CC BY 4.0)"}
    assert {reference[f"image.{i}"].shape for i in range(4)} == {(8, 8, 1)}
    logits = compiled_forward(rezoo.load(str(run.folder)))(reference["inputs"])
    assert np.abs(logits - reference["logits"]).max() <= 1e-5 * np.abs(reference["logits"]).max()


def assert_same_bits(one, other):
    for name in ("model.safetensors", "reference.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    ours, theirs = (read_whole(f / "checkpoints" / "last.safetensors").values for f in (one, other))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
@pytest.mark.backend
def test_resume_continues_to_the_same_bits(run, tmp_path, number):
    with pytest.raises(Interrupted) as stopped:
        rezoo.train(
            NETWORK, "digits", changes=SMALL, output=tmp_path, reporter=StopAt(1, 3, number)
        )
    assert stopped.value.exit_code == 128 + number
    rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path, resume=True)
    assert_same_bits(tmp_path, run.folder)


PARTS = {"accumulation": 2, "ema_decay": 0.9, "ema_every": 2, "clip_norm": 1.0}
HALF = {"precision": "mixed_float16", "optimizer": "adamw"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({**PARTS, "optimizer": "lamb", "layer_lr_decay": 0.7}, marks=pytest.mark.slow),
        pytest.param(HALF, marks=pytest.mark.slow),  # float16 is slow on a CPU
    ],
    ids=["parts and average", "float16"],
)
def test_resume_restores_all_of_the_state(tmp_path, changes):
    short = {"image_size": 8, "epochs": 1, "warmup_epochs": 0.0, "learning_rate": 0.01}
    changes = {**SMALL, **changes, **short}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    rezoo.train(NETWORK, "digits", changes=changes, output=whole)
    with pytest.raises(Interrupted):
        rezoo.train(NETWORK, "digits", changes=changes, output=halves, reporter=StopAt(0, 7))
    rezoo.train(NETWORK, "digits", changes=changes, output=halves, resume=True)
    assert_same_bits(halves, whole)
    if "ema_decay" in changes:  # what the run leaves is the average, not the network
        state = read_whole(whole / "checkpoints" / "last.safetensors").values
        last = read_tensors(whole / "checkpoints" / "last" / "model.safetensors")[0]
        bias = last["fc.bias"]
        assert any(np.array_equal(v, bias) for n, v in state.items() if n.startswith("average"))
        assert not any(np.array_equal(v, bias) for n, v in state.items() if n.startswith("model"))


@pytest.mark.ci
def test_a_run_that_stopped_early_is_finished(tmp_path):
    """Nothing moves, so the second epoch is not better than the first."""
    heard = Said()
    changes = {**SMALL, "epochs": 5, "early_stopping_epochs": 1, "batch_norm": "frozen"}
    changes["learning_rate"] = 1e-30
    run = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path, reporter=heard)
    assert (run.metrics["epochs"], run.metrics["best_epoch"]) == (2, 1)
    assert any("stopped after epoch 2 of 5" in text for text in heard.texts)
    before = (tmp_path / "checkpoints" / "last.safetensors").read_bytes()
    again = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path, resume=True)
    assert again.metrics["val"] == run.metrics["val"]
    assert (tmp_path / "checkpoints" / "last.safetensors").read_bytes() == before


def test_resume_refuses_another_recipe(run):
    with pytest.raises(rezoo.RezooError, match="another recipe") as refused:
        rezoo.train(NETWORK, "digits", changes={**SMALL, "seed": 9}, output=run.folder, resume=True)
    assert refused.value.exit_code == 6


def test_resume_of_a_finished_run_changes_nothing(run):
    before = (run.folder / "model.safetensors").read_bytes()
    again = rezoo.train(NETWORK, "digits", changes=SMALL, output=run.folder, resume=True)
    assert (run.folder / "model.safetensors").read_bytes() == before
    assert again.metrics["val"] == run.metrics["val"]


def test_occupied_folders_are_refused(run, tmp_path):
    with pytest.raises(SpecError, match="already holds a run"):
        rezoo.train(NETWORK, "digits", changes=SMALL, output=run.folder)
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SpecError, match="not empty"):
        rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_divergence_stops_and_keeps_the_checkpoint(tmp_path):
    changes = {**SMALL, "epochs": 3, "learning_rate": 1e30, "warmup_epochs": 0.0}
    with pytest.raises(DivergedError, match="the loss is"):
        rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path)


def test_fine_tuning_takes_the_weights_and_a_new_head(run, tmp_path):
    photographs = tmp_path / "photographs"
    for name in ("ant", "bee"):
        (photographs / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(i).integers(0, 255, (20, 24, 3), dtype=np.uint8)
            keras.utils.save_img(photographs / name / f"{i}.png", pixels)
    changes = {"epochs": 1, "batch_size": 8, "backbone_lr_scale": 0.0}
    tuned = rezoo.train(
        str(run.folder), f"folder:{photographs}", changes=changes, output=tmp_path / "tuned"
    )
    before, _ = read_tensors(run.folder / "model.safetensors")
    after, _ = read_tensors(tuned.folder / "model.safetensors")
    assert after["fc.weight"].shape == (2, 8)
    for name, value in before.items():
        if not name.startswith("fc.") and "running_" not in name:
            assert np.array_equal(after[name], value), name
    config = json.loads((tuned.folder / "config.json").read_text())
    assert config["label_names"] == ["ant", "bee"]
    assert config["pretrained_cfg"]["mean"] == [0.5]  # of the weights, not of photographs


@pytest.mark.ci
def test_same_classes_keep_the_head(run, tmp_path):
    class Notes(Reporter):
        def started(self, plan, epoch, step):
            self.notes = plan.notes

    heard = Notes()
    changes = {"epochs": 1, "batch_size": 128, "learning_rate": 1e-6}
    tuned = rezoo.train(str(run.folder), "digits", changes=changes, output=tmp_path, reporter=heard)
    assert any("head is kept" in note for note in heard.notes)
    assert tuned.metrics["val"]["top1"] == pytest.approx(run.metrics["val"]["top1"], abs=0.15)


@pytest.mark.ci
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": "adamw"}, marks=pytest.mark.slow),
        {"precision": "mixed_bfloat16"},
    ],
)
def test_variants_learn(tmp_path, changes):
    settings = {**SMALL, **changes, "epochs": 1, "learning_rate": 0.01}
    result = rezoo.train(NETWORK, "digits", changes=settings, output=tmp_path)
    assert np.isfinite(result.metrics["val"]["loss"])
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [0.0, 0.5, 1.0, 1.0, 1.0]),
        ("step", [0.0, 0.5, 1.0, 0.1, 0.01]),
        ("cosine", [0.0, 0.5, 1.0, 0.5, 0.0]),
    ],
)
@pytest.mark.backend
def test_schedules(kind, expected):
    """10 steps an epoch, warm-up of 2 epochs, 10 epochs in all; a tenth each 4 epochs."""
    steps = {"step": [0, 10, 20, 40, 80]}.get(kind, [0, 10, 20, 60, 100])
    recipe = Recipe(
        name="t", learning_rate=1.0, schedule=kind, epochs=10, warmup_epochs=2.0, step_at=(0.4, 0.8)
    )
    rate = schedule(recipe, 10)
    assert [float(keras.ops.convert_to_numpy(rate(s))) for s in steps] == pytest.approx(
        expected, abs=1e-6
    )


def test_decay_spares_norm_and_bias():
    model = rezoo.create_model("resnet18", num_classes=3, input_shape=(16, 16, 1))
    recipe = Recipe(name="t", weight_decay=0.1)
    optimizer = build_optimizer(model, recipe, 10)
    decayed = {v.path for v in optimizer.trained if optimizer.decay_of(v)}
    assert all(path.endswith("/kernel") for path in decayed)
    assert len(decayed) == 21


@pytest.mark.ci
def test_a_run_keeps_its_part_for_validation(tmp_path):
    short = {"epochs": 1, "image_size": 8, "batch_size": 64, "precision": "float32"}
    runs = []
    for part, count in ((0.1, 143), (0.3, 434)):
        run = rezoo.train(
            NETWORK, "digits", output=tmp_path / str(part), val_fraction=part, **short
        )
        runs.append(run.folder)
        assert run.metrics["images"]["val"] == count
        assert len(rezoo.evaluate(run.folder, split="val").predictions.keys) == count
        assert len(rezoo.evaluate(run.folder, "digits", split="val").predictions.keys) == count
    with pytest.raises(IncompatibleError, match="hold out different parts of train"):
        rezoo.compare(runs, split="val")
    with pytest.raises(SpecError, match="the dataset is opened"):
        rezoo.train(NETWORK, rezoo.load_dataset("digits"), output=tmp_path / "x", val_fraction=0.3)
