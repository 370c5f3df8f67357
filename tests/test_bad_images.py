"""Images that cannot be read: before a run, in it, and what may be said about them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf

from conftest import encoded, fails, picture
from rezoo import DataOptions, load_dataset, train
from rezoo.data import batches, image_files, pipeline
from rezoo.data.examples import Examples
from rezoo.data.image_sources import FileSource
from rezoo.data.records import open_records
from rezoo.data.tfds import RecordSource
from rezoo.data.unreadable import Faults
from rezoo.errors import DataWarning, IntegrityError, Interrupted, NotFoundError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.training.reporters import Reporter
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SMALL = Preprocessing(input_size=(3, 16, 16))
RECIPE = Recipe(name="test", epochs=2, batch_size=4)
CUT = encoded(picture(7), "PNG")[:-200]  # its header is sound
MANY = DataOptions(bad_limit=0.5, cache="off")


@pytest.fixture
def files(photographs) -> Examples:
    part = load_dataset(f"folder:{photographs({'a': 8, 'b': 8})}").examples("train")
    assert isinstance(part.source, FileSource)
    return part


def spoil(examples: Examples, index: int, content: bytes = b"x") -> None:
    (examples.source.root / examples.key(index)).write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"on_bad_image": "stop"}, "allowed are skip and error"),
        ({"bad_limit": 1.5}, "0 to 1"),
        ({"bad_limit": float("nan")}, "0 to 1"),
        ({"cache": "disk"}, "allowed are auto and off"),
    ],
)
def test_options_are_checked(changes, text):
    with pytest.raises(SpecError, match=text):
        DataOptions(**changes)


def test_limit(photographs):
    root = photographs({"a": 9, "b": 10})
    (root / "a" / "bad.jpg").write_bytes(b"x")
    with pytest.raises(IntegrityError) as refused:
        load_dataset(f"folder:{root}", DataOptions(bad_limit=0.049))
    assert "at most 4.9% may be bad (--bad-limit)" in refused.value.hint
    with pytest.warns(DataWarning, match="1 of 20 images"):
        load_dataset(f"folder:{root}", DataOptions(bad_limit=0.05))
    with pytest.raises(IntegrityError, match=r"a/bad\.jpg"):
        load_dataset(f"folder:{root}", DataOptions(bad_limit=0.05, on_bad_image="error"))


@pytest.mark.ci
def test_training_goes_on_without_what_it_meets(files):
    whole = [
        y.numpy().tolist()
        for _, y in batches.training(Faults(files, MANY, "data"), SMALL, RECIPE, classes=2)
    ]
    spoil(files, 3)
    faults = Faults(files, MANY, "data")
    with pytest.warns(DataWarning, match=r"1 of \d+ images in data .*They are left out"):
        drawn = [y.numpy().tolist() for _, y in batches.training(faults, SMALL, RECIPE, classes=2)]
    assert len(drawn) == len(whole)
    assert list(faults.reasons) == [3]
    # a second pass that knows it from the start draws the same
    again = Faults(files, MANY, "data")
    again.reasons.update(faults.reasons)
    assert [
        y.numpy().tolist() for _, y in batches.training(again, SMALL, RECIPE, classes=2)
    ] == drawn


@pytest.mark.parametrize("repeats", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.ci
def test_what_is_met_in_a_micro_batch(files, repeats):
    """The parts of a batch are read one after the other; together they are what the batch is."""
    spoil(files, 3)
    spoil(files, 9)
    drawn = {}
    for parts in (1, 4):
        recipe = dataclasses.replace(RECIPE, accumulation=parts, repeated_augmentation=repeats)
        faults = Faults(files, MANY, "data")
        with pytest.warns(DataWarning):
            stream = list(batches.training(faults, SMALL, recipe, classes=2))
        assert len(stream) == RECIPE.epochs * (len(files) // RECIPE.batch_size) * parts
        assert 9 in faults.reasons
        drawn[parts] = np.concatenate([images for images, _ in stream])
        rest = list(batches.training(faults, SMALL, recipe, classes=2, epoch=1, step=2))
        tail = np.concatenate([images for images, _ in rest])
        np.testing.assert_array_equal(tail, drawn[parts][-len(tail) :])
    np.testing.assert_array_equal(drawn[4], drawn[1])


@pytest.mark.ci
def test_several_in_one_batch_and_too_many(files):
    for index in range(6):
        spoil(files, index, b"" if index % 2 else b"text")
    faults = Faults(files, DataOptions(bad_limit=0.3), "data")
    with pytest.warns(DataWarning), pytest.raises(IntegrityError, match="images in data"):
        list(batches.training(faults, SMALL, RECIPE, classes=2))


def test_evaluation_goes_on(files):
    spoil(files, 0)
    spoil(files, 7)
    faults = Faults(files, MANY, "data")
    with pytest.warns(DataWarning):
        labels = np.concatenate([y for _, y in batches.InOrder(faults, SMALL, batch_size=4)])
    wanted = np.delete(files.labels(), [0, 7])
    np.testing.assert_array_equal(labels, wanted)


@pytest.mark.ci
def test_the_pipeline_is_built_once(files, monkeypatch):
    built = []

    def counted(*args, **keys):
        built.append(args)
        return pipeline.test_batches(*args, **keys)

    monkeypatch.setattr(batches, "test_batches", counted)
    stream = batches.InOrder(Faults(files, MANY, "data"), SMALL, batch_size=4)
    labels = [np.concatenate([y for _, y in stream]) for _ in range(2)]
    assert len(built) == 1
    spoil(files, 2)
    with pytest.warns(DataWarning):
        labels.append(np.concatenate([y for _, y in stream]))
    labels.append(np.concatenate([y for _, y in stream]))
    assert len(built) == 1
    wanted = [files.labels()] * 2 + [np.delete(files.labels(), 2)] * 2
    assert [found.tolist() for found in labels] == [labels.tolist() for labels in wanted]


@pytest.mark.ci
def test_one_bad_validation_image_is_within_the_limit_of_the_dataset(files):
    """One of a hundred is allowed, and a split of it may be small."""
    spoil(files, 0, CUT)
    few = Faults(files, DataOptions(), "data", of=100)
    with pytest.warns(DataWarning):
        assert sum(len(y) for _, y in batches.InOrder(few, SMALL, batch_size=4)) == 11
    with pytest.raises(IntegrityError, match="1 of 12 images in data"):
        list(batches.InOrder(Faults(files, DataOptions(), "data"), SMALL, batch_size=4))


def test_classes_without_a_readable_image_are_named(files):
    for index in np.flatnonzero(files.labels() == 1):
        spoil(files, index, CUT)
    faults = Faults(files, DataOptions(bad_limit=1.0), "data", ("cat", "dog"))
    with pytest.warns(DataWarning) as seen:
        labels = np.concatenate([y for _, y in batches.InOrder(faults, SMALL, batch_size=4)])
    assert set(labels) == {0}
    assert any("class 'dog' has no image left in data" in str(w.message) for w in seen)
    assert faults.lost_classes() == ["class 'dog' has no image left in data"]


def test_warnings_do_not_flood(files):
    faults = Faults(files, DataOptions(bad_limit=1.0), "data")
    many = Examples(FileSource(files.source.root, ["x"] * 3000, np.zeros(3000, np.int32)))
    faults.examples = many
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for index in range(2000):
            faults.add({index: "bad"})
    assert len(seen) < 20
    assert str(seen[-1].message).startswith("1280 of 3000 images in data cannot be decoded")


@pytest.mark.parametrize(
    "kind",
    [
        *("fifo", "gone", "forbidden"),
        *(pytest.param(kind, marks=pytest.mark.ci) for kind in ("device", "folder", "large")),
    ],
)
def test_what_is_no_regular_file_is_not_read(files, kind):
    """A file that became something else after the listing neither hangs nor fills memory."""
    path = files.source.root / files.key(5)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(image_files.MAX_FILE_BYTES + 1)
    elif kind == "forbidden":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        path.touch(mode=0)
    faults = Faults(files, MANY, "data")
    with pytest.warns(DataWarning, match="1 of 12 images in data cannot be decoded"):
        labels = np.concatenate([y for _, y in batches.InOrder(faults, SMALL, batch_size=4)])
    assert labels.tolist() == np.delete(files.labels(), 5).tolist()
    said = {"large": "the file has 537 MB; at most 537", "gone": "the file is not there"}
    assert faults.reasons[5].startswith(said.get(kind, "not a regular file"))


def test_damaged_record_is_left_out(tmp_path):
    path = tmp_path / "part.tfrecord"
    picture = tf.io.encode_png(np.full((9, 9, 3), 7, np.uint8)).numpy()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for label in range(8):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            record = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(record.SerializeToString())
    content = bytearray(path.read_bytes())
    length = len(content) // 8
    content[2 * length + 40] ^= 255
    path.write_bytes(content)
    examples = Examples(RecordSource(open_records([path]), "data", "image", "label"))
    faults = Faults(examples, MANY, "data")
    with pytest.warns(DataWarning, match=r"data\[2\]|data.2|2.*cannot be read"):
        drawn = list(batches.InOrder(faults, SMALL, batch_size=3))
    assert np.concatenate([y for _, y in drawn]).tolist() == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_run_meets_damage_and_resumes_to_the_same_bits(photographs, tmp_path):
    """Only decoding shows the damage: the run ends; stopped and resumed, it is the same run."""
    root = photographs({"a": 12, "b": 12})
    opened = load_dataset(f"folder:{root}").examples("train")
    spoil(opened, 5, CUT)
    wanted = {
        "recipe": "quick",
        "changes": {"epochs": 2, "batch_size": 4, "image_size": 32},
        "options": MANY,
    }
    with pytest.warns(DataWarning, match="1 of"):
        run = train(NETWORK, f"folder:{root}", output=tmp_path / "run", **wanted)
    assert run.metrics["images_left_out"] == {"train": 1, "val": 0}

    class StopAfterOne(Reporter):
        def epoch(self, record, *, best):
            raise Interrupted("stopped", exit_code=130)

    other = {"output": tmp_path / "other", **wanted}
    with pytest.warns(DataWarning), pytest.raises(Interrupted):
        train(NETWORK, f"folder:{root}", reporter=StopAfterOne(), **other)
    train(NETWORK, f"folder:{root}", resume=True, **other)
    last = "checkpoints/last/model.safetensors"
    assert (tmp_path / "run" / last).read_bytes() == (tmp_path / "other" / last).read_bytes()


def test_ignore_list(photographs, tmp_path):
    root = photographs({"a": 9, "b": 9})
    whole = load_dataset(f"folder:{root}")
    first = whole.examples("train").key(0)
    (tmp_path / "list").write_text(f"# remark\n\n{first}\n")
    data = load_dataset(f"folder:{root}", DataOptions(ignore=str(tmp_path / "list")))
    every = data.examples("all")
    assert first not in [every.key(i) for i in range(len(every))]
    assert len(every) == 17
    assert any("1 example left out by" in note for note in data.splits.notes)
    (tmp_path / "list").write_text("nosuch.jpg\n")
    with pytest.warns(DataWarning, match=r"1 examples that the dataset does not have: nosuch\.jpg"):
        load_dataset(f"folder:{root}", DataOptions(ignore=str(tmp_path / "list")))
    with pytest.raises(NotFoundError, match="cannot read the list"):
        load_dataset(f"folder:{root}", DataOptions(ignore=str(tmp_path / "gone")))


@pytest.mark.ci
def test_command_line(photographs, tmp_path, call):
    root = photographs({"a": 9, "b": 9})
    (root / "a" / "bad.jpg").write_bytes(b"x")
    begin = ("train", NETWORK, "--dataset", f"folder:{root}", "--output", tmp_path / "run")
    short = ("--epochs", "1", "--batch-size", "4", "--image-size", "32")
    fails(call(*begin, *short), 5, "a/bad.jpg", "--bad-limit")
    fails(call(*begin, "--on-bad-image", "error", "--bad-limit", "1"), 5, "a/bad.jpg")
    fails(call(*begin, "--bad-limit", "2"), 2, "0 to 1")
    fails(call(*begin, "--on-bad-image", "ask"), 2, "skip", "error")
    fails(call(*begin, "--ignore", tmp_path / "gone"), 3, "cannot read the list")
    (tmp_path / "list").write_text("a/bad.jpg\n")
    answer = call(*begin, *short, "--ignore", tmp_path / "list", "--json")
    assert answer.rc == 0, answer
    assert json.loads(answer.out)["images_left_out"] == {"train": 0, "val": 0}
    shutil.rmtree(tmp_path / "run")
    answer = call(*begin, *short, "--bad-limit", "0.1")
    assert answer.rc == 0, answer
    assert "1 of 19 images" in answer.err
