from __future__ import annotations

import functools
import hashlib
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import tfds_archives as archives
from rezoo.artifacts.config import imagenet1k_classes
from rezoo.data.examples import Examples, Splits
from rezoo.data.imagenet2012 import imagenet2012
from rezoo.data.oxford_iiit_pet import oxford_iiit_pet
from rezoo.data.tfds import open_tfds
from rezoo.errors import IncompatibleError, IntegrityError, NotFoundError, UnknownNameError
from rezoo.utils.lock import locked

PETS = archives.pets()


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    archives.isolate(monkeypatch, tmp_path)


@pytest.fixture
def known(monkeypatch):
    return functools.partial(archives.make_known, monkeypatch)


@pytest.fixture(scope="module")
def pets_folder(tmp_path_factory) -> Path:
    """A data folder where the real builder has prepared our pets."""
    folder = tmp_path_factory.mktemp("pets")
    archives.write(PETS, folder / "downloads" / "manual")
    with pytest.MonkeyPatch.context() as patch:
        archives.isolate(patch, folder)
        infos = archives.records_of(PETS, archives.PETS_URL)
        archives.make_known(patch, "oxford_iiit_pet", infos)
        open_tfds("oxford_iiit_pet", folder=folder, say=lambda text: None)
    return folder


def contents(examples: Examples) -> set[tuple[int, str]]:
    stream = tf.data.Dataset.range(len(examples)).map(examples.fetch)
    return {(int(y), hashlib.sha256(x).hexdigest()) for x, y in stream.as_numpy_iterator()}


def contents_of_tfds(folder: Path, name: str, split: str) -> set[tuple[int, str]]:
    builder = tfds.builder(name, data_dir=folder)
    stream = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    return {
        (int(e["label"]), hashlib.sha256(e["image"]).hexdigest())
        for e in stream.as_numpy_iterator()
    }


@pytest.mark.ci
def test_first_use_announces_and_keeps_stdout_clean(tmp_path, known, capfd):
    archives.write(PETS, tmp_path / "downloads" / "manual")
    known("oxford_iiit_pet", archives.records_of(PETS, archives.PETS_URL))
    opened = open_tfds("oxford_iiit_pet", folder=tmp_path, licence="CC BY-SA 4.0")
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("oxford_iiit_pet/4.0.0", "KiB", "CC BY-SA 4.0", "robots.ox.ac.uk", str(tmp_path)):
        assert text in err
    assert "\r" not in err  # no bars: stderr is not a terminal here
    assert {name: len(part) for name, part in opened.parts.items()} == {"train": 6, "test": 4}
    open_tfds("oxford_iiit_pet", folder=tmp_path)
    assert "First use" not in capfd.readouterr().err


def test_what_a_killed_process_left_is_removed(tmp_path, known):
    archives.write(PETS, tmp_path / "downloads" / "manual")
    known("oxford_iiit_pet", archives.records_of(PETS, archives.PETS_URL))
    leftover = tmp_path / "oxford_iiit_pet" / "incomplete.ABC123_4.0.0"
    leftover.mkdir(parents=True)
    (leftover / "part.tfrecord").write_bytes(b"x" * 99)
    mine = [
        leftover.with_name("incomplete.photos"),
        tmp_path / "downloads" / "oxford_iiit_pet" / "a.tmp.mine",
    ]
    for folder in mine:
        folder.mkdir(parents=True)
    open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)
    folders = sorted(p.name for p in leftover.parent.iterdir() if p.is_dir())
    assert folders == ["4.0.0", "incomplete.photos"]
    assert all(folder.is_dir() for folder in mine)


