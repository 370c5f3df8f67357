"""`folder:PATH`: layouts, odd names, and files that are no images."""

from __future__ import annotations

import contextlib
import os
import socket
import unicodedata
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from conftest import encoded, fails, picture
from rezoo.data import unreadable
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.examples import Examples, Splits
from rezoo.data.finding import find_images
from rezoo.data.folder import open_folder
from rezoo.data.image_files import ENDING_FORMATS, FORMATS
from rezoo.data.image_sources import ArraySource
from rezoo.errors import DataWarning, IntegrityError, NotFoundError, SpecError, UnsafeFileError
from rezoo.specs import DatasetSpec


def keys(examples) -> list[str]:
    return [examples.key(i) for i in range(len(examples))]


def sizes(splits) -> dict[str, int]:
    return {name: len(part) for name, part in splits.parts.items()}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "cache"))


def test_one_folder_a_class(photographs):
    opened = open_folder(photographs({"dog": 20, "cat": 10}))
    assert opened.class_names == ("cat", "dog")
    assert sizes(opened) == {"train": 27, "test": 3}
    assert np.bincount(opened["test"].labels()).tolist() == [1, 2]
    assert opened.notes == ("test: 3 of train's 30 examples, held out by a fixed rule",)
    for part in opened.parts.values():
        for i, key in enumerate(keys(part)):
            assert opened.class_names[part.labels()[i]] == key.split("/")[0]
    image, label = opened["test"].fetch(0)
    assert image.numpy()[:2] == b"\xff\xd8"
    assert int(label) == 0


def test_splits_do_not_depend_on_the_place(photographs, tmp_path):
    one = open_folder(photographs({"a": 9, "b": 9}, root=tmp_path / "one"))
    two = open_folder(photographs({"a": 9, "b": 9}, root=tmp_path / "x" / "two"))
    assert keys(one["test"]) == keys(two["test"])


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        ({"train/a": 4, "train/b": 4, "val/a": 1, "val/b": 1, "test/a": 2, "test/b": 2}, (8, 2, 4)),
        ({"Training/a": 4, "Training/b": 4, "VALID/a": 1, "Test/b": 2}, (8, 1, 2)),
        ({"train/a": 4, "train/b": 4, "validation/b": 1}, (6, 2, 1)),
        ({"train/a": 4, "train/b": 4}, (4, 2, 2)),
        ({"test/a": 4, "test/b": 4}, (0, 0, 8)),
    ],
)
def test_split_folders(photographs, classes, wanted):
    data = load_dataset(f"folder:{photographs(classes)}")
    found = tuple(sizes(data.splits).get(split, 0) for split in ("train", "val", "test"))
    assert found == wanted
    assert data.class_names == ("a", "b")


def test_folders_that_are_splits_or_classes(photographs, tmp_path):
    opened = open_folder(photographs({"test": 4, "exam": 4}, root=tmp_path / "one"))
    assert opened.class_names == ("exam", "test")
    mixed = photographs({"train/a": 2, "train/b": 2, "extra/a": 2}, root=tmp_path / "two")
    with pytest.raises(SpecError, match=r"split folders \(train\) and others \(extra\)"):
        open_folder(mixed)
    twice = photographs({"train/a": 2, "val/a": 2, "valid/a": 2}, root=tmp_path / "three")
    with pytest.raises(SpecError, match=r"two folders for one split: .*val, valid"):
        open_folder(twice)


def test_pictures_beside_class_folders_do_not_turn_splits_into_classes(photographs):
    root = photographs({"train/a": 3, "train/b": 3, "test/a": 2, "train": 1, "val": 0, "notes": 0})
    opened = open_folder(root)
    assert opened.class_names == ("a", "b")
    assert sizes(opened) == {"train": 6, "test": 2}
    assert "left out beside class folders: 1 image (train/000.jpg)" in opened.notes
    assert {"folder 'val' has no images", "folder 'notes' has no images"} <= set(opened.notes)


