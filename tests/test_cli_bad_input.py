"""Wrong use of the command line: one message, one documented exit code, no traceback."""

from __future__ import annotations

import csv
import importlib
import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import rezoo
from conftest import encoded, fails, picture, start
from rezoo.artifacts import manifest
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.cli.quiet import quietly
from rezoo.training.generations import read_whole
from rezoo.utils.lock import LOCK, locked
from tiny import NETWORK, WITH_BIAS, tiny_network  # noqa: F401 - a fixture

TRAINED = "test_resnet"  # the network of the fixture `trained`
TINY = ("--epochs", "1", "--batch-size", "128", "--image-size", "8")


@pytest.fixture
def run_copy(trained, tmp_path) -> Path:
    """A copy of a run folder, which the test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run copy"))


@pytest.fixture(scope="session")
def animals(tmp_path_factory) -> Path:
    """A folder of photographs, forty per class, of two classes."""
    root = tmp_path_factory.mktemp("animals")
    for place, name in enumerate(("cat", "dog")):
        (root / name).mkdir()
        for i in range(40):
            data = encoded(picture(100 * place + i, (20, 16)))
            (root / name / f"{i:02d}.jpg").write_bytes(data)
    return root


def train(call, dataset, output, *options, model=NETWORK):
    options = options or ("--epochs", "1", "--batch-size", "16", "--image-size", "8")
    return call("train", model, "--dataset", dataset, "--output", output, *options)


# data that is not there, or wrong


def test_train_on_a_missing_folder(call, tmp_path):
    answer = train(call, f"folder:{tmp_path}/nosuch", tmp_path / "run")
    fails(answer, 3, f"no such folder: {tmp_path}/nosuch", "Hint: check the path.")
    assert not (tmp_path / "run").exists()


def test_train_on_a_folder_without_images(call, tmp_path):
    (tmp_path / "data" / "cat").mkdir(parents=True)
    answer = train(call, f"folder:{tmp_path}/data", tmp_path / "run")
    fails(answer, 3, "no images in", "one folder per class", ".jpg")
    assert not (tmp_path / "run").exists()


def test_train_on_one_class(call, photographs, tmp_path):
    answer = train(call, f"folder:{photographs({'cat': 30})}", tmp_path / "run")
    fails(answer, 2, "has only one class, 'cat'", "one folder for each class")
    assert not (tmp_path / "run").exists()


def test_train_without_a_train_split(call, photographs, tmp_path):
    data = photographs({"test/cat": 3, "test/dog": 3})
    fails(train(call, f"folder:{data}", tmp_path / "run"), 3, "no split 'train'", "it has test.")


def test_train_with_one_image_a_class(call, photographs, tmp_path):
    answer = train(call, f"folder:{photographs({'cat': 1, 'dog': 1})}", tmp_path / "run")
    assert answer.rc == 2
    assert "unexpected" not in answer.err


def test_batch_larger_than_the_data(call, animals, tmp_path):
    answer = train(call, f"folder:{animals}", tmp_path / "run", "--batch-size", "500")
    fails(answer, 2, "batch_size 500 is larger than train, which has", "set --batch-size to")
    assert not (tmp_path / "run").exists()


def test_train_on_a_folder_that_cannot_be_read(call, photographs, tmp_path, not_root):
    root = photographs({"cat": 3, "dog": 3})
    root.chmod(0)
    answer = train(call, f"folder:{root}", tmp_path / "run")
    root.chmod(0o700)
    fails(answer, 3, "cannot read the folder")


@pytest.mark.ci
def test_one_bad_image_is_named_and_the_run_continues(call, photographs, tmp_path):
    root = photographs({"cat": 80, "dog": 69})
    (root / "dog" / "notes.jpg").write_text("this is no image")
    answer = train(call, f"folder:{root}", tmp_path / "run")
    assert answer.rc == 0, answer.err
    assert "Warning: 1 of 150 images" in answer.err
    assert "'dog/notes.jpg': not a JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF image" in answer.err
    assert "1 file left out" in answer.err


def test_too_many_bad_images(call, photographs, tmp_path):
    root = photographs({"cat": 80, "dog": 68})
    for i in range(2):
        (root / "dog" / f"notes{i}.jpg").write_text("this is no image")
    answer = train(call, f"folder:{root}", tmp_path / "run")
    fails(answer, 5, "2 of 150 images", "dog/notes0.jpg", "dog/notes1.jpg", "at most 1% may be bad")
    assert not (tmp_path / "run").exists()


def test_eval_and_predict_on_missing_paths(call, trained, tmp_path):
    fails(call("eval", trained, "--dataset", f"folder:{tmp_path}/nosuch"), 3, "no such folder")
    fails(call("eval", tmp_path / "nosuch"), 3, "no such folder")
    fails(call("predict", trained, tmp_path / "nosuch.jpg"), 3, "no such file, folder or match")
    fails(call("predict", trained, f"{tmp_path}/*.jpg"), 3, "no such file, folder or match")
    fails(call("predict", trained, tmp_path), 3, "no images found", ".jpg")
    fails(call("predict", tmp_path / "nosuch", "x.jpg"), 3, "no such folder")


def test_eval_on_other_classes(call, trained, animals):
    answer = call("eval", trained, "--dataset", f"folder:{animals}")
    text = "2 of the dataset's 2 classes are not among the network's 10: 'cat', 'dog'"
    fails(answer, 6, text, "new head")


def test_eval_without_weights(call):
    fails(call("eval", "resnet18", "--dataset", "digits"), 2, "has no weights")
    fails(call("predict", "resnet18", "x.jpg"), 2, "has no weights")


def test_eval_out_of_bounds(call, trained, tmp_path):
    for option in ("--batch-size", "--image-size"):
        fails(call("eval", trained, option, "0"), 2, f"'{option}': 0")
    (tmp_path / "x.png").write_bytes(encoded(picture(1), "PNG"))
    fails(call("predict", trained, tmp_path / "x.png", "--top-k", "0"), 2, "--top-k")


def test_eval_of_a_missing_split(call, run_copy, photographs):
    data = photographs({"test/0": 3, "test/1": 3})
    answer = call("eval", run_copy, "--dataset", f"folder:{data}", "--split", "val")
    fails(answer, 3, "no split 'val'", "it has test; ", "(--split all)")


def test_damaged_weights(call, run_copy):
    weights = run_copy / "model.safetensors"
    values, _ = read_tensors(weights)
    os.truncate(weights, 1_000_000)
    fails(call("eval", run_copy), 5, "has 1,000,000 bytes; its config.json says", "get it again")
    manifest.remove_manifest(run_copy)
    fails(call("eval", run_copy), 5, "is damaged", "get the file again")
    weights.unlink()
    fails(call("eval", run_copy), 3, "has no model.safetensors")
    write_tensors(weights, {**values, "fc.bias": np.full(10, np.nan, np.float32)})
    fails(call("eval", run_copy), 5, "NaN or infinite", "fc.bias")
    write_tensors(weights, {**values, "fc.bias": np.zeros(3, np.float32)})
    fails(call("eval", run_copy), 6, "fc.bias is (3,), not (10,)", "nothing was loaded")


def test_damaged_config(call, run_copy):
    config = run_copy / "config.json"
    text = config.read_text()
    config.write_text(text[:50])
    fails(call("eval", run_copy), 5, "config.json is not valid JSON")
    config.write_text(text.replace('"num_classes": 10', '"num_classes": 11'))
    fails(call("eval", run_copy), 6, "10 class names for num_classes = 11")
    config.write_text(text.replace("test_resnet", "resnet50d"))
    fails(call("eval", run_copy), 6, "does not fit resnet50d", "missing", "of another shape")
    config.unlink()
    fails(call("eval", run_copy), 3, "has no config.json")


def test_predict_names_files_that_are_not_images(call, trained, tmp_path):
    (tmp_path / "good.png").write_bytes(encoded(picture(1), "PNG"))
    (tmp_path / "bad\x1b[31m.png").write_text("no image")
    answer = call("predict", trained, tmp_path / "good.png", tmp_path / "bad\x1b[31m.png", "--json")
    assert answer.rc == 5
    assert "not a JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF image" in answer.err
    assert "\x1b" not in answer.err
    good, bad = json.loads(answer.out)
    assert len(good["predictions"]) == 5
    assert sum(p["probability"] for p in good["predictions"]) <= 1.000001
    assert bad["error"] == "not a JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF image"
    text = call("predict", trained, tmp_path / "good.png", tmp_path / "bad\x1b[31m.png")
    assert "\x1b" not in text.out  # a file's name must not steer the terminal


# recipe values and names: more in test_startup.py, which also looks at what is loaded


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--set", "momentun=0.9"], ["unknown recipe key 'momentun'", "momentum"]),
        (["--epochs", "0"], ["epochs = 0", "1 or more"]),
        (["--batch-size", "-4"], ["batch_size = -4", "1 or more"]),
        (["--lr", "nan"], ["learning_rate = nan", "must be finite"]),
        (["--lr", "0"], ["learning_rate = 0.0", "above 0"]),
        (["--image-size", "99999"], ["'--image-size'", "1<=x<=8192"]),
        (["--seed", "-1"], ["seed = -1", "2147483647"]),
        (["--set", "optimizer=adam"], ["optimizer = 'adam'", "sgd, adamw, lamb, lars or muon"]),
        (["--set", "precision=float16"], ["precision = 'float16'", "mixed_bfloat16"]),
    ],
)
def test_wrong_recipe_values(call, tmp_path, options, fragments):
    answer = call("train", "resnet18", "--output", tmp_path / "run", *options)
    fails(answer, 2, *fragments)
    assert not (tmp_path / "run").exists()


# the run folder


def test_folder_that_holds_a_run(call, run_copy):
    answer = train(call, "digits", run_copy, *TINY)
    fails(answer, 2, "already holds a run", "--resume", "--overwrite", "--output")
    both = train(call, "digits", run_copy, *TINY, "--resume", "--overwrite")
    fails(both, 2, "resume and overwrite exclude each other")


@pytest.mark.ci
def test_resume_of_a_finished_run(call, run_copy):
    before = (run_copy / "model.safetensors").read_bytes()
    answer = train(call, "digits", run_copy, *TINY, "--resume", "--json", model=TRAINED)
    assert answer.rc == 0, answer.err
    assert json.loads(answer.out)["best_epoch"] == 1
    assert (run_copy / "model.safetensors").read_bytes() == before


def test_resume_with_another_recipe(call, run_copy):
    answer = train(call, "digits", run_copy, *TINY, "--lr", "0.5", "--resume", model=TRAINED)
    fails(answer, 6, "another recipe: learning_rate = 0.5 in place of 0.2", "--overwrite")


def test_failed_resume_leaves_the_run_unchanged(call, run_copy):
    before = {p.name: p.read_bytes() for p in run_copy.iterdir() if p.is_file()}
    options = (*TINY, "--lr", "0.5", "--resume")
    assert train(call, "digits", run_copy, *options, model=TRAINED).rc == 6
    assert {p.name: p.read_bytes() for p in run_copy.iterdir() if p.is_file()} == before


def test_resume_from_a_damaged_checkpoint(call, run_copy):
    os.truncate(run_copy / "checkpoints" / "last.safetensors", 1000)
    answer = train(call, "digits", run_copy, *TINY, "--resume", model=TRAINED)
    fails(answer, 5, "last.safetensors")


@pytest.mark.ci
def test_overwrite(call, run_copy):
    mine = [run_copy / name for name in ("notes.txt", "README.md", "checkpoints/mine.bin")]
    for path in mine:
        path.write_text("mine")
    answer = train(call, "digits", run_copy, *TINY, "--seed", "3", "--overwrite")
    assert answer.rc == 0, answer.err
    assert "seed = 3" in (run_copy / "recipe.toml").read_text()
    assert "rezoo did not write it: README.md, checkpoints/mine.bin, notes.txt" in answer.err
    assert [path.read_text() for path in mine] == ["mine"] * 3  # a card by hand is kept, too
    assert not (run_copy / LOCK).exists()


@pytest.mark.parametrize("option", [(), ("--overwrite",), ("--resume",)])
def test_a_folder_in_which_another_process_trains(call, run_copy, option):
    before = {p: p.read_bytes() for p in run_copy.rglob("*") if p.is_file()}
    with locked(run_copy, what="training"):
        answer = train(call, "digits", run_copy, *TINY, *option, model=TRAINED)
        fails(answer, 1, f"is in use: training by process {os.getpid()} on host", "since 20")
        fails(call("push", run_copy, "me/digits", "--yes"), 1, "is in use: training by process")
    assert {p: p.read_bytes() for p in run_copy.rglob("*") if p.is_file()} == before


@pytest.mark.ci
def test_two_trainings_in_one_folder_and_what_a_killed_one_leaves(call, run_copy, tmp_path):
    """One process trains, the second is told so; once the first is killed, a third goes on."""
    options = ("train", TRAINED, *TINY, "--output", run_copy, "--overwrite", "--seed", "7")
    with start(*options, cwd=tmp_path) as first:
        try:
            began = time.monotonic()
            while not (run_copy / LOCK).exists():
                time.sleep(0.05)
                assert time.monotonic() < began + 60
            began = time.monotonic()
            with start(*options, cwd=tmp_path) as second:
                _, err = second.communicate(timeout=30)
            assert second.returncode == 1
            assert f"is in use: training by process {first.pid} on host" in err
            assert time.monotonic() - began < 5
        finally:
            first.kill()
    third = train(call, "digits", run_copy, *TINY, "--overwrite", model=TRAINED)
    assert third.rc == 0, third.err
    assert f"left by a process that was killed: training by process {first.pid}" in third.err
    assert rezoo.verify(run_copy).holds
    assert not (run_copy / LOCK).exists()


def test_output_inside_the_dataset(call, animals, photographs, tmp_path):
    for output in (animals / "run", animals):
        fails(train(call, f"folder:{animals}", output), 2, "is inside the dataset", "--output")
    link = tmp_path / "link"
    link.symlink_to(animals)
    fails(train(call, f"folder:{link}", animals / "run"), 2, "is inside the dataset")
    sheet = ("data", "show", f"folder:{animals}", "--output", animals / "sheet.png")
    fails(call(*sheet), 2, "is inside the dataset")
    assert sorted(p.name for p in animals.iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize("name", ["x" * 300, "~nouser/x"])
def test_names_that_no_folder_can_have(call, name):
    fails(train(call, "digits", name), 2, name[:9])
    fails(call("data", "check", "digits", "--output", name), 2, name[:9])
    fails(call("eval", name), 2, name[:9])


@pytest.mark.parametrize("reason", ["missing data", "batch too large", "optimizer"])
def test_overwrite_that_fails_keeps_the_old_run(call, run_copy, reason):
    """A typing error in --dataset must not destroy the existing run."""
    before = sorted(p.name for p in run_copy.iterdir())
    if reason == "missing data":
        answer = train(call, f"folder:{run_copy}/nosuch", run_copy, *TINY, "--overwrite")
    elif reason == "batch too large":
        answer = train(call, "digits", run_copy, "--batch-size", "5000", "--overwrite")
    else:
        muon = ("--set", "optimizer=muon", "--overwrite")
        answer = train(call, "digits", run_copy, *TINY, *muon, model=WITH_BIAS)
    assert answer.rc in (2, 3, 6)
    assert run_copy.exists()
    assert sorted(p.name for p in run_copy.iterdir()) == before


@pytest.mark.parametrize("option", [(), ("--overwrite",), ("--resume",)])
def test_folder_with_other_files(call, tmp_path, option):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("ten years")
    answer = train(call, "digits", tmp_path / "thesis", *TINY, *option)
    fails(answer, 2, "is not empty and holds no run")
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "ten years"
    fails(train(call, "digits", tmp_path / "thesis" / "thesis.tex", *TINY, *option), 2, "is a file")


def test_output_that_cannot_be_written(call, tmp_path, not_root):
    (tmp_path / "locked").mkdir(mode=0o500)
    fails(train(call, "digits", tmp_path / "locked" / "run", *TINY), 9, "cannot write")
    fails(train(call, "digits", tmp_path / "locked", *TINY), 9, "cannot write")


def test_output_below_a_file(call, tmp_path):
    (tmp_path / "file").write_text("")
    fails(train(call, "digits", tmp_path / "file" / "run", *TINY), 9, "cannot write")


@pytest.mark.ci
def test_full_disk(call, full_disk):
    fails(
        train(call, "digits", full_disk / "run", *TINY, model=TRAINED),
        9,
        "no space left",
        "free some space",
    )
    assert not list(full_disk.rglob("*.tmp"))


@pytest.mark.ci
def test_unusual_output_names(call, tmp_path):
    folder = tmp_path / "täst [/x] %s 'q'"
    answer = train(call, "digits", folder, *TINY)
    assert answer.rc == 0, answer.err
    assert call("eval", folder, "--json").rc == 0


# answers


@pytest.mark.ci
def test_json_answers_are_pure(call, trained, tmp_path):
    found = json.loads(call("eval", trained, "--json").out)
    assert (found["count"], found["split"], len(found["classes"])) == (359, "test", 10)
    assert found["top1_interval"][0] < found["top1"] < found["top1_interval"][1]
    (tmp_path / "a.png").write_bytes(encoded(picture(1), "PNG"))
    (found,) = json.loads(call("predict", trained, tmp_path, "--top-k", "2", "--json").out)
    assert found["path"] == str(tmp_path / "a.png")
    assert len(found["predictions"]) == 2
    found = json.loads(train(call, "digits", tmp_path / "run", *TINY, "--json").out)
    assert found["folder"] == str(tmp_path / "run")
    assert found["val"]["count"] == 143
    for command in (["list"], ["info", "resnet18"], ["info", "digits"], ["info", trained]):
        json.loads(call(*command, "--json").out)


def test_answers_as_text(call, trained, tmp_path):
    assert "top-1" in call("eval", trained, "--split", "val").out
    (tmp_path / "[bold]x[-bold].png").write_bytes(encoded(picture(1), "PNG"))
    assert "[bold]x[-bold].png" in call("predict", trained, tmp_path).out


def test_image_size_at_eval(call, trained):
    assert (
        "12x12"
        in json.loads(call("eval", trained, "--image-size", "12", "--json").out)["preprocessing"]
    )


def test_folder_of_the_right_classes(call, trained, photographs):
    data = photographs({"7": 3, "3": 4})
    found = json.loads(
        call("eval", trained, "--dataset", f"folder:{data}", "--split", "all", "--json").out
    )
    assert found["count"] == 7
    assert [c["name"] for c in found["classes"]] == ["3", "7"]


# signals: processes of their own


def interrupted(folder: Path, numbers: list[int], cwd: Path) -> tuple[int, str, str]:
    """Train until the first epoch is done, send signals, return the result of the process."""
    options = ("--epochs", "500", "--batch-size", "128", "--image-size", "8")
    seen = ""
    with start("train", "test_resnet", "--output", folder, *options, cwd=cwd) as process:
        try:
            for line in process.stderr:
                seen += line
                if line.startswith("epoch   1/500"):
                    for number in numbers:
                        process.send_signal(number)
                    break
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, seen + err


INT, TERM = (signal.SIGINT, 130), (signal.SIGTERM, 143)  # test_stopping.py sends each in a process


@pytest.mark.ci
@pytest.mark.parametrize(("number", "rc"), [pytest.param(*INT, marks=pytest.mark.slow), TERM])
def test_stop_after_the_step(call, tmp_path, number, rc):
    folder = tmp_path / "run"
    code, out, err = interrupted(folder, [number], tmp_path)
    assert code == rc, err
    assert out == ""
    assert "state saved" in err
    assert f"Hint: continue with rezoo train --resume {folder}" in err
    assert "Traceback" not in err
    assert rezoo.load(str(folder)).output_shape == (None, 10)
    state, metadata = read_tensors(folder / "checkpoints/last.safetensors")
    assert json.loads(metadata["rezoo"])["epoch"] >= 1
    assert all(np.isfinite(v).all() for v in state.values())
    assert not list(folder.rglob("*.tmp"))
    lines = (folder / "history.csv").read_text().splitlines()
    assert len(lines) == json.loads(metadata["rezoo"])["epoch"] + 1
    again = train(call, "digits", folder, *TINY)
    fails(again, 2, "already holds a run")


@pytest.mark.slow  # test_stopping.py sends two in a step of a process without TensorFlow
@pytest.mark.parametrize(("number", "rc"), [INT, TERM])
def test_second_signal_stops_at_once(tmp_path, number, rc):
    code, _, err = interrupted(tmp_path / "run", [number, number], tmp_path)
    assert code == rc, err
    assert "Traceback" not in err
    read_whole(tmp_path / "run" / "checkpoints" / "last.safetensors")


@pytest.mark.parametrize("end", ["pass", "raise ImportError('initialization failed')"])
def test_ctrl_c_during_an_import(tmp_path, monkeypatch, end):
    """Libraries lose a Ctrl-C during their import (jax in a callback, TensorFlow in C++)."""
    name = f"loses_ctrl_c_{len(end)}"
    (tmp_path / f"{name}.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        f"    time.sleep(0.1)\nexcept KeyboardInterrupt:\n    {end}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(KeyboardInterrupt), quietly():
        importlib.import_module(name)


@pytest.mark.ci
def test_training_is_quiet_and_depends_on_neither_time_zone_nor_language(cli, tmp_path):
    """A new process prints no lines of TensorFlow, and pure JSON."""
    env = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}
    answer = cli("train", "test_resnet", *TINY, "--json", env={**env, "PYTHONIOENCODING": "ascii"})
    assert answer.rc == 0, answer.err
    assert json.loads(answer.out)["folder"] == "runs/test_resnet-digits"
    starts = ("model ", "dataset ", "classes ", "recipe ", "  ", "output ", "note ", "epoch ")
    starts += ("opening ", "writing ")
    assert [line for line in answer.err.splitlines() if not line.startswith(starts)] == []
    folder = tmp_path / "runs" / "test_resnet-digits"
    assert (folder / "metrics.json").exists()
    began = json.loads((folder / "environment.json").read_text("utf-8"))["started_utc"]
    assert datetime.fromisoformat(began).utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(began)) < timedelta(hours=1)
    (row, *_) = csv.DictReader((folder / "history.csv").read_text("utf-8").splitlines())
    assert float(row["train_loss"]) > 0
    assert row["finished_utc"].endswith("+00:00")
