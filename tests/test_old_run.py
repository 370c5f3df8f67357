"""What `--overwrite` and `--resume` take for a run, and what they remove of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rezoo.artifacts import run_files
from rezoo.artifacts.run_files import LOCAL
from rezoo.errors import NotFoundError, SpecError
from rezoo.training import old_run
from rezoo.utils.files import write_json
from rezoo.utils.paths import expanded


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a finished run, which the test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def unfinished(tmp_path) -> Path:
    """What a training that was killed in its first epoch has written."""
    folder = tmp_path / "unfinished"
    write_json(folder / LOCAL, {"model": "resnet18", "dataset": "digits"})
    (folder / "recipe.toml").write_text("epochs = 1\n")
    (folder / "environment.json").write_text("{}")
    return folder


def put(folder: Path, *names: str) -> None:
    """Write files of the user."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


def remaining(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def test_a_folder_with_a_recipe_is_no_run(tmp_path):
    """Users write recipe.toml, too: their files would go."""
    mine = ("README.md", "checkpoints/a.bin", "config.json", "events/a.txt", "exports/a.onnx")
    put(tmp_path, *mine)
    (tmp_path / "recipe.toml").write_text("epochs = 3\n")
    for options in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(SpecError, match="not empty and holds no run"):
            old_run.check(tmp_path, **{"resume": False, "overwrite": False, **options})


def test_weights_of_others_with_a_recorded_manifest_are_no_run(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    del config["files"]["recipe.toml"]
    write_json(tmp_path / "weights" / "config.json", config)
    assert not old_run.holds_run(tmp_path / "weights")


def test_what_training_writes_is_removed_and_nothing_else(run):
    mine = {"notes.txt", "README.md", "checkpoints/epoch10.safetensors", "checkpoints/last/a.txt"}
    mine |= {"exports/by hand.onnx", "exports/other/model.onnx", "events/notes.txt"}
    put(run, *mine, "events/events.out.tfevents.1.host.2.0.v2")
    put(run, "checkpoints/.last.safetensors.4711.tmp")  # of a killed process
    (run / "link.txt").symlink_to(run / "notes.txt")
    old_run.check(run, resume=False, overwrite=True)
    notes = old_run.remove(run)
    assert remaining(run) == {*mine, "link.txt", LOCAL}
    assert old_run.holds_run(run)  # a killed process may be followed by another
    for name in ("notes.txt", "README.md", "checkpoints/epoch10.safetensors", "exports/other"):
        assert name in notes[0]
    assert LOCAL not in notes[0]


def test_a_run_without_files_of_the_user_is_removed_without_a_word(run):
    assert old_run.remove(run) == []
    assert remaining(run) == {LOCAL}


def test_exports_are_removed_as_far_as_their_passports_list_them(run, tmp_path):
    put(tmp_path, "outside.txt")
    (run / "exports").mkdir(exist_ok=True)
    onnx = run / "exports" / "onnx"
    put(onnx, "model.onnx", "variables/0", "mine.txt")
    (onnx / "linked").symlink_to(tmp_path)
    hostile = ("../../../outside.txt", str(tmp_path / "outside.txt"), "linked/outside.txt", "")
    files = {name: {"bytes": 4} for name in ("model.onnx", "variables/0", *hostile)}
    write_json(onnx / run_files.PASSPORT, {"files": files})
    shutil.copytree(onnx, tmp_path / "elsewhere", symlinks=True)
    (run / "exports" / "link").symlink_to(tmp_path / "elsewhere")
    old_run.remove(run)
    assert {p.name for p in onnx.iterdir()} == {"mine.txt", "linked"}
    assert (tmp_path / "outside.txt").read_text() == "mine"
    assert (tmp_path / "elsewhere" / "model.onnx").read_text() == "mine"
    assert (run / "exports" / "link").is_symlink()


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/last", "exports", "events"])
def test_links_are_removed_and_never_followed(run, tmp_path, name):
    place = run / name
    place.mkdir(exist_ok=True)
    put(place, "mine.bin")
    there = shutil.move(place, tmp_path / "scratch")
    before = remaining(Path(there))
    place.symlink_to(there)
    old_run.check(run, resume=False, overwrite=True)
    notes = old_run.remove(run)
    assert f"{name} → {there}" in notes[0]
    assert not place.is_symlink()
    assert remaining(Path(there)) == before


def test_links_in_place_of_files_are_removed_and_never_followed(run, tmp_path):
    put(tmp_path, "mine.txt")
    for name in ("README.md", "config.json", "history.csv"):
        (run / name).unlink()
        (run / name).symlink_to(tmp_path / "mine.txt")
    old_run.check(run, resume=False, overwrite=True)
    old_run.remove(run)
    assert remaining(run) == {LOCAL}
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.json", "checkpoints/last.safetensors", "README.md"]
)
def test_what_a_new_run_would_replace_is_refused_before_anything_is_removed(unfinished, name):
    put(unfinished, name if name == "config.json" else f"{name}/a.txt")
    before = remaining(unfinished)
    with pytest.raises(SpecError, match=f"did not write {name} in"):
        old_run.check(unfinished, resume=False, overwrite=True)
    assert remaining(unfinished) == before


def test_what_the_manifest_of_a_finished_run_lacks_is_the_users(run):
    """Such as a chart that the user drew, in a run from the Hub."""
    config = json.loads((run / "config.json").read_text())
    del config["files"]["curves.svg"]
    write_json(run / "config.json", config)
    with pytest.raises(SpecError, match=r"did not write curves\.svg"):
        old_run.check(run, resume=False, overwrite=True)


def test_a_finished_run_without_a_checkpoint_is_not_started_anew(run):
    shutil.rmtree(run / "checkpoints")  # as from the Hub
    with pytest.raises(NotFoundError, match="cannot be resumed") as caught:
        old_run.check(run, resume=True, overwrite=False)
    assert "--overwrite" in caught.value.hint
    old_run.check(run, resume=False, overwrite=True)


def test_a_run_that_was_killed_in_its_first_epoch_is_resumed(unfinished):
    old_run.check(unfinished, resume=True, overwrite=False)


# paths


@pytest.mark.parametrize("path", ["~nouser/x", "x" * 256, "ä" * 128, "a/" * 2100, "a\0b"])
def test_paths_that_no_file_can_have_are_refused(path):
    with pytest.raises(SpecError):
        expanded(path)


def test_home_folders_are_found():
    assert expanded("~/runs/a") == Path(os.environ["HOME"]) / "runs" / "a"
    assert expanded("x" * 255) == Path("x" * 255)