def test_names_of_splits(photographs, tmp_path):
    """In any case, with blanks, `_` and `-`; next to each other they are never classes."""
    names = ("Training Set", "DEV", "test-set"), ("Training", "valid", "Testing")
    for i, (train, val, test) in enumerate(names):
        classes = {f"{train}/a": 2, f"{train}/b": 2, f"{val}/a": 1, f"{test}/b": 1}
        opened = open_folder(photographs(classes, root=tmp_path / str(i)))
        assert sizes(opened) == {"train": 4, "val": 1, "test": 1}
    flat = photographs({"train": 2, "test": 2, "bus": 2}, root=tmp_path / "flat")
    with pytest.raises(SpecError, match=r"split folders \(test, train\) and others \(bus\)"):
        open_folder(flat)


def test_splits_without_class_folders(photographs, tmp_path):
    flat = photographs({"train": 4, "test": 4}, root=tmp_path / "flat")
    for i in range(4):
        (flat / "train" / f"{i:03d}.jpg").rename(flat / "train" / f"cat.{i}.jpg")
    with pytest.raises(SpecError, match="flat/train has 4 images and no class folders") as caught:
        open_folder(flat)
    assert "train/cat/" in caught.value.hint
    assert "train/cat.0.jpg,cat below path,label and use csv:TABLE" in caught.value.hint
    public = photographs({"train/a": 2, "train/b": 2, "test": 4}, root=tmp_path / "public")
    opened = open_folder(public)
    assert sizes(opened) == {"train": 4}
    assert "test has 4 images and no class folders: they have no label and are left out" in (
        opened.notes
    )
    val = photographs({"train/a": 2, "train/b": 2, "val": 4}, root=tmp_path / "val")
    with pytest.raises(SpecError, match="val has 4 images and no class folders"):
        open_folder(val)


@pytest.mark.parametrize("above", ["data", "cat"])
def test_splits_inside_of_classes(photographs, above):
    """The folder above the dataset, or splits below classes: training would mix the splits."""
    inner = {f"{above}/train/x": 2, f"{above}/test/x": 2, "dog/train": 2, "dog/test": 2}
    root = photographs(inner if above == "cat" else dict(list(inner.items())[:2]))
    with pytest.raises(SpecError, match=rf"{above} has split folders \(test, train\)") as caught:
        open_folder(root)
    assert f"write folder:{root / above}" in caught.value.hint


def test_unicode_forms_of_one_class_name(photographs):
    composed, decomposed = (unicodedata.normalize(form, "éléphant") for form in ("NFC", "NFD"))
    root = photographs({f"train/{composed}": 2, "train/chat": 2, f"test/{decomposed}": 2})
    photographs({f"train/{decomposed}": 1}, root=root)
    opened = open_folder(root)
    assert opened.class_names == ("chat", composed)
    assert sizes(opened) == {"train": 5, "test": 2}
    assert opened["test"].labels().tolist() == [1, 1]
    assert "2 folders in train are one class 'éléphant': only their Unicode form differs" in (
        opened.notes
    )
    assert {int(opened["all"].fetch(tf.constant(i, tf.int64))[1]) for i in range(7)} == {0, 1}


def test_near_names_warn(photographs):
    root = photographs({"A_11": 2, "A_1_1": 2, "a 11": 2, "cat": 2, "Cat": 2, "dog": 2})
    with pytest.warns(
        DataWarning, match="'A_11' and 'A_1_1' and 'a 11', and 1 more groups, differ"
    ):
        assert len(load_dataset(f"folder:{root}").class_names) == 6


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket", "file over 512 MiB", "folder"])
def test_special_files_are_not_read(photographs, kind, tmp_path, monkeypatch):
    root = photographs({"a": 3, "b": 3})
    path = root / "a" / "x.jpg"
    monkeypatch.chdir(root / "a")  # the path of a socket must be short
    with contextlib.ExitStack() as opened:
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "socket":
            listener = opened.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind("x.jpg")
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            (tmp_path / "empty").mkdir()
            (root / "a" / "deep" / "er").mkdir(parents=True)
            path = root / "a" / "deep" / "er" / "x.jpg"
            path.symlink_to(tmp_path / "empty")
        else:
            with open(path, "wb") as file:
                file.truncate(2**40)
    data = load_dataset(f"folder:{root}")
    assert len(data.examples("all")) == 6
    what = "link to a folder" if kind == "folder" else kind
    assert f"skipped: 1 × {what} ({path.relative_to(root)})" in data.splits.notes
    with pytest.warns(DataWarning, match=f"skipped: 1 × {what}"):
        assert len(find_images([root])) == 6
    if kind != "folder":
        with pytest.raises(UnsafeFileError, match=f"x.jpg is a {kind}"):
            find_images([path])
        said = "x.jpg has .* bytes" if "MiB" in kind else f"x.jpg is a {kind}"
        with pytest.raises(UnsafeFileError, match=said):
            load_dataset(f"csv:{path}")
        with pytest.raises(UnsafeFileError, match=said):
            load_dataset(f"folder:{root}", DataOptions(ignore=str(path)))