def test_a_second_process_waits_for_the_first(tmp_path, known):
    archives.write(PETS, tmp_path / "downloads" / "manual")
    known("oxford_iiit_pet", archives.records_of(PETS, archives.PETS_URL))
    said = []
    with ExitStack() as first:
        first.enter_context(locked(tmp_path / "downloads" / "oxford_iiit_pet", what="preparing"))

        def say(text):
            said.append(text)
            first.close()  # the first one is done

        open_tfds("oxford_iiit_pet", folder=tmp_path, say=say)
    assert f"in use: preparing by process {os.getpid()} on host" in said[0]
    assert "waiting" in said[0]
    assert "Prepared oxford_iiit_pet" in said[-1]


def test_pets_equal_what_tfds_reads(pets_folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(pets_folder))
    opened = oxford_iiit_pet.open()
    assert len(opened.class_names) == oxford_iiit_pet.classes == 37
    for split in ("train", "test"):
        expected = contents_of_tfds(pets_folder, "oxford_iiit_pet", split)
        assert contents(opened[split]) == expected
        assert len(expected) == len(opened[split])


def test_examples_by_index(pets_folder):
    train = open_tfds("oxford_iiit_pet:4.0.0", folder=pets_folder)["train"]
    assert train.encoded
    assert train.labels() is None
    assert train.key(3) == "oxford_iiit_pet:4.0.0/train/3"
    chosen = train.select(np.array([4, 1]))
    assert [chosen.key(i) for i in range(2)] == [train.key(4), train.key(1)]
    both = tf.data.Dataset.range(2).map(chosen.fetch)
    images = [image for image, _ in both.as_numpy_iterator()]
    one, label = train.fetch(tf.constant(4, tf.int64))
    assert images[0] == one.numpy()
    assert images[0] != images[1]
    assert label.dtype == tf.int32
    assert tf.io.decode_image(images[0]).shape == (24, 32, 3)


def test_validation_and_joined_splits(pets_folder):
    opened = open_tfds("oxford_iiit_pet", folder=pets_folder)
    divided = opened.with_validation(0.34)
    assert [len(divided[s]) for s in ("train", "val", "test", "all")] == [4, 2, 4, 10]
    assert len(contents(divided["all"])) == 10


def imagenet_folder(folder: Path, *names: str) -> Path:
    chosen = {name: data for name, data in archives.imagenet().items() if name in names}
    archives.write(chosen, folder / "downloads" / "manual")
    return folder


def test_imagenet(tmp_path, monkeypatch):
    imagenet_folder(tmp_path, *archives.imagenet())
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    opened = imagenet2012.open()
    assert {name: len(part) for name, part in opened.parts.items()} == {"train": 12, "test": 5}
    assert opened.class_names == imagenet1k_classes()[0]
    assert opened.class_descriptions[134] == "crane (bird)"
    assert contents(opened["train"]) == contents_of_tfds(tmp_path, "imagenet2012", "train")
    assert contents(opened["test"]) == contents_of_tfds(tmp_path, "imagenet2012", "validation")
    named = {opened.class_names[label] for label, _ in contents(opened["train"])}
    assert named == set(archives.IMAGENET_WNIDS)
    secret = open_tfds("imagenet2012", folder=tmp_path)
    assert {name: len(part) for name, part in secret.parts.items()} == {"train": 12, "test": 5}
    assert secret.notes == (
        "test: left out, its labels are not public",
        "test: the 5 images of val, as there is no other test split",
    )


def test_imagenet_without_its_archives(tmp_path, monkeypatch):
    imagenet_folder(tmp_path, "ILSVRC2012_img_val.tar")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"cannot be downloaded.* ILSVRC2012_img_train.tar not"):
        imagenet2012.open()
    assert not (tmp_path / "imagenet2012").exists()


