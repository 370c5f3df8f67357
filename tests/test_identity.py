"""Which data a run has: recorded at its start, compared on resume and in `rezoo eval`."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import rezoo
from conftest import fails, picture
from rezoo.artifacts.config import CONFIG, read_config
from rezoo.artifacts.run_files import (
    DATA,
    ENVIRONMENT,
    LOCAL,
    PUBLISHED,
    REPORT,
    local_facts,
)
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.data.datasets import Dataset, load_dataset
from rezoo.data.differences import differences
from rezoo.data.examples import Examples, Splits
from rezoo.data.identity import Identity, resolved_reference
from rezoo.data.image_sources import ArraySource, FileSource
from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.specs import DatasetSpec
from rezoo.training.run_differences import describe_data, of_data
from rezoo.utils.pages import for_others
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SMALL = {"epochs": 1, "batch_size": 8, "image_size": 8, "verbose": 0}
NAMES = ("ant", "bee")


def arrays(parts: dict[str, dict[str, int]], names=NAMES, *, shade: int = 0) -> Dataset:
    """Return data in memory: split → key → label."""
    made = {}
    for split, labels in parts.items():
        targets = np.array(list(labels.values()))
        images = np.full((len(labels), 2, 2, 1), shade, np.uint8)
        made[split] = Examples(ArraySource(images, targets, list(labels)))
    spec = DatasetSpec(name="mine", open=list)
    return Dataset("mine", spec, Splits(parts=made, class_names=names))


TRAIN, TEST = {"a": 0, "b": 1, "c": 0}, {"x": 0, "y": 1}
BASE = arrays({"train": TRAIN, "test": TEST})


@pytest.mark.parametrize(
    ("parts", "names", "found"),
    [
        ({"train": TRAIN, "test": TEST}, NAMES, []),
        ({"train": dict(reversed(TRAIN.items())), "test": TEST}, NAMES, []),
        (
            {"train": {**TRAIN, "d": 1, "e": 1}, "test": TEST},
            NAMES,
            ["train (5 images): 2 new (d, e)"],
        ),
        (
            {"train": {"a": 0, "b": 1}, "test": TEST},
            NAMES,
            ["train (2 images): 1 missing"],
        ),
        (
            {"train": {"a": 1, "b": 1, "c": 0}, "test": TEST},
            NAMES,
            ["train (3 images): 1 with another label (a)"],
        ),
        (
            {"train": {"a": 0, "b": 1}, "test": {"c": 0, **TEST}},
            NAMES,
            [
                "train (2 images): 1 missing",
                "test (3 images): 1 from the run's train (c)",
            ],
        ),
        ({"train": TRAIN}, NAMES, []),  # the one split that is evaluated
        ({"train": {"a": 1, "b": 0, "c": 1}, "test": {"x": 1, "y": 0}}, ("bee", "ant"), None),
        ({"train": TRAIN, "test": TEST}, ("ant", "wasp"), None),
    ],
)
def test_differences_in_words(parts, names, found):
    texts = differences(Identity.of(BASE), Identity.of(arrays(parts, names)))
    if names == ("bee", "ant"):  # the same classes of the same images
        found = ["the classes are in another order"]
    if names == ("ant", "wasp"):
        found = ["the class is new: 'wasp'", "the class is missing: 'bee'"]
        found += ["train (3 images): 1 with another label (b)"]
        found += ["test (2 images): 1 with another label (y)"]
    assert texts == found


def test_many_names_are_cut_short():
    more = {**TRAIN, **{f"new{i}": 0 for i in range(5)}}
    (text,) = differences(Identity.of(BASE), Identity.of(arrays({"train": more, "test": TEST})))
    assert text == "train (8 images): 5 new (new0, new1, new2, …)"


def test_other_pixels_under_the_same_names():
    other = Identity.of(arrays({"train": TRAIN, "test": TEST}, shade=1))
    assert differences(Identity.of(BASE), other) == [
        f"{split} ({n} images): files of the same names and sizes with another content"
        for split, n in (("train", 3), ("test", 2))
    ]
    assert other.sha256 != Identity.of(BASE).sha256


def test_order_counts_for_a_resumed_run():
    turned = arrays({"train": dict(reversed(TRAIN.items())), "test": TEST})
    assert Identity.of(turned).sha256 != Identity.of(BASE).sha256


def test_several_labels():
    def several(last: int) -> Identity:
        targets = np.array([[1, 0], [1, last]], np.uint8)
        source = ArraySource(np.zeros((2, 2, 2, 1), np.uint8), targets, ["a", "b"])
        splits = Splits(parts={"train": Examples(source)}, class_names=NAMES, multi_label=True)
        return Identity.of(Dataset("mine", DatasetSpec(name="mine", open=list), splits))

    assert differences(several(0), several(0)) == []
    assert differences(several(0), several(1)) == ["train (2 images): 1 with another label (b)"]


def test_an_identity_is_read_as_it_was_written(tmp_path):
    written = Identity.of(BASE)
    assert Identity.read(tmp_path) is None
    written.save(tmp_path)
    back = Identity.read(tmp_path)
    assert (back.reference, back.class_names, back.sha256) == ("mine", NAMES, written.sha256)
    assert differences(back, written) == []
    values, metadata = read_tensors(tmp_path / DATA)
    short = {**values, "train.labels": values["train.labels"][1:]}
    write_tensors(tmp_path / DATA, short, metadata=metadata)
    with pytest.raises(IntegrityError, match=r"damaged: labels is uint32 \(2,\)"):
        Identity.read(tmp_path)
    (tmp_path / DATA).write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match="record of the run's data, is damaged"):
        Identity.read(tmp_path)


def test_special_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    source = FileSource(tmp_path, ["pipe.jpg", "gone.jpg"], np.zeros(2, int))
    splits = Splits(parts={"train": Examples(source)}, class_names=NAMES)
    data = Dataset("folder:x", DatasetSpec(name="folder:x", open=list), splits)
    assert Identity.of(data).splits["train"].sizes.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("reference", "key", "resolved"),
    [
        ("digits", "digits/1", "digits"),
        ("tfds:cars", "cars:1.0.2/train/0", "tfds:cars:1.0.2"),
        ("tfds:cars/small", "cars/small:1.0.2/train/0", "tfds:cars/small:1.0.2"),
        ("hf:team/one", "team/one@abc/train[0]", "hf:team/one@abc"),
        ("hf:team/one@main:label=x", "team/one@abc/full/train[0]", "hf:team/one@abc:label=x"),
    ],
)
def test_a_reference_is_resolved_to_what_was_opened(reference, key, resolved):
    data = arrays({"train": {key: 0}})
    assert resolved_reference(Dataset(reference, data.spec, data.splits)) == resolved


def test_a_path_becomes_absolute_and_keeps_the_columns(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = arrays({"train": {"a": 0}})
    for reference in ("folder:photos", "csv:photos.csv:path=image,label=kind"):
        kind, _, rest = reference.partition(":")
        opened = Dataset(reference, data.spec, data.splits)
        assert resolved_reference(opened) == f"{kind}:{tmp_path.resolve()}/{rest}"


# runs


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two folders in which `folder:photos` means other photographs of the same names."""
    root = tmp_path_factory.mktemp("places")
    for place in (1, 2):
        for n, name in enumerate(NAMES):
            folder = root / f"p{place}" / "photos" / name
            folder.mkdir(parents=True)
            for i in range(10):
                picture(100 * place + 10 * n + i, (16, 16)).save(folder / f"{i}.jpg")
    return root