def test_classes_of_vehicles(photographs):
    """A train is also a vehicle: its folder holds images, a split's folder holds folders."""
    assert open_folder(photographs({"bus": 4, "train": 4})).class_names == ("bus", "train")


def test_labels_agree_between_splits(photographs):
    opened = open_folder(photographs({"train/a": 2, "train/b": 2, "train/c": 2, "test/c": 2}))
    assert opened.class_names == ("a", "b", "c")
    assert opened["test"].labels().tolist() == [2, 2]
    assert "class folder 'a' has no images" not in " ".join(opened.notes)


def test_what_is_ignored(photographs):
    root = photographs({"a": 3, "b": 3})
    for name in (".DS_Store", "a/.hidden.jpg", "a/notes.txt", "a/Thumbs.db", "top.jpg"):
        (root / name).write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "a" / ".cache").mkdir()
    (root / "a" / ".cache" / "x.jpg").write_bytes(b"x")
    opened = open_folder(root)
    assert opened.class_names == ("a", "b")
    assert len(opened["all"]) == 6
    assert "left out beside class folders: 1 image (top.jpg)" in opened.notes
    assert "skipped: 1 × .txt (a/notes.txt)" in opened.notes


SYSTEM = ("@eaDir/a", "a/@eaDir/1.jpg", "__MACOSX/a", "lost+found", "$RECYCLE.BIN/S-1")
SYSTEM += ("System Volume Information", "a/.ipynb_checkpoints", ".thumbnails", "a/#recycle")


def test_files_of_systems_are_never_data(photographs):
    root = photographs({"a": 3, "b": 3})
    photographs(dict.fromkeys(SYSTEM, 2), root=root)
    (root / "a" / "._001.jpg").write_bytes(b"\0\5\x16\7")
    opened = open_folder(root)
    assert opened.class_names == ("a", "b")
    assert len(opened["all"]) == 6
    found = find_images([root])
    assert found == sorted(f"{root}/{c}/{i:03d}.jpg" for c in "ab" for i in range(3))
    assert find_images([f"{root}/**/*.jpg"]) == found
    assert len(find_images([f"{root}/@eaDir/*/*.jpg"])) == 2  # it is asked for


def test_skipped_files_are_counted_by_ending(photographs):
    root = photographs({"a": 3, "b": 3})
    (root / "c").mkdir()
    for i, ending in enumerate((*[".jpg_large"] * 3, ".HEIC", ".txt", ".xml", ".json", "", ".mov")):
        (root / "c" / f"{i}{ending}").write_bytes(b"x")
    opened = open_folder(root)
    (note,) = (note for note in opened.notes if note.startswith("skipped"))
    assert note.startswith("skipped: 3 × .jpg_large (c/0.jpg_large, …), 1 × .heic (c/3.HEIC), ")
    assert note.endswith(", 2 of 2 other kinds")
    assert "class folder 'c' has no images" in opened.notes
    with pytest.warns(DataWarning, match=r"photographs: skipped: 3 × \.jpg_large"):
        assert len(find_images([root])) == 6
    with pytest.raises(NotFoundError) as caught:
        open_folder(root / "c")
    assert ".jpg_large" in caught.value.hint


