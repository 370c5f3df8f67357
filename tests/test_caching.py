"""Splits in memory: what is kept, and that it changes no pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rezoo import load_dataset
from rezoo.data import pipeline
from rezoo.data.cache import MemorySource, in_memory
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


@pytest.mark.parametrize(
    ("sizes", "kind", "said"),
    [
        ([(40, 30), (64, 64), (30, 41), (9, 9)], "PNG", "decoded in memory"),
        ([(40, 30), (256, 256), (30, 41), (9, 9)], "JPEG", "decoded in memory"),
        ([(40, 30), (300, 256), (30, 41), (9, 9)], "JPEG", "files in memory"),
    ],
)
@pytest.mark.ci
def test_pixels_are_the_same(tmp_path, sizes, kind, said):
    examples = files(tmp_path, sizes, kind)
    stored, words = in_memory(examples, channels=3, free=10**8)
    assert words.startswith(said)
    assert isinstance(stored.source, MemorySource)
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
    examples = files(tmp_path, [(60, 60)] * 4)
    size = sum((tmp_path / name).stat().st_size for name in examples.source.paths)
    kept, words = in_memory(examples, channels=3, free=4 * size - 4)
    assert kept is examples
    assert words.startswith("read from the disk each time")
    kept, words = in_memory(examples, channels=3, free=4 * size)
    assert words.startswith("files in memory")  # the pixels besides would be too much


def test_one_channel(tmp_path):
    examples = files(tmp_path, [(20, 20)] * 2)
    stored, _ = in_memory(examples, channels=1, free=10**8)
    assert stored.fetch(np.int64(1))[0].shape == (20, 20, 1)


def test_a_file_that_is_gone(tmp_path):
    examples = files(tmp_path, [(20, 20)] * 3)
    (tmp_path / "1").unlink()
    kept, words = in_memory(examples, channels=3, free=10**8)
    assert kept is examples
    assert "cannot be read" in words


def test_arrays_are_in_memory_already():
    digits = load_dataset("digits").examples("train")
    assert in_memory(digits, channels=1) == (digits, "")


def test_free_memory():
    assert 10**8 < device.free_host_bytes() < 10**13


def test_nothing_is_kept_where_the_system_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "free_host_bytes", lambda: 0)
    examples = files(tmp_path, [(20, 20)])
    assert in_memory(examples, channels=3)[0] is examples