@pytest.fixture(scope="module")
def run(places):
    before = os.getcwd()
    os.chdir(places / "p1")
    try:
        return rezoo.train(NETWORK, "folder:photos", output=places / "run", **SMALL).folder
    finally:
        os.chdir(before)


def published(run: Path) -> bytes:
    """Return the content of all files that `rezoo push` sends."""
    files = [run / name for name in (CONFIG, *read_config(run).files)]
    return b"".join(
        for_others(file.read_bytes()) if file.name == REPORT else file.read_bytes()
        for file in files
    )


def test_a_run_records_the_absolute_path_and_publishes_none(run, places):
    facts = local_facts(run)
    assert facts["dataset"] == f"folder:{places}/p1/photos"
    assert facts["data_sha256"] == Identity.read(run).sha256
    assert json.loads((run / LOCAL).read_text())["model"] == NETWORK
    assert str(places).encode() not in published(run)
    assert not {LOCAL, DATA} & {*PUBLISHED, *read_config(run).files}


@pytest.mark.ci
def test_eval_measures_the_runs_own_data_from_everywhere(run, places, call, monkeypatch, tmp_path):
    own = shutil.copytree(run, tmp_path / "own")
    monkeypatch.chdir(places / "p2")
    before = (own / "metrics.json").read_bytes()
    assert call("eval", own).rc == 0
    assert (own / "metrics.json").read_bytes() == before
    answer = call("eval", own, "--record")
    assert (answer.rc, "other data" in answer.err) == (0, False)
    test = json.loads((own / "metrics.json").read_text())["test"]
    assert test["count"] == 2
    card = (own / "README.md").read_text()
    assert rezoo.train(resume=own, verbose=0).metrics["test"] == test  # of the same weights
    assert json.loads((own / "metrics.json").read_text())["test"] == test
    assert (own / "README.md").read_text() == card
    assert call("verify", own).rc == 0