def test_endings_are_those_that_pillow_decodes():
    known = {e: kind for e, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known == ENDING_FORMATS


def test_nested_folders_and_endings(photographs):
    root = photographs({"a/one": 2, "a/two/three": 2, "b": 2})
    photographs({"b": 2}, root=root, ending=".PNG")
    opened = open_folder(root)
    assert opened.class_names == ("a", "b")
    assert {"a/one/000.jpg", "a/two/three/001.jpg", "b/000.PNG"} <= set(keys(opened["all"]))
    assert len(opened["all"]) == 8


def test_odd_names(photographs):
    names = ["Ärger 猫", "[b]x[-b]", "a'b\"c", "<script>", "new\nline", "%s", "-x", "x" * 200]
    opened = open_folder(photographs(dict.fromkeys(names, 2)))
    assert opened.class_names == tuple(sorted(names))
    assert len(opened["all"]) == 2 * len(names)
    for i in range(len(opened["all"])):
        assert opened["all"].fetch(tf.constant(i, tf.int64))[0].numpy()[:2] == b"\xff\xd8"


@pytest.fixture
def any_names(tmp_path):
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")


@pytest.mark.usefixtures("any_names")
@pytest.mark.parametrize(
    ("name", "shown"), [(b"caf\xe9/1.jpg", r"caf\xe9"), (b"b/\xff.jpg", r"b/\xff.jpg")]
)
def test_names_that_are_not_utf8_are_refused(photographs, name, shown, call, tmp_path):
    root = photographs({"a": 3, "b": 3})
    path = root / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(picture(1)))
    with pytest.raises(IntegrityError) as caught:
        load_dataset(f"folder:{root}")
    assert f"{shown} is not a name in UTF-8 (1 image)" in str(caught.value)
    answer = call("train", "test_resnet", "--dataset", f"folder:{root}", "--output", tmp_path / "r")
    fails(answer, 5, shown, "convmv")
    assert not (tmp_path / "r").exists()
    for wanted in (root, path, f"{root}/**/*.jpg"):
        with pytest.raises(IntegrityError) as caught:
            find_images([wanted])
        assert shown in str(caught.value)


@pytest.mark.usefixtures("any_names")
def test_path_that_is_not_utf8_is_refused(photographs, tmp_path, monkeypatch):
    root = photographs({"a": 3, "b": 3}, root=tmp_path / os.fsdecode(b"\xe9"))
    with pytest.raises(IntegrityError, match=r"/\\xe9 is not a name in UTF-8"):
        load_dataset(f"folder:{root}")
    (root / "t.csv").write_text("path,label\na/000.jpg,x\n")
    with pytest.raises(IntegrityError, match=r"/\\xe9/t.csv is not a name in UTF-8"):
        load_dataset(f"csv:{root}/t.csv")
    monkeypatch.chdir(root)
    with pytest.raises(IntegrityError, match=r"/\\xe9 is not a name in UTF-8"):
        open_folder(".")


def test_class_names_of_plugins_must_be_unicode():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    part = Examples(ArraySource(images, np.array([0, 1]), ["0", "1"]))
    splits = Splits(parts={"train": part}, class_names=("a", "\ud800"))
    spec = DatasetSpec(name="odd", open=lambda: splits)
    with pytest.raises(IntegrityError, match=r"\\ud800 is not a name in UTF-8"):
        load_dataset(spec)


def test_links(photographs, tmp_path):
    elsewhere = photographs({"c": 3, "d": 2}, root=tmp_path / "elsewhere")
    root = photographs({"a": 3, "b": 3})
    (root / "c").symlink_to(elsewhere / "c")
    (root / "a" / "more").symlink_to(elsewhere / "d")
    (root / "a" / "up").symlink_to(root)  # a loop, inside a class
    (root / "a" / "more" / "deeper").symlink_to(elsewhere / "c")
    (root / "a" / "link.jpg").symlink_to(root / "a" / "000.jpg")
    opened = open_folder(root)
    assert opened.class_names == ("a", "b", "c")
    assert len(opened["all"]) == 11
    notes = " ".join(opened.notes)
    assert "skipped: 2 × link to a folder (a/up, …)" in notes
    assert "1 links to images of their own class are left out (a/link.jpg)" in notes


