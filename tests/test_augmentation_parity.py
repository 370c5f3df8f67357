"""The policies' tables, mixing and erasing against timm's, and TrivialAugment's as published."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from peers import import_timm
from rezoo.data.augmentation import tables
from rezoo.data.augmentation.erasing import random_erasing
from rezoo.data.augmentation.mixing import mixing

timm = import_timm()
torch = pytest.importorskip("torch")
auto_augment = pytest.importorskip("timm.data.auto_augment")
mixup = pytest.importorskip("timm.data.mixup")
erasing = pytest.importorskip("timm.data.random_erasing")

pytestmark = pytest.mark.ci

SIDES = {"height": 180, "width": 240}
FILL = (124, 116, 104)
OTHER_NAMES = {"TranslateX": "TranslateXRel", "TranslateY": "TranslateYRel"}
INCREASING = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")


def magnitude(entry, level, sign=1.0):
    side = SIDES["height" if entry.vertical else "width"]
    return float(entry.magnitude(*(tf.constant(v, tf.float64) for v in (level, sign, side))))


def timms(entry, increasing):
    """Return the name that timm has for an operation."""
    name = OTHER_NAMES.get(entry.name, entry.name)
    return f"{name}Increasing" if increasing and name in INCREASING else name


def timms_set(increasing):
    fill = tf.constant(FILL, tf.uint8)
    return tables.timm_rand_augment(increasing=increasing, fill=fill)


@pytest.mark.parametrize("increasing", [False, True])
def test_rand_augment_has_timms_operations(increasing):
    ours = [timms(entry, increasing) for entry in timms_set(increasing)]
    assert sorted(ours) == sorted(auto_augment.rand_augment_choices("", increasing))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("increasing", [False, True])
def test_levels_mean_what_they_mean_in_timm(monkeypatch, increasing, sign):
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: sign * value)
    for entry in timms_set(increasing):
        argument = auto_augment.LEVEL_TO_ARG[timms(entry, increasing)]
        if argument is None:
            continue
        side = SIDES["height" if entry.vertical else "width"]
        relative = side if entry.name.startswith("Translate") else 1
        for level in np.linspace(0, 10, 81):
            wanted = argument(level, {})[0] * relative
            assert magnitude(entry, level, sign) == pytest.approx(wanted, abs=1e-9), entry.name


@pytest.mark.parametrize("increasing", [False, True])
def test_operations_give_timms_images(monkeypatch, increasing):
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value: -value)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIDES["height"], : SIDES["width"]]
    ramp = np.stack([rows, columns, rows + columns], -1) % 200
    image = (ramp + rng.integers(0, 40, ramp.shape)).astype(np.uint8)
    for entry in timms_set(increasing):
        name = timms(entry, increasing)
        for level in (2.6, 7.3):
            argument = auto_augment.LEVEL_TO_ARG[name]
            arguments = argument(level, {}) if argument else ()
            how = {"resample": Image.Resampling.BILINEAR, "fillcolor": FILL}
            picture = auto_augment.NAME_TO_OP[name](Image.fromarray(image), *arguments, **how)
            numbers = (tf.constant(v, tf.float64) for v in (level, -1.0))
            ours = entry(tf.constant(image), *numbers).numpy().astype(int)
            apart = np.abs(ours - np.asarray(picture)).max(-1)
            if entry.name in MOVING:
                # but for the line where the image ends
                assert np.mean(apart > 1) < 0.012, (name, np.mean(apart > 1))
                assert np.mean(apart > 0) < 0.04, (name, np.mean(apart > 0))
            else:
                assert apart.max() == 0, name


def test_trivial_augment_has_the_published_table():
    """The wide set of arXiv:2103.10158, as torchvision has it: 31 levels from `first` to `last`."""
    steps = np.linspace(0, 1, 31)
    signed = {"ShearX": 0.99, "ShearY": 0.99, "Rotate": 135.0}
    wanted = {name: last * steps for name, last in signed.items()}
    wanted |= {name: np.trunc(32.0 * steps) for name in ("TranslateX", "TranslateY")}
    enhancing = ("Brightness", "Color", "Contrast", "Sharpness")
    wanted |= dict.fromkeys(enhancing, 0.99 * steps)
    entries = {entry.name: entry for entry in tables.trivial_augment_wide()}
    constant = {"Identity", "AutoContrast", "Equalize"}
    assert set(entries) == set(wanted) | constant | {"Posterize", "Solarize"}
    for sign in (-1.0, 1.0):
        for name, values in wanted.items():
            found = [magnitude(entries[name], level, sign) for level in range(31)]
            start = 1.0 if name in enhancing else 0.0
            np.testing.assert_allclose(found, start + sign * values, atol=1e-9)
        bits = [magnitude(entries["Posterize"], level, sign) for level in range(31)]
        np.testing.assert_array_equal(bits, 8 - np.round(np.arange(31) / (30 / 6)))
        thresholds = [magnitude(entries["Solarize"], level, sign) for level in range(31)]
        np.testing.assert_allclose(thresholds, np.linspace(255, 0, 31), atol=1e-9)


def seeds_of(count):
    return tf.stack([tf.fill([count], np.int64(3)), tf.range(0, count, 1, tf.int64)], 1)


def drawn(function, count):
    run = tf.function(
        lambda seeds: tf.map_fn(function, seeds, fn_output_signature=tf.float32), autograph=False
    )
    return run(seeds_of(count)).numpy()


def apart(ours, theirs):
    """Return the largest distance between two distribution functions (Kolmogorov, Smirnov)."""
    at = np.sort(np.concatenate([ours, theirs]))
    below = [np.searchsorted(np.sort(v), at, "right") / len(v) for v in (ours, theirs)]
    return np.abs(below[0] - below[1]).max()


@pytest.mark.parametrize("alphas", [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_shares_are_distributed_as_timms(alphas):
    count, side = 3000, 32
    images, targets = tf.zeros((2, side, side, 1), tf.uint8), tf.eye(2)
    transform = mixing(*alphas)
    ours = drawn(lambda seed: transform(images, targets, seed)[1][0, 0], count)
    np.random.seed(0)
    peer = mixup.Mixup(*alphas, prob=1.0, switch_prob=0.5)
    theirs = np.empty(count)
    for k in range(count):
        share, cut = peer._params_per_batch()
        if cut:
            _, share = mixup.cutmix_bbox_and_lam((2, 1, side, side), share)
        theirs[k] = share
    # two such samples of one distribution are farther apart in 1 of 1000 cases
    assert apart(ours, theirs) < 1.95 * np.sqrt(2 / count)


def test_erased_rectangles_are_distributed_as_timms():
    count, shape = 4000, (48, 56)
    transform = random_erasing(0.5, fill=(0,))
    white = tf.fill((*shape, 1), np.uint8(255))

    def sides(seed):
        blank = tf.cast(transform(white, seed)[..., 0] == 0, tf.float32)
        return tf.stack([tf.reduce_sum(tf.reduce_max(blank, axis)) for axis in (1, 0)])

    ours = drawn(sides, count)
    import random

    random.seed(0)
    bounds = {"min_area": 0.02, "max_area": 0.33, "min_aspect": 0.3, "max_aspect": 3.3}
    peer = erasing.RandomErasing(probability=0.5, mode="const", device="cpu", **bounds)
    images = [peer(torch.ones(1, *shape))[0] == 0 for _ in range(count)]
    theirs = np.array([[int(b.any(axis).sum()) for axis in (1, 0)] for b in images])
    for a, b in ((ours[:, 0], theirs[:, 0]), (ours[:, 1], theirs[:, 1])):
        assert apart(a, b) < 1.95 * np.sqrt(2 / count)
    assert apart(ours.prod(1), theirs.prod(1)) < 1.95 * np.sqrt(2 / count)