def test_other_manual_datasets_give_tfds_instructions(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        open_tfds("imagenet2012", folder=tmp_path, say=lambda text: None)
    assert str(tmp_path / "downloads" / "manual") in caught.value.hint
    assert "ILSVRC2012_img_train.tar" in caught.value.hint


def test_imagenet_classes():
    ids, names = imagenet1k_classes()
    assert len(ids) == len(set(ids)) == len(set(names)) == 1000
    assert list(ids) == sorted(ids)
    assert (ids[0], names[0], ids[999]) == ("n01440764", "tench", "n15075141")


def test_dataset_with_train_only(tmp_path, known):
    flowers = archives.flowers()
    archives.write(flowers, tmp_path / "downloads" / "manual")
    base = archives.FLOWERS_URL.rpartition("/")[0]
    infos = archives.records_of(flowers, base)
    infos[archives.FLOWERS_URL].filename = None  # as in TFDS's older tables
    known("tf_flowers", infos)
    opened = open_tfds("tf_flowers", folder=tmp_path, say=lambda text: None)
    assert {name: len(part) for name, part in opened.parts.items()} == {"train": 18, "test": 2}
    assert opened.notes == ("test: 2 of train's 20 examples, held out by a fixed rule",)
    assert not contents(opened["train"]) & contents(opened["test"])
    again: Splits = open_tfds("tf_flowers", folder=tmp_path)
    assert [again["test"].key(i) for i in range(2)] == [opened["test"].key(i) for i in range(2)]


def test_wrong_archive(tmp_path, known):
    known("oxford_iiit_pet", archives.records_of(PETS, archives.PETS_URL))
    manual = tmp_path / "downloads" / "manual"
    archives.write(PETS | {"images.tar.gz": b"something else"}, manual)
    with pytest.raises(IntegrityError, match=str(manual / "images.tar.gz")):
        open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)


def test_archive_that_is_no_archive(tmp_path, known):
    broken = PETS | {"images.tar.gz": b"something else"}
    known("oxford_iiit_pet", archives.records_of(broken, archives.PETS_URL))
    archives.write(broken, tmp_path / "downloads" / "manual")
    with pytest.raises(IntegrityError, match="an archive is damaged"):
        open_tfds("oxford_iiit_pet", folder=tmp_path, say=lambda text: None)


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownNameError, match="no dataset 'oxford_iit_pet'") as caught:
        open_tfds("oxford_iit_pet", folder=tmp_path)
    assert "tfds:oxford_iiit_pet" in caught.value.hint
    with pytest.raises(UnknownNameError, match=r"9\.9\.9") as caught:
        open_tfds("oxford_iiit_pet:9.9.9", folder=tmp_path)
    assert "4.0.0" in caught.value.hint
    with pytest.raises(UnknownNameError) as caught:
        open_tfds("imagenette/huge", folder=tmp_path)
    assert "full-size-v2" in caught.value.hint
    with pytest.raises(UnknownNameError, match="is not the name"):
        open_tfds("someone:dataset", folder=tmp_path)


def test_datasets_that_cannot_be_classified(tmp_path):
    with pytest.raises(IncompatibleError) as caught:
        open_tfds("celeb_a", folder=tmp_path)
    assert "attributes (FeaturesDict)" in caught.value.hint


def test_other_file_formats(tmp_path, known):
    known("oxford_iiit_pet", archives.records_of(PETS, archives.PETS_URL))
    archives.write(PETS, tmp_path / "downloads" / "manual")
    builder = tfds.builder("oxford_iiit_pet", data_dir=tmp_path, file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "downloads" / "manual")
    builder.download_and_prepare(download_config=config)
    with pytest.raises(IncompatibleError, match="array_record files"):
        open_tfds("oxford_iiit_pet", folder=tmp_path)


def test_unfinished_folder(tmp_path):
    (tmp_path / "oxford_iiit_pet" / "4.0.0").mkdir(parents=True)
    with pytest.raises(IntegrityError, match="not a complete TFDS dataset"):
        open_tfds("oxford_iiit_pet", folder=tmp_path)


def test_damaged_shard_of_a_dataset(pets_folder, tmp_path):
    for path in (pets_folder / "oxford_iiit_pet").rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(pets_folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    [shard] = (tmp_path / "oxford_iiit_pet" / "4.0.0").glob("*-test.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=shard.name):
        open_tfds("oxford_iiit_pet", folder=tmp_path)