@pytest.mark.parametrize("name", ["b/link.jpg", "test"])
def test_file_in_two_classes_or_splits_by_a_link(photographs, call, name, tmp_path):
    splits = name == "test"
    root = photographs({"train/a": 2, "train/b": 2} if splits else {"a": 2, "b": 2})
    (root / name).symlink_to(root / ("train" if splits else "a/001.jpg"))
    first, second = ("a/001.jpg", "b/link.jpg")
    if splits:
        first, second = ("test/a/000.jpg", "train/a/000.jpg")
    answer = call("train", "test_resnet", "--dataset", f"folder:{root}", "--output", tmp_path / "r")
    fails(answer, 6, f"{second} and {first} are one file, by a link")
    assert len(open_folder(root)["all"]) == 4  # for a data check


def test_link_to_itself(photographs):
    root = photographs({"a": 3, "b": 3})
    (root / "loop").symlink_to(root / "loop")
    assert open_folder(root).class_names == ("a", "b")


def test_link_to_the_folder_itself(photographs):
    """Its images must not be counted twice, under a class that there is not."""
    root = photographs({"a": 3, "b": 3})
    (root / "loop").symlink_to(root)
    try:
        opened = open_folder(root)
    except (IntegrityError, NotFoundError):
        return
    assert len(opened["all"]) == 6


def test_dangling_link_is_named(photographs):
    root = photographs({"a": 150})
    (root / "a" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    with pytest.warns(DataWarning, match=r"'a/gone\.jpg': the file is not there"):
        assert len(load_dataset(f"folder:{root}").examples("all")) == 150


def test_empty_class(photographs):
    root = photographs({"a": 3, "b": 3})
    (root / "c").mkdir()
    opened = open_folder(root)
    assert opened.class_names == ("a", "b")
    assert "class folder 'c' has no images" in opened.notes


def test_folders_that_cannot_be_opened(tmp_path, photographs):
    with pytest.raises(NotFoundError, match="no such folder"):
        open_folder(tmp_path / "nosuch")
    (tmp_path / "file.jpg").write_bytes(encoded(picture(1)))
    with pytest.raises(NotFoundError, match="not a folder"):
        open_folder(tmp_path / "file.jpg")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="no images in"):
        open_folder(tmp_path / "empty")
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "one.jpg").write_bytes(encoded(picture(1)))
    with pytest.raises(SpecError, match="flat has 1 images and no class folders") as caught:
        open_folder(flat)
    assert "one.jpg,one below path,label" in caught.value.hint
    for path in ("a\0b", "x" * 300, "~nosuchuser/x"):
        with pytest.raises(NotFoundError):
            open_folder(path)


def test_folder_that_cannot_be_read(photographs, not_root):
    root = photographs({"a": 3})
    root.chmod(0)
    try:
        with pytest.raises(NotFoundError, match="cannot read the folder"):
            open_folder(root)
    finally:
        root.chmod(0o700)


def test_home_and_relative_paths(photographs, tmp_path, monkeypatch):
    photographs({"a": 3, "b": 3}, root=tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_folder("~/data")["all"]) == 6
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("folder:data").examples("all")) == 6


