"""Datasets of the Hub: the real `datasets` library against a Hub on this machine."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

import dataset_stand_in as stand_in
from conftest import encoded, fails, picture
from dataset_stand_in import NAMES, REPO, parquet, photographs, rows, table
from rezoo.data import hf
from rezoo.data.datasets import load_dataset
from rezoo.data.hf import open_hf
from rezoo.data.pipeline import test_batches as batches_of
from rezoo.errors import HubWarning, IncompatibleError, NetworkError, SpecError
from rezoo.specs import Preprocessing
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

datasets = pytest.importorskip(
    "datasets", reason="the datasets library is not installed: pip install 'rezoo[hf]'"
)


@pytest.fixture(autouse=True)
def here(hub, monkeypatch, tmp_path):
    stand_in.serve_datasets(monkeypatch, hub, tmp_path / "data")


@pytest.fixture
def shapes(hub) -> str:
    return stand_in.add_shapes(hub)


# what is read


def test_splits_names_keys_and_pixels(shapes):
    data = load_dataset(f"hf:{REPO}")
    assert data.class_names == tuple(NAMES)
    assert {split: len(part) for split, part in data.splits.parts.items()} == {
        "train": 30,
        "val": 6,
        "test": 9,
    }
    assert f"{REPO} is at commit {shapes}" in data.splits.notes
    part = data.examples("test")
    assert part.key(4) == f"{REPO}@{shapes}/test[4]"
    assert part.labels().tolist() == [0, 1, 2] * 3
    for index, (content, label) in enumerate(rows(9, first=900)):
        image, found = part.fetch(tf.constant(index, tf.int64))
        assert image.numpy() == content
        assert found == label


@pytest.mark.ci
def test_batches_are_those_of_the_files(shapes):
    pre = Preprocessing(input_size=(3, 32, 32), crop_pct=1.0)
    part = load_dataset(f"hf:{REPO}").examples("all")
    once, again = ([x.numpy() for x, _ in batches_of(part, pre, batch_size=8)] for _ in range(2))
    assert sum(map(len, once)) == 45
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.ci
def test_many_threads_read_the_same(shapes):
    part = open_hf(REPO)["train"]
    stream = tf.data.Dataset.range(3000).map(
        lambda i: (i % 30, part.fetch(i % 30)[0]), num_parallel_calls=8, deterministic=False
    )
    wanted = [content for content, _ in rows(30, first=3000)]
    assert all(image == wanted[i] for i, image in stream.as_numpy_iterator())


def test_a_folder_of_images(hub):
    files = {
        f"{split}/{name}/{i}.jpg": encoded(picture(i))
        for split in ("train", "test")
        for name in ("cat", "dog")
        for i in range(4)
    }
    hub.add("team/pets", files)
    data = open_hf("team/pets")
    assert data.class_names == ("cat", "dog")
    assert {split: len(part) for split, part in data.parts.items()} == {"train": 8, "test": 8}
    contents = {data["test"].fetch(tf.constant(i, tf.int64))[0].numpy() for i in range(8)}
    assert contents == {encoded(picture(i)) for i in range(4)}


def test_splits_that_are_missing(hub):
    one = hub.add("team/one", {"data/train-00000-of-00001.parquet": parquet(rows(60))})
    data = open_hf("team/one")
    assert {split: len(part) for split, part in data.parts.items()} == {"train": 54, "test": 6}
    assert "test: 6 of train's 60 examples, held out by a fixed rule" in data.notes
    held = [key.partition("/train")[2] for key in map(data["test"].key, range(6))]
    hub.add("team/one", {"README.md": b"Better words.\n"})
    later = open_hf("team/one")["test"]
    assert f"@{one}/" not in later.key(0)
    assert [later.key(i).partition("/train")[2] for i in range(6)] == held
    files = {
        f"data/{split}-00000-of-00001.parquet": parquet(rows(9))
        for split in ("train", "validation")
    }
    hub.add("team/two", files)
    data = open_hf("team/two")
    assert list(data.parts) == ["train", "test"]
    assert data["test"].key(0).endswith("/validation[0]")
    assert data.notes[-1] == "test: the 9 images of val, as there is no other test split"


def test_a_test_split_without_labels_is_left_out(hub):
    secret = [(content, -1) for content, _ in rows(6)]
    parts = {"train": rows(12), "validation": rows(6), "test": secret}
    hub.add(
        REPO,
        {f"data/{s}-00000-of-00001.parquet": parquet(part) for s, part in parts.items()},
    )
    data = open_hf(REPO)
    assert data["test"].key(0).endswith("/validation[0]")
    assert "test: left out, its labels are not public" in data.notes


def test_one_row_without_a_label(hub):
    broken = [*rows(5), (encoded(picture(1)), -1)]
    hub.add(REPO, {"data/train-00000-of-00001.parquet": parquet(broken)})
    with pytest.raises(IncompatibleError, match=r"train\[5\] has no class: column 'label', 1 rows"):
        open_hf(REPO)


@pytest.mark.parametrize(
    ("values", "names"),
    [(["wren", "robin", "wren"], ("robin", "wren")), ([10, 9, 10], ("9", "10"))],
    ids=["text", "numbers"],
)
def test_plain_labels_become_classes(hub, values, names):
    content = table(
        {"image": photographs(30), "label": values * 10, "caption": ["x"] * 30},
        {
            "image": datasets.Image(),
            "label": datasets.Value("string" if isinstance(values[0], str) else "int64"),
            "caption": datasets.Value("string"),
        },
    )
    hub.add(REPO, {"data/test-00000-of-00001.parquet": content})
    data = open_hf(REPO)
    assert data.class_names == names
    assert data["test"].labels().tolist() == [1, 0, 1] * 10


# what is chosen


def test_columns_must_be_chosen(hub):
    kinds = {
        "image": datasets.Image(),
        "mask": datasets.Image(),
        "coarse": datasets.ClassLabel(names=["a", "b"]),
        "fine": datasets.ClassLabel(names=NAMES),
        "caption": datasets.Value("string"),
    }
    columns = {
        "image": photographs(6),
        "mask": photographs(6)[::-1],
        "coarse": [0, 1] * 3,
        "fine": [0, 1, 2] * 2,
        "caption": list("uvwxyz"),
    }
    hub.add(REPO, {"data/test-00000-of-00001.parquet": table(columns, kinds)})
    with pytest.raises(SpecError, match=r"which image column .*image \(Image\), mask") as caught:
        open_hf(REPO)
    assert caught.value.hint == f"write hf:{REPO}:image=COLUMN"
    with pytest.raises(SpecError, match="which label column"):
        open_hf(f"{REPO}:image=mask")
    with pytest.raises(SpecError, match="'photo' is no column of images"):
        open_hf(f"{REPO}:image=photo")
    data = open_hf(f"{REPO}:image=mask,label=fine")
    assert data.class_names == tuple(NAMES)
    assert data["test"].fetch(tf.constant(0, tf.int64))[0].numpy() == rows(6)[5][0]
    assert open_hf(f"{REPO}:image=image,label=caption").class_names == tuple("uvwxyz")


def test_configurations_must_be_chosen(hub):
    readme = b"---\nconfigs:\n- config_name: small\n  data_files: s.parquet\n"
    readme += b"- config_name: large\n  data_files: l.parquet\n---\n"
    hub.add(
        REPO,
        {
            "README.md": readme,
            "s.parquet": parquet(rows(6)),
            "l.parquet": parquet(rows(40)),
        },
    )
    with pytest.raises(SpecError, match=r"small.*large") as caught:
        open_hf(REPO)
    assert caught.value.hint == f"write hf:{REPO}:config=NAME"
    with pytest.raises(SpecError, match="medium"):
        open_hf(f"{REPO}:config=medium")
    data = open_hf(f"{REPO}:config=large")
    assert sum(len(part) for part in data.parts.values()) == 40
    assert "/large/train[" in data["train"].key(0)


def test_columns_that_are_none(hub):
    content = table({"text": ["a", "b"], "label": [0, 1]})
    hub.add(REPO, {"data/train-00000-of-00001.parquet": content})
    with pytest.raises(IncompatibleError, match="no column of images") as caught:
        open_hf(REPO)
    assert caught.value.hint == "its columns are text (string), label (int64)."


@pytest.mark.parametrize("text", ["a", "a/b@", "a/../b", "a/b:", "a/b:split=x", "a/b:config=../x"])
def test_references_that_are_none(text):
    with pytest.raises(SpecError):
        open_hf(text)


# the second time


def test_the_second_use_needs_neither_library_nor_network(hub, shapes, monkeypatch):
    from huggingface_hub import constants

    first = load_dataset(f"hf:{REPO}")
    hub.requests.clear()
    assert load_dataset(f"hf:{REPO}@{shapes}").splits.class_names == first.class_names
    assert hub.requests == []  # a commit never changes
    hub.stop()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.warns(HubWarning, match=f"using commit {shapes[:12]} from the disk"):
        assert len(load_dataset(f"hf:{REPO}").examples("train")) == 30
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset(f"hf:{REPO}").examples("train").key(0).startswith(f"{REPO}@{shapes}")
    with pytest.raises(NetworkError, match="not on this machine") as caught:
        open_hf("team/other")
    assert "HF_HUB_OFFLINE=0" in caught.value.hint


def test_a_branch_that_moves(hub, shapes, tmp_path):
    assert len(open_hf(REPO)["train"]) == 30
    (memory,) = (tmp_path / "data").rglob("refs/main")
    written = memory.stat()
    assert len(open_hf(REPO)["train"]) == 30
    assert memory.stat().st_ino == written.st_ino  # nothing is written if it has not moved
    hub.add(REPO, {"data/train-00000-of-00001.parquet": parquet(rows(33))})
    assert len(open_hf(REPO)["train"]) == 33
    assert len(open_hf(f"{REPO}@{shapes}")["train"]) == 30
    hub.move(REPO, "refs/convert/parquet", shapes)
    assert len(open_hf(f"{REPO}@refs/convert/parquet")["train"]) == 30


def test_tables_that_are_gone_are_made_again(hub, shapes, tmp_path):
    open_hf(REPO)
    for path in (tmp_path / "data").rglob("*.arrow"):
        path.unlink()
    assert len(open_hf(REPO)["train"]) == 30


@pytest.mark.ci
def test_a_run(hub, shapes, call, tmp_path):
    answer = call(
        *("train", NETWORK, "--dataset", f"hf:{REPO}", "--epochs", "2"),
        *("--image-size", "32", "--batch-size", "8", "--output", tmp_path / "run"),
    )
    assert answer.rc == 0, answer
    assert f"{REPO} is at commit {shapes}" in answer.err + answer.out
    answer = call("eval", tmp_path / "run")
    assert answer.rc == 0, answer
    fails(call("train", NETWORK, "--dataset", "hf:"), 2, "write hf:OWNER/NAME")
    assert hf.parse("a/b:label=c")[1] == {"label": "c"}
