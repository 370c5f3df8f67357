"""Splits in memory: what is kept, and that it changes no pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rezoo import load_dataset
from rezoo.data import cache, pipeline
from rezoo.data.cache import KeptFiles, MemorySource, in_memory
from rezoo.data.examples import Examples
from rezoo.data.image_sources import FileSource
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.utils import device

SMALL = Preprocessing(input_size=(3, 24, 24))
RECIPE = Recipe(name="test", epochs=2, batch_size=4)


def files(root, sizes, kind="PNG") -> Examples:
    random = np.random.default_rng(0)
    for number, (width, height) in enumerate(sizes):
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        (root / f"{number}").write_bytes(stream.getvalue())
    names = [f"{number}" for number in range(len(sizes))]
    return Examples(FileSource(root, names, np.arange(len(sizes)).astype(np.int32)))


def sizes_of(examples: Examples) -> int:
    return sum(path.stat().st_size for path in examples.files())


@pytest.mark.parametrize(
    ("sizes", "kind", "said"),
    [
        ([(40, 30), (64, 64), (30, 41), (9, 9)], "PNG", "decoded in memory"),
        pytest.param(
            *([(40, 30), (256, 256), (30, 41), (9, 9)], "JPEG", "decoded in memory"),
            marks=pytest.mark.slow,
        ),
        ([(40, 30), (300, 256), (30, 41), (9, 9)], "JPEG", "files kept once read"),
    ],
)
@pytest.mark.ci
def test_pixels_are_the_same(tmp_path, sizes, kind, said):
    examples = files(tmp_path, sizes, kind)
    stored, words = in_memory(examples, channels=3, free=10**8)
    assert words.startswith(said)
    assert isinstance(stored.source, KeptFiles if "kept" in said else MemorySource)
    for build in (
        lambda e: pipeline.train_batches(e, SMALL, RECIPE),
        lambda e: pipeline.test_batches(e, SMALL, batch_size=3),
    ):
        for one, other in zip(build(examples), build(stored), strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert stored.key(2) == examples.key(2)
    np.testing.assert_array_equal(stored.labels(), examples.labels())
    assert len(stored.select(np.array([2, 0]))) == 2


def test_what_does_not_fit_is_read_from_the_disk(tmp_path):
    examples = files(tmp_path, [(60, 60)] * 4, "JPEG")
    size = sizes_of(examples)
    kept, words = in_memory(examples, channels=3, free=4 * size - 4)
    assert kept is examples
    assert words.startswith("read from the disk each time")
    kept, words = in_memory(examples, channels=3, free=4 * size)
    assert words.startswith("files kept once read")  # the pixels would be too much
    content, _ = kept.source.fetch(np.int64(1))
    (tmp_path / "1").unlink()
    assert kept.source.fetch(np.int64(1))[0] == content  # read once


@pytest.mark.ci
def test_many_files_are_kept_as_batches_read_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_AT_ONCE", 3)
    examples = files(tmp_path, [(20, 20)] * 4)
    kept, words = in_memory(examples, channels=3, free=4 * sizes_of(examples))
    assert words.startswith("files kept once read")
    assert not kept.source._kept
    assert sizes_of(examples) < cache.bytes_to_come(kept) < sizes_of(examples) + 1000
    list(pipeline.test_batches(kept, SMALL, batch_size=2))
    assert sorted(kept.source._kept) == [0, 1, 2, 3]
    small = KeptFiles(tmp_path, ["0", "1"], np.zeros(2, np.int32), 1)
    assert small.read(0) == (tmp_path / "0").read_bytes()
    assert not small._kept  # no more than is allowed


def test_one_channel(tmp_path):
    examples = files(tmp_path, [(20, 20)] * 2)
    stored, _ = in_memory(examples, channels=1, free=10**8)
    assert stored.fetch(np.int64(1))[0].shape == (20, 20, 1)


def test_a_file_that_is_gone_is_met_in_the_run(tmp_path):
    examples = files(tmp_path, [(20, 20)] * 3)
    (tmp_path / "1").unlink()
    kept, words = in_memory(examples, channels=3, free=10**8)
    assert words.startswith("files kept once read")
    assert len(kept) == 3


def test_paths_are_kept_as_they_are():
    names = ["a/1.jpg", "", "é.png", b"caf\xe9".decode("utf-8", "surrogateescape")]
    kept = FileSource(Path(), names, np.zeros(4, np.int32)).paths
    assert list(kept) == names
    assert [kept[-1], kept[1:3], len(kept)] == [names[-1], names[1:3], 4]
    with pytest.raises(IndexError):
        kept[4]


def test_zeros_at_the_end_of_a_file_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"ab\0\0")
    source = FileSource(tmp_path, ["a"], np.zeros(1, np.int32))
    stream = tf.data.Dataset.range(1).map(lambda i: source.fetch(i)[0])
    assert [content.numpy() for content in stream] == [b"ab\0\0"]


def test_arrays_are_in_memory_already():
    digits = load_dataset("digits").examples("train")
    assert in_memory(digits, channels=1) == (digits, "")


def test_free_memory():
    assert 10**8 < device.free_host_bytes() < 10**13


def test_nothing_is_kept_where_the_system_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "free_host_bytes", lambda: 0)
    examples = files(tmp_path, [(20, 20)])
    assert in_memory(examples, channels=3)[0] is examples
