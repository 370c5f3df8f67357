"""`rezoo data show`: the sheet shows what the pipeline gives, for the examples that it names."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from conftest import fails
from rezoo.data import pipeline, splits
from rezoo.data.audit import views
from rezoo.data.audit.layout import fit, write
from rezoo.data.audit.sheet import SheetRequest, default_path, draw_sheet
from rezoo.data.audit.views import choose, trained
from rezoo.data.datasets import load_dataset
from rezoo.errors import DataWarning, IntegrityError, SpecError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def animals(photographs):
    return f"folder:{photographs({'train/cat': 40, 'train/dog': 30, 'test/cat': 9, 'test/dog': 7})}"


def ask(dataset: str, path, **options) -> SheetRequest:
    options.setdefault("changes", {"image_size": 32, "batch_size": 8})
    return SheetRequest.of(dataset, output=path / "sheet.png", **options)


@pytest.mark.ci
def test_what_is_shown_is_what_training_gets(animals, tmp_path):
    request = ask(animals, tmp_path, count=6, epoch=2)
    data = load_dataset(animals)
    examples = data.examples("train")
    chosen = choose(examples, data.class_names, request)
    assert len(set(chosen.tolist())) == 6
    for epoch in (2, 3):
        order = splits.epoch_order(len(examples), seed=request.recipe.seed, epoch=epoch)
        batches = pipeline.train_batches(
            examples,
            request.preprocessing,
            dataclasses.replace(request.recipe, epochs=epoch + 1),
            first_epoch=epoch,
        )
        images, labels = (np.concatenate(x) for x in zip(*batches.as_numpy_iterator(), strict=True))
        seen = trained(examples, request, epoch, chosen, data.class_names)
        for index, one in zip(chosen, seen, strict=True):
            place = int(np.flatnonzero(order == index)[0])
            assert place < len(images)
            assert np.array_equal(one.image, images[place])
            assert labels[place] == examples.labels()[index]


@pytest.mark.ci
def test_an_example_left_out_of_an_epoch_has_no_image(animals, tmp_path):
    changes = {"image_size": 16, "batch_size": 40}
    request = ask(animals, tmp_path, count=500, draws=1, changes=changes)
    examples = load_dataset(animals).examples("train")
    chosen = np.arange(len(examples))
    seen = trained(examples, request, 0, chosen, ("cat", "dog"))
    kept = splits.epoch_order(len(examples), seed=request.recipe.seed, epoch=0)[:40]
    assert {i for i, one in enumerate(seen) if one.image is not None} == set(kept.tolist())
    assert len(choose(examples, ("cat", "dog"), request)) == 40


def test_the_test_transform(animals, tmp_path):
    request = ask(animals, tmp_path, split="test", count=5)
    data = load_dataset(animals)
    examples = data.examples("test")
    chosen = choose(examples, data.class_names, request)
    assert chosen.tolist() == [0, 4, 8, 11, 15]  # spread evenly
    (images, _), *_ = pipeline.test_batches(
        examples, request.preprocessing, batch_size=len(examples)
    ).as_numpy_iterator()
    seen = views.tested(examples, request, chosen)
    for index, one in zip(chosen, seen, strict=True):
        assert np.array_equal(one.image, images[index])


@pytest.mark.ci
def test_the_sheet(animals, call, tmp_path):
    path = tmp_path / "out" / "sheet.png"
    args = (
        "data",
        "show",
        animals,
        "--count",
        "5",
        "--draws",
        "1",
        "--image-size",
        "32",
        "--output",
        path,
    )
    answer = call(*args, "--json")
    assert answer.rc == 0, answer.err
    document = json.loads(answer.out)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (document["width"], document["height"])
    assert document["columns"] == "as stored, epoch 0"
    assert len(document["shown"]) == 5
    assert {row["label"] for row in document["shown"]} <= {"cat", "dog"}
    first = path.read_bytes()
    fails(call(*args), 2, "exists", "--overwrite")
    again = call(*args, "--overwrite")
    assert again.rc == 0
    assert "sheet.png" in again.out
    assert path.read_bytes() == first
    other = call(*args, "--overwrite", "--seed", "1")
    assert other.rc == 0
    assert path.read_bytes() != first


@pytest.mark.ci
def test_classes(animals, call, tmp_path):
    path = tmp_path / "sheet.png"
    args = ("data", "show", animals, "--image-size", "16", "--output", path, "--overwrite")
    document = json.loads(
        call(*args, "--classes", "dog", "--count", "4", "--draws", "1", "--json").out
    )
    assert [row["label"] for row in document["shown"]] == ["dog"] * 4
    fails(call(*args, "--classes", "dgo"), 2, "no class 'dgo'", "Did you mean dog")
    document = json.loads(call(*args, "--split", "test", "--json").out)
    assert document["columns"] == "as stored, test transform"
    assert document["examples"] == 16
    document = json.loads(call(*args, "--no-augment", "--count", "2", "--json").out)
    assert document["columns"] == "as stored, test transform"


@pytest.mark.parametrize(
    ("args", "rc", "message"),
    [
        (["digt"], 2, "unknown dataset 'digt'"),
        (["digits", "--count", "0"], 2, "--count 0; allowed is 1 to 500"),
        (["digits", "--draws", "9"], 2, "--draws 9; allowed is 1 to 8"),
        (["digits", "--epoch", "30"], 2, "allowed is 0 to 29: the last epoch of recipe quick"),
        (["digits", "--recipe", "quik"], 2, "unknown recipe 'quik'"),
        (["digits", "--set", "flop=1"], 2, "unknown recipe key 'flop'"),
        (["digits", "--set", "flip"], 2, "not KEY=VALUE"),
        (["digits", "--seed", "1", "--set", "seed=2"], 2, "set twice"),
        (["digits", "--output", "sheet.jpg"], 2, "a sheet is a PNG file"),
        (["folder:/no/such"], 3, "no such folder"),
    ],
)
def test_wrong_use(call, tmp_path, monkeypatch, args, rc, message):
    monkeypatch.chdir(tmp_path)
    fails(call("data", "show", *args), rc, message)
    assert not list(tmp_path.glob("*.png"))


def test_a_wrong_name_is_an_error_before_tensorflow_is_loaded(cli):
    answer = cli("data", "show", "digt", env={"REZOO_DEBUG": ""})
    fails(answer, 2, "unknown dataset 'digt'", "digits")


def test_grey_pixels_and_a_large_batch(tmp_path):
    changes = {"batch_size": 5000, "image_size": 16}
    request = ask("digits", tmp_path, count=3, draws=2, changes=changes)
    result = draw_sheet(request)
    assert result.columns == "as stored, epoch 0, epoch 1"
    assert "training would refuse batch_size 5000" in result.notes[0]
    pixels = np.asarray(Image.open(request.path).convert("RGB"))
    assert pixels.std() > 20
    assert default_path("folder:/x/my photos").name == "data-sheet-my photos.png"


def test_text_is_cut_to_its_width():
    def ink(text, width):
        sheet = Image.new("RGB", (300, 30), "white")
        write(sheet, text, 10, 2, width, 18)
        return np.flatnonzero((np.asarray(sheet) < 128).any((0, 2)))

    whole, cut = ink("a name", 200), ink("a name that is long", 100)
    assert 10 <= whole.min() < whole.max() < 80
    assert 90 < cut.max() < 110
    assert np.array_equal(ink("a\nname", 200), whole)
    assert ink("猫é\x1b\udcff", 200).size
    assert not ink("", 200).size


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (300, 500, 3), (1, 2000, 3), (160, 1, 3), (161, 5, 3)]
)
def test_images_fit_into_a_cell(shape):
    fitted = fit(np.full(shape, 100, np.uint8), 160)
    assert fitted.mode == "RGB"
    assert max(fitted.size) == 160
    assert (np.asarray(fitted) == 100).all()


def test_epochs_end_with_the_recipe(tmp_path):
    request = ask("digits", tmp_path, epoch=29, draws=4, changes={})
    assert request.draws == 1
    with pytest.raises(SpecError, match="allowed is 0 to 29"):
        ask("digits", tmp_path, epoch=30, changes={})
    probe = ask("digits", tmp_path, recipe="probe", changes={})  # it has none
    assert (probe.epoch, probe.draws, probe.augment) == (0, 1, False)


@pytest.mark.ci
def test_images_that_cannot_be_decoded_are_left_out(photographs, tmp_path):
    root = photographs({"a": 9, "b": 9})
    for path in (root / "a").iterdir():
        path.write_bytes(path.read_bytes()[:-300])  # only decoding shows it
    path = tmp_path / "sheet.png"
    changes = {"image_size": 16, "batch_size": 2}
    shown = {"split": "all", "changes": changes, "output": path, "overwrite": True}
    with pytest.warns(DataWarning, match="9 of 18 images .*damaged or cut off"):
        sheet = draw_sheet(SheetRequest.of(f"folder:{root}", **shown))
    assert {row["label"] for row in sheet.shown} == {"b"}
    with pytest.warns(DataWarning), pytest.raises(IntegrityError, match="none of the 9 chosen"):
        draw_sheet(SheetRequest.of(f"folder:{root}", classes="a", **shown))
