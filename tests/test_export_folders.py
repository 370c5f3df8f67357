"""An export replaces an export: no other file is removed, in whatever way it ends."""

import json
import os
from contextlib import suppress

import pytest

from rezoo.errors import SpecError
from rezoo.exporters.folders import check_folder, new_folder
from rezoo.exporters.formats import PASSPORT


def write_export(folder, content):
    """Write a folder as an export leaves it: a file and a passport that lists it."""
    (folder / "model.onnx").write_text(content)
    (folder / PASSPORT).write_text(json.dumps({"files": {"model.onnx": {"bytes": len(content)}}}))


@pytest.fixture
def out(tmp_path):
    """A folder with an export."""
    folder = tmp_path / "out"
    folder.mkdir()
    write_export(folder, "old")
    return folder


@pytest.mark.parametrize("fails", [False, True])
def test_folders_beside_the_target_stay(out, fails):
    beside = [out.with_name(f"out.{end}") for end in ("old", "partial", "new", "tmp")]
    for folder in beside:
        folder.mkdir()
        (folder / "thesis.txt").write_text("mine")
    with suppress(ZeroDivisionError), new_folder(out, overwrite=True) as place:
        write_export(place, "new")
        assert not fails or 1 / 0
    for folder in beside:
        assert (folder / "thesis.txt").read_text() == "mine"
    assert (out / "model.onnx").read_text() == ("old" if fails else "new")
    assert {path.name for path in out.parent.iterdir()} == {"out", *(f.name for f in beside)}


def test_a_new_folder_has_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.mkdir()
    with new_folder(tmp_path / "deep" / "out") as place:
        write_export(place, "new")
    assert (tmp_path / "deep" / "out").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize("name", ["notes.txt", "variables/mine.bin", "link"])
def test_an_export_with_files_of_the_user_is_not_replaced(out, name):
    mine = out / name
    mine.parent.mkdir(exist_ok=True)
    if name == "link":
        mine.symlink_to(out.parent)
    else:
        mine.write_text("mine")
    with pytest.raises(SpecError, match=f"other files: {name}") as error:
        check_folder(out, overwrite=True)
    assert error.value.exit_code == 2
    assert os.path.lexists(mine)


@pytest.mark.parametrize("passport", ["", "[]", '{"files": ["model.onnx"]}', '{"files": {}}'])
def test_a_passport_that_lists_nothing_makes_no_export(out, passport):
    (out / PASSPORT).write_text(passport)
    with pytest.raises(SpecError, match=r"other files: model\.onnx"):
        check_folder(out, overwrite=True)


def test_files_that_come_meanwhile_are_kept(tmp_path):
    out = tmp_path / "out"
    writing = new_folder(out, overwrite=True)
    write_export(writing.__enter__(), "new")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(SpecError, match="other files"):
        writing.__exit__(None, None, None)
    assert (out / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_old_export_stays_if_the_new_one_cannot_take_its_place(out):
    with pytest.raises(FileNotFoundError), new_folder(out, overwrite=True) as place:
        place.rmdir()
    assert (out / "model.onnx").read_text() == "old"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_link_is_replaced_and_its_target_stays(out):
    link = out.with_name("link")
    link.symlink_to("out")
    with new_folder(link, overwrite=True) as place:
        write_export(place, "new")
    assert not link.is_symlink()
    assert (link / "model.onnx").read_text() == "new"
    assert (out / "model.onnx").read_text() == "old"


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(SpecError, match="File name too long"):
        check_folder(tmp_path / ("x" * 300), overwrite=False)


def test_the_current_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path.joinpath("."), tmp_path.cwd().relative_to(tmp_path)):
        with pytest.raises(SpecError, match="current folder"):
            check_folder(folder, overwrite=False)
