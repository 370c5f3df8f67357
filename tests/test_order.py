"""What each batch holds: functions of the seed, the epoch and the step, and of nothing else."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow as tf

from rezoo.data import pipeline, splits
from rezoo.data.examples import Examples
from rezoo.data.image_sources import ArraySource
from rezoo.data.order import epoch_indices
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

COUNT, CLASSES, BATCH = 50, 5, 8
SMALL = Preprocessing(input_size=(3, 8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Recipe(name="test", epochs=3, batch_size=BATCH, seed=3)
FULL = dataclasses.replace(
    PLAIN,
    random_erase=0.3,
    mixup_alpha=0.2,
    cutmix_alpha=1.0,
    repeated_augmentation=2,
)
RECIPES = pytest.mark.parametrize("recipe", [PLAIN, FULL], ids=["plain", "full"])


@pytest.fixture(scope="module")
def examples() -> Examples:
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 12, 10, 3), np.uint8)
    return Examples(ArraySource(images, np.arange(COUNT) % CLASSES, [str(i) for i in range(COUNT)]))


def batches(examples, recipe, **where):
    stream = pipeline.train_batches(examples, SMALL, recipe, classes=CLASSES, **where)
    return list(stream.as_numpy_iterator())


def hashes(drawn):
    return [
        hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()
        for images, labels in drawn
        for image, label in zip(images, labels, strict=True)
    ]


@pytest.fixture(scope="module")
def whole(examples):
    return {recipe: hashes(batches(examples, recipe)) for recipe in (PLAIN, FULL)}


@RECIPES
def test_no_example_is_the_same_twice(whole, recipe):
    assert len(whole[recipe]) == 3 * (COUNT // BATCH) * BATCH
    assert len(set(whole[recipe])) >= len(whole[recipe]) - 1  # pictures of 12x10 have few crops


@RECIPES
@pytest.mark.parametrize(
    ("epoch", "step"),
    [*(pytest.param(*at, marks=pytest.mark.slow) for at in ((0, 1), (1, 0), (2, 5))), (1, 4)],
)
def test_a_start_in_the_middle(examples, whole, recipe, epoch, step):
    rest = hashes(batches(examples, recipe, first_epoch=epoch, first_step=step))
    assert rest == whole[recipe][(epoch * (COUNT // BATCH) + step) * BATCH :]


@RECIPES
@pytest.mark.parametrize("hosts", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.ci
def test_hosts_together_have_the_batches(examples, whole, recipe, hosts):
    parts = [batches(examples, recipe, host=h, hosts=hosts, first_epoch=1) for h in range(hosts)]
    together = [
        (np.concatenate([x for x, _ in step]), np.concatenate([y for _, y in step]))
        for step in zip(*parts, strict=True)
    ]
    assert hashes(together) == whole[recipe][COUNT // BATCH * BATCH :]


@RECIPES
@pytest.mark.parametrize("parts", [pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.ci
def test_micro_batches_together_are_the_batches(examples, whole, recipe, parts):
    recipe_in_parts = dataclasses.replace(recipe, accumulation=parts)
    drawn = batches(examples, recipe_in_parts)
    assert len(drawn) == 3 * (COUNT // BATCH) * parts
    assert {len(images) for images, _ in drawn} == {recipe_in_parts.micro_batch_size}
    assert hashes(drawn) == whole[recipe]
    middle = batches(examples, recipe_in_parts, first_epoch=1, first_step=2, first_part=1)
    position = (COUNT // BATCH + 2) * BATCH + BATCH // parts
    assert hashes(middle) == whole[recipe][position:]


@pytest.mark.ci
@RECIPES
def test_micro_batches_of_hosts(examples, whole, recipe):
    recipe_in_parts = dataclasses.replace(recipe, accumulation=2)
    parts = [batches(examples, recipe_in_parts, host=h, hosts=2) for h in range(2)]
    first = [host[micro] for micro in range(2) for host in parts]
    assert hashes(first) == whole[recipe][:BATCH]


@RECIPES
@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.ci), 4])
def test_parallelism(examples, whole, recipe, threads):
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.autotune.enabled = threads != 1
    stream = pipeline.train_batches(examples, SMALL, recipe, classes=CLASSES)
    assert hashes(stream.with_options(options).as_numpy_iterator()) == whole[recipe]


@pytest.mark.parametrize(("recipe", "hosts"), [(PLAIN, 3), (FULL, 8)])
def test_batches_that_cannot_be_divided(examples, recipe, hosts):
    with pytest.raises(SpecError, match=f"cannot be divided between {hosts} hosts"):
        batches(examples, recipe, hosts=hosts)


def test_shares_that_cannot_be_divided(examples):
    recipe = dataclasses.replace(PLAIN, accumulation=4)
    with pytest.raises(SpecError, match="between 4 hosts in 4 parts each"):
        batches(examples, recipe, hosts=4)
    with pytest.raises(SpecError, match="batch_size = 8 is not a multiple of accumulation = 3"):
        dataclasses.replace(PLAIN, accumulation=3)
    with pytest.raises(SpecError, match="in 8 micro-batches: an odd number each"):
        dataclasses.replace(FULL, accumulation=8)


@pytest.mark.ci
def test_mixed_targets(examples):
    recipe = dataclasses.replace(PLAIN, mixup_alpha=1.0)
    for images, targets in batches(examples, recipe):
        assert targets.shape == (BATCH, CLASSES)
        np.testing.assert_allclose(targets.sum(1), 1.0, rtol=1e-6)
        assert images.shape == (BATCH, 8, 8, 3)
    plain = batches(examples, PLAIN)[0]
    mixed = batches(examples, recipe)[0]
    shares = mixed[1][np.arange(BATCH), plain[1]]
    partners = plain[0][np.arange(BATCH) ^ 1]
    different = plain[1] != plain[1][np.arange(BATCH) ^ 1]
    share = shares[different][0]
    wanted = share * plain[0] + (1 - share) * partners
    assert mixed[0].dtype == np.uint8
    assert np.abs(mixed[0] - wanted).max() <= 0.5001  # to the nearest level


def test_mixing_needs_the_number_of_classes(examples):
    recipe = dataclasses.replace(PLAIN, cutmix_alpha=1.0)
    with pytest.raises(SpecError, match="number of classes"):
        pipeline.train_batches(examples, SMALL, recipe)


def test_repeated_augmentation():
    recipe = dataclasses.replace(PLAIN, repeated_augmentation=4)
    indices = epoch_indices(COUNT, recipe, 0).reshape(-1, BATCH)
    assert len(indices) == COUNT // BATCH
    assert all((np.unique(step, return_counts=True)[1] == 4).all() for step in indices)
    assert len(np.unique(indices)) == len(indices) * BATCH // 4
    assert all((step != step[np.arange(BATCH) ^ 1]).all() for step in indices)


def test_repetitions_are_augmented_differently(examples, whole):
    recipe = dataclasses.replace(PLAIN, repeated_augmentation=2)
    images, labels = batches(examples, recipe)[0]
    assert (labels[:4] == labels[4:]).all()
    assert all((a != b).any() for a, b in zip(images[:4], images[4:], strict=True))


def test_repetition_keys():
    keys = splits.repetition_keys(12345, np.arange(1000))
    assert keys[0] == 12345
    assert len(np.unique(keys)) == 1000
    assert (keys >= 0).all()


def test_repetitions_need_not_divide_the_batch():
    thrice = dataclasses.replace(PLAIN, repeated_augmentation=3)
    for batch in epoch_indices(COUNT, thrice, 0).reshape(-1, 8):
        assert sorted(np.unique(batch, return_counts=True)[1]) == [2, 3, 3]


def test_those_behind_an_unreadable_one_move_up():
    plain = epoch_indices(COUNT, PLAIN, 0)
    bad = int(plain[10])
    without = epoch_indices(COUNT, PLAIN, 0, without={bad})
    assert (without[:10] == plain[:10]).all()
    assert (without[10:-1] == plain[11:]).all()
    assert bad not in without
    few = epoch_indices(COUNT, PLAIN, 0, without=set(range(45)))
    assert len(few) == len(plain)
    assert set(few) == set(range(45, COUNT))