def test_eval_of_other_data_is_said_and_not_recorded(run, places, call, monkeypatch, tmp_path):
    own = shutil.copytree(run, tmp_path / "own")
    monkeypatch.chdir(places / "p2")  # where the reference of the run means other photographs
    answer = call("eval", own, "--dataset", "folder:photos")
    assert answer.rc == 0
    assert "top-1" in answer.out
    note = " ".join(answer.err.split())
    assert (
        f"these are other data than the run's, folder:{places}/p1/photos: test (2 images)" in note
    )
    answer = call("eval", own, "--dataset", "folder:photos", "--record")
    assert answer.rc == 6
    assert "top-1" in answer.out  # what was measured is printed all the same
    assert "not recorded: these are not the images of the test split" in answer.err
    assert "test" not in json.loads((own / "metrics.json").read_text())
    assert not (own / "predictions-test.npz").exists()


def test_eval_names_images_that_the_run_was_trained_on(run, places, tmp_path):
    moved = shutil.copytree(places / "p1" / "photos", tmp_path / "photos")
    for name in NAMES:
        (tmp_path / "split" / "test").mkdir(parents=True, exist_ok=True)
        shutil.move(moved / name, tmp_path / "split" / "test" / name)
    found = differences(
        Identity.read(run), Identity.of(load_dataset(f"folder:{tmp_path}/split"), ["test"])
    )
    assert "20 new" in found[0]  # another name is another image
    same = load_dataset(f"folder:{places}/p1/photos")
    leaked = Splits(parts={"test": same.splits["train"]}, class_names=same.class_names)
    (text,) = differences(Identity.read(run), Identity.of(Dataset("x", same.spec, leaked)))
    assert text.startswith("test (16 images): 16 from the run's train (")


def test_a_run_is_not_resumed_with_other_data(run, places, tmp_path):
    with pytest.raises(IncompatibleError) as caught:
        rezoo.train(NETWORK, f"folder:{places}/p2/photos", output=run, resume=True, **SMALL)
    assert caught.value.exit_code == 6
    assert "was started with other data: train (16 images): 16 with a file of" in str(caught.value)
    assert f"folder:{places}/p1/photos" in caught.value.hint
    renamed = shutil.copytree(places / "p1" / "photos", tmp_path / "photos")
    for file in sorted(renamed.rglob("*.jpg")):
        file.rename(file.with_name(f"x{file.name}"))
    (found,) = of_data(Identity.read(run), Identity.of(load_dataset(f"folder:{renamed}")))
    assert re.search(r"16 new \(.*x\d\.jpg.*\), .*16 missing", found.text)
    assert re.search("16 new, .*16 missing", found.record)  # without names of images
    assert ".jpg" not in found.record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one, bee: picture(7, (17, 16)).save(one), "1 with a file of another size (ant/3"),
        (lambda one, bee: one.rename(one.with_name("x.jpg")), "1 new (ant/x.jpg), 1 missing"),
        (lambda one, bee: one.rename(bee / "x.jpg"), "1 new (bee/x.jpg), 1 missing"),
    ],
    ids=["changed", "renamed", "relabelled by another folder"],
)
def test_one_other_picture_is_named(run, places, call, tmp_path, change, said):
    photos = shutil.copytree(places / "p1" / "photos", tmp_path / "photos")
    change(photos / "ant" / "3.jpg", photos / "bee")
    answer = call("train", "--resume", run, "--dataset", f"folder:{photos}")
    fails(answer, 6, "was started with other data: ", "--allow-change")
    assert said in " ".join(answer.err.split())


