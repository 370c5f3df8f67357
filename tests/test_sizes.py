"""The size of training images in each epoch: the rule, and what the pipeline gives."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import numpy as np
import pytest

import rezoo
from rezoo.data import pipeline
from rezoo.data.examples import Examples
from rezoo.data.image_sources import ArraySource
from rezoo.errors import Interrupted, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import Segment, has_one_size, segments, training_size
from rezoo.specs import Preprocessing
from rezoo.training.reporters import Reporter
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

COUNT, BATCH = 20, 4
SMALL = Preprocessing(input_size=(3, 64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
GROWING = Recipe(
    name="test",
    epochs=6,
    batch_size=BATCH,
    image_size=64,
    train_size=96,
    start_size=32,
    grow_epochs=(1.0, 4.0),
)


@pytest.mark.parametrize(
    ("sizes", "ramp", "epochs"), [((160, 192), (65, 76), 88), ((128, 224), (0, 13), 16)]
)
def test_the_rule_is_that_of_ffcv(sizes, ramp, epochs):
    recipe = Recipe(
        name="t", epochs=epochs, start_size=sizes[0], train_size=sizes[1], grow_epochs=ramp
    )
    for epoch in range(epochs):
        wanted = int(np.round(np.interp([epoch], ramp, sizes)[0] / 32)) * 32
        assert training_size(recipe, epoch) == wanted


def test_small_images_have_exact_ends():
    recipe = Recipe(name="t", epochs=9, start_size=24, image_size=72, grow_epochs=(1.0, 7.0))
    sizes = [training_size(recipe, epoch) for epoch in range(9)]
    assert sizes == [24, 24, 32, 32, 64, 64, 64, 72, 72]


def test_without_sizes_the_network_decides():
    plain = Recipe(name="t", epochs=3)
    assert segments(plain) == [Segment(0, 3, None)]
    with pytest.raises(SpecError, match="has no image_size"):
        training_size(plain, 0)
    sized = dataclasses.replace(plain, image_size=64)
    assert training_size(sized, 2) == 64
    assert has_one_size(sized)
    assert not has_one_size(dataclasses.replace(sized, train_size=48))
    assert not has_one_size(GROWING)


def test_segments():
    assert segments(GROWING) == [Segment(0, 2, 32), Segment(2, 4, 64), Segment(4, 6, 96)]
    assert segments(GROWING, 3) == [Segment(3, 4, 64), Segment(4, 6, 96)]
    assert segments(GROWING, 6) == [Segment(6, 6, 96)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"start_size": 128}, "start_size = 128 is larger than train_size = 96"),
        ({"start_size": 80, "train_size": None}, "larger than image_size = 64"),
        ({"grow_epochs": (0.0, 0.0)}, "but no grow_epochs"),
        ({"start_size": None}, "without start_size"),
        ({"grow_epochs": (3.0, 2.0)}, "first <= last"),
    ],
)
def test_sizes_that_do_not_fit(changes, text):
    with pytest.raises(SpecError, match=text):
        dataclasses.replace(GROWING, **changes)


@pytest.fixture(scope="module")
def examples() -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 40, 30, 3), np.uint8)
    return Examples(ArraySource(images, np.arange(COUNT) % 3, [str(i) for i in range(COUNT)]))


def drawn(examples, recipe, preprocessing=SMALL, **where):
    stream = pipeline.train_batches(examples, preprocessing, recipe, classes=3, **where)
    return list(stream.as_numpy_iterator())


@pytest.mark.parametrize("parts", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.ci
def test_images_grow_from_one_epoch_to_the_next(examples, parts):
    recipe = dataclasses.replace(GROWING, accumulation=parts)
    found = drawn(examples, recipe)
    steps = COUNT // BATCH * parts
    sides = [images.shape[1:3] for images, _ in found]
    assert sides == [(s, s) for s in (32, 32, 64, 64, 96, 96) for _ in range(steps)]
    for epoch, size in ((0, 32), (3, 64), (5, 96)):
        # as a run of this size alone has them
        alone = Recipe(name="t", epochs=epoch + 1, batch_size=BATCH, accumulation=parts)
        wanted = drawn(examples, alone, SMALL.at(size), first_epoch=epoch)
        for (images, labels), (others, theirs) in zip(found[epoch * steps :], wanted, strict=False):
            np.testing.assert_array_equal(images, others)
            np.testing.assert_array_equal(labels, theirs)


@pytest.mark.parametrize(
    ("epoch", "step"),
    [(3, 2), *(pytest.param(*at, marks=pytest.mark.slow) for at in ((0, 3), (1, 4), (5, 0)))],
)
@pytest.mark.ci
def test_a_start_in_the_middle(examples, epoch, step):
    whole = drawn(examples, GROWING)[epoch * (COUNT // BATCH) + step :]
    rest = drawn(examples, GROWING, first_epoch=epoch, first_step=step)
    assert len(rest) == len(whole)
    for (images, labels), (others, theirs) in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, theirs)


def test_chosen_batches_have_the_size_of_their_epoch(examples):
    (images, labels), *_ = pipeline.chosen_batches(
        examples, SMALL, GROWING, epoch=3, steps=[1], classes=3
    ).as_numpy_iterator()
    wanted, theirs = drawn(examples, GROWING)[3 * (COUNT // BATCH) + 1]
    np.testing.assert_array_equal(images, wanted)
    np.testing.assert_array_equal(labels, theirs)


def test_test_images_keep_the_size_of_the_network(examples):
    images, _ = next(iter(pipeline.test_batches(examples, SMALL, batch_size=2)))
    assert images.shape == (2, 64, 64, 3)


class StopAt(Reporter):
    interval_s = 0.0

    def step(self, epoch, step, figures):
        if (epoch, step) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_run_whose_images_grow_resumes_to_the_same_bits(tmp_path):
    changes = {
        "image_size": 16,
        "train_size": 24,
        "start_size": 8,
        "grow_epochs": [0, 2],
        "epochs": 3,
        "batch_size": 256,
        "accumulation": 2,
        "mixup_alpha": 0.2,
    }
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = rezoo.train(NETWORK, "digits", changes=changes, output=whole)
    assert rezoo.load(str(run.folder)).rezoo_config.preprocessing.size == (16, 16)
    with pytest.raises(Interrupted):
        rezoo.train(NETWORK, "digits", changes=changes, output=parts, reporter=StopAt())
    rezoo.train(NETWORK, "digits", changes=changes, output=parts, resume=True)
    name = "model.safetensors"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.ci
def test_the_sheet_names_the_sizes(photographs, tmp_path, call):
    root = photographs({"a": 12, "b": 12})
    settings = ("image_size=48", "start_size=32", "grow_epochs=[0, 1]", "batch_size=8", "epochs=3")
    options = [word for setting in settings for word in ("--set", setting)]
    answer = call(
        "data", "show", f"folder:{root}", *options, "--output", tmp_path / "a.png", "--json"
    )
    assert answer.rc == 0, answer.err
    wanted = "as stored, epoch 0 (32 px), epoch 1 (48 px), epoch 2 (48 px)"
    assert json.loads(answer.out)["columns"] == wanted