BAD = {
    "text": (b"this is no image", "not a JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF image"),
    "empty": (b"", "the file is empty"),
    "cut": (encoded(picture(7))[:400], "damaged or cut off (400 bytes)"),
    "page": (b"<!DOCTYPE html><html>", "a web page"),
    "png": (encoded(picture(7), "PNG")[:20], "damaged or cut off"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_image_is_named_and_left_out(photographs, kind):
    content, reason = BAD[kind]
    root = photographs({"a": 100, "b": 49})
    (root / "b" / "bad.jpg").write_bytes(content)
    with pytest.warns(DataWarning) as seen:
        opened = load_dataset(f"folder:{root}").splits
    (message,) = [str(w.message) for w in seen]
    assert message.startswith(f"1 of 150 images in folder:{root} cannot be decoded: 'b/bad.jpg': ")
    assert reason in message
    assert message.endswith("They are left out.")
    assert "b/bad.jpg" not in keys(opened["all"])
    assert len(opened["all"]) == 149
    assert "1 file left out that cannot be decoded" in opened.notes


@pytest.mark.ci
def test_too_many_bad_images(photographs, call, tmp_path):
    root = photographs({"a": 100, "b": 47})
    for kind, (content, _) in BAD.items():
        (root / "b" / f"{kind}.jpg").write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        load_dataset(f"folder:{root}")
    text = str(caught.value)
    assert text.startswith("5 of 152 images in ")
    for kind, (_, reason) in BAD.items():
        assert f"'b/{kind}.jpg': {reason}" in text
    assert "at most 1% may be bad" in caught.value.hint
    answer = call("train", "resnet18", "--dataset", f"folder:{root}", "--output", tmp_path / "run")
    fails(answer, 5, "b/text.jpg", "remove or repair")
    assert not (tmp_path / "run").exists()


@pytest.mark.ci
def test_many_bad_images_are_counted(photographs):
    root = photographs({"a": 3})
    for i in range(25):
        (root / "a" / f"bad{i:02d}.png").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"25 of 28 .* and 15 more"):
        load_dataset(f"folder:{root}")


def test_every_bad_image_of_a_class(photographs):
    root = photographs({"a": 150})
    (root / "b").mkdir()
    (root / "b" / "bad.jpg").write_bytes(b"")
    with pytest.warns(DataWarning):
        opened = load_dataset(f"folder:{root}").splits
    assert "class 'b' has no image left" in opened.notes


def test_wrong_ending_is_no_matter(photographs):
    root = photographs({"a": 3, "b": 3})
    for i, kind in enumerate(("PNG", "GIF", "BMP", "WEBP")):
        (root / "b" / f"other{i}.jpg").write_bytes(encoded(picture(i), kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_dataset(f"folder:{root}").examples("all")) == 10
    data = load_dataset(f"folder:{root}")
    batches = data.batches("all", preprocessing=data.preprocessing, image_size=8)
    assert sum(len(images) for images, _ in batches) == 10


@pytest.mark.ci
def test_what_only_decoding_shows_is_met_later(photographs):
    root = photographs({"a": 120, "b": 3})
    (root / "b" / "cut.png").write_bytes(encoded(picture(7), "PNG")[:-200])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset(f"folder:{root}")
    assert len(data.examples("all")) == 124
    batches = data.batches("all", preprocessing=data.preprocessing, image_size=8)
    with pytest.warns(DataWarning, match=r"'b/cut\.png': damaged or cut off"):
        assert sum(len(images) for images, _ in batches) == 123


@pytest.mark.ci
def test_few_of_many_files_are_looked_at(photographs, monkeypatch):
    """Of each class the first, and others evenly spaced: a class of bad files is found."""
    monkeypatch.setattr(unreadable, "LOOKED_AT", 20)
    root = photographs({"a": 60, "b": 3, "c": 20})
    for path in (root / "b").iterdir():
        path.write_bytes(b"x")
    some = DataOptions(bad_limit=0.1)
    with pytest.warns(DataWarning, match=r"of the 18 images looked at in .* 'b/"):
        opened = load_dataset(f"folder:{root}", some).splits
    assert any("class 'b': none of the" in note for note in opened.notes)
    for path in (root / "a").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(IntegrityError, match="images looked at"):
        load_dataset(f"folder:{root}", some)


def test_every_format_in_a_folder(tmp_path):
    """Files of all formats are found by their endings, and decoded."""
    kinds = {".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP", ".webp": "WEBP"}
    kinds |= {".tif": "TIFF", ".tiff": "TIFF", ".avif": "AVIF"}
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for ending, kind in kinds.items():
            content = encoded(picture(1), kind)
            (tmp_path / "data" / name / f"one{ending}").write_bytes(content)
    data = load_dataset(f"folder:{tmp_path / 'data'}")
    assert len(data.examples("all")) == 2 * len(kinds)
    resized = data.preprocessing.at(16)
    batches = data.batches("all", preprocessing=resized, batch_size=16)
    assert [images.shape for images, _ in batches] == [(16, 16, 16, 3)]