@pytest.mark.ci
def test_one_other_label_is_named(run, places, call, tmp_path):
    """In a table, the file stays where it is."""
    rows = [f"{p},{p.parent.name}" for p in sorted((places / "p1" / "photos").rglob("*.jpg"))]
    tables, own = tmp_path / "photos.csv", tmp_path / "own"
    tables.write_text("\n".join(["path,label", *rows]))
    rezoo.train(NETWORK, f"csv:{tables}", output=own, **SMALL)
    tables.write_text("\n".join(["path,label", rows[0].replace(",ant", ",bee"), *rows[1:]]))
    answer = call("train", "--resume", own)
    fails(answer, 6, "other data: ", "1 with another label", "ant/0.jpg")
    answer = call("train", "--resume", own, "--allow-change")
    assert answer.rc == 0, answer
    (entry,) = json.loads((own / ENVIRONMENT).read_text())["changes"]
    assert "1 with another label" in entry["changes"][0]


@pytest.mark.ci
def test_a_run_goes_on_with_other_data_if_that_is_allowed(run, places, call, tmp_path):
    own = shutil.copytree(run, tmp_path / "own")
    assert call("eval", own, "--record").rc == 0
    assert (own / "predictions-test.npz").is_file()
    fewer = shutil.copytree(places / "p1" / "photos", tmp_path / "photos")
    (fewer / NAMES[0] / "0.jpg").unlink()
    command = ("train", "--resume", own, "--dataset", f"folder:{fewer}")
    fails(call(*command), 6, "other data: train", "1 missing", "--allow-change")
    answer = call(*command, "--allow-change")
    assert answer.rc == 0, answer
    assert "note     goes on with other data: train" in answer.err
    assert "test" not in json.loads((own / "metrics.json").read_text())
    assert not (own / "predictions-test.npz").exists()
    assert local_facts(own)["dataset"] == f"folder:{fewer}"
    (entry,) = json.loads((own / ENVIRONMENT).read_text())["changes"]
    assert datetime.fromisoformat(entry["changed_utc"]).utcoffset() == timedelta(0)
    assert entry["epochs"] == SMALL["epochs"]
    assert "1 missing" in entry["changes"][0]
    assert str(tmp_path).encode() not in published(own)
    assert call("train", "--resume", own).rc == 0  # these are its data now


def test_data_that_moved_are_the_same(run, places, tmp_path):
    moved = shutil.copytree(places / "p1" / "photos", tmp_path / "photos")
    before, now = Identity.read(run), Identity.of(load_dataset(f"folder:{moved}"))
    note = describe_data(before, now)
    assert not [*of_data(before, now)]
    assert note == f"the run was started with the same images in folder:{places}/p1/photos"
    assert describe_data(before, before) == ""


@pytest.mark.ci
def test_a_run_without_a_record_goes_on_with_one_note(run, places, call, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    (old / DATA).unlink()
    assert "does not record which data" in describe_data(Identity.read(old), Identity.read(run))
    answer = call("eval", old, "--record")
    assert answer.rc == 0
    assert answer.err.count("does not record which data it has") == 1
    assert "test" in json.loads((old / "metrics.json").read_text())


def test_a_damaged_record_is_named(run, call, tmp_path):
    broken = shutil.copytree(run, tmp_path / "broken")
    os.truncate(broken / DATA, 100)
    fails(call("eval", broken), 5, "record of the run's data", "remove it")
