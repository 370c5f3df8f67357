"""Random changes of training images: Pillow's pixels, the papers' ranges, and only the seed."""

import hashlib
import math
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from rezoo.data.augmentation import colour, geometry, operations, tables
from rezoo.data.augmentation.auto_augment import policy_transform
from rezoo.data.augmentation.colour import colour_jitter
from rezoo.data.augmentation.distributions import beta, dirichlet
from rezoo.data.augmentation.erasing import random_erasing
from rezoo.data.augmentation.mixing import mixing
from rezoo.errors import SpecError
from rezoo.recipes.policies import Policy, parse_policy

MEAN = (124, 116, 104)
TEXTS = {1: ("ta_wide", "augmix-w1-d1"), 3: ("ta_wide", "ra", "rand-m7-mstd0.5-inc1", "augmix")}
FACTORS = (0, 0.01, 0.37, 0.9, 1, 1.1, 1.5, 1.99)


def pictures(channels):
    """Return noise, a narrow range, one level, a smooth ramp and a tiny image."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :61]
    ramp = np.stack([rows + columns * (k + 1) for k in range(channels)], -1) % 256
    yield rng.integers(0, 256, (37, 53, channels), np.uint8)
    yield rng.integers(100, 130, (40, 41, channels), np.uint8)
    yield np.full((20, 30, channels), 77, np.uint8)
    yield ramp.astype(np.uint8)
    yield rng.integers(0, 256, (2, 3, channels), np.uint8)


def pillow(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def same(ours, theirs, image):
    np.testing.assert_array_equal(ours, np.asarray(theirs).reshape(image.shape))


def seeds_of(count, start=0):
    return tf.stack([tf.fill([count], np.int64(5)), tf.range(start, start + count, 1, tf.int64)], 1)


def drawn(function, count):
    """Return what `function(seed)` gives for many seeds, as an array."""
    run = tf.function(
        lambda seeds: tf.map_fn(function, seeds, fn_output_signature=tf.float64), autograph=False
    )
    return run(seeds_of(count)).numpy()


# --- the words of the recipe key


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("ta_wide", Policy(kind="ta_wide")),
        ("ra", Policy(kind="ra", num_layers=2, magnitude=9)),
        ("rand", Policy(kind="rand", num_layers=2, magnitude=10, probability=0.5)),
        (
            "rand-m7-mstd0.5-inc1",
            Policy(
                kind="rand",
                num_layers=2,
                magnitude=7,
                magnitude_std=0.5,
                probability=0.5,
                increasing=True,
            ),
        ),
        (
            "rand-n3-m20-mmax30-mstd101-p0.25-inc0",
            Policy(
                kind="rand",
                num_layers=3,
                magnitude=20,
                magnitude_max=30,
                magnitude_std=math.inf,
                probability=0.25,
            ),
        ),
        (
            "augmix",
            Policy(kind="augmix", magnitude=3, magnitude_std=math.inf, width=3, alpha=1.0),
        ),
        (
            "augmix-m5-w4-d2-a0.5-mstd1",
            Policy(kind="augmix", magnitude=5, magnitude_std=1.0, width=4, depth=2, alpha=0.5),
        ),
    ],
)
def test_a_policy_is_read(text, policy):
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no policy ''"),
        ("ta-wide", "no policy 'ta'"),
        ("rand-x3", "cannot read 'x3'; rand takes m (0 to 100), n"),
        ("rand-m7-tweights", "cannot read 'tweights'"),
        ("rand-m7-", "cannot read ''"),
        ("rand-m7-m8", "'m8' sets a key that is set already"),
        ("rand-m7.5", "m must be an integer"),
        ("rand-inc2", "inc must be 0 to 1"),
        ("rand-p0", "p must be 0.001 to 1"),
        ("rand-m11", "m11 is above mmax10"),
        ("augmix-b1", "cannot read 'b1'; augmix takes"),
        ("augmix-d0", "d must be 1 to 10"),
        ("ra-m9", "ra takes no keys"),
        (f"rand-m{'9' * 5000}", "cannot read 'm999"),
        ("rand-m\u0667", "cannot read 'm\u0667'"),
    ],
)
def test_a_wrong_policy_is_explained(text, words):
    with pytest.raises(SpecError) as caught:
        parse_policy(text)
    assert words in str(caught.value)
    assert f"recipe key auto_augment = {text!r}" in str(caught.value)
    assert "allowed is ta_wide, ra," in str(caught.value)


def test_a_policy_has_near_names():
    with pytest.raises(SpecError) as caught:
        parse_policy("ta_wise")
    assert caught.value.hint == "Did you mean ta_wide?"


# --- operations


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_levels_are_pillows(channels):
    for image in pictures(channels):
        picture = pillow(image)
        same(operations.invert(image), ImageOps.invert(picture), image)
        same(operations.autocontrast(image), ImageOps.autocontrast(picture), image)
        same(operations.equalize(image), ImageOps.equalize(picture), image)
        for bits in range(1, 9):
            same(operations.posterize(image, bits), ImageOps.posterize(picture, bits), image)
        for threshold in (0, 0.5, 1, 8.5, 128, 254.5, 255, 256):
            ours = operations.solarize(image, threshold)
            same(ours, ImageOps.solarize(picture, threshold), image)
        for added in (0, 33.9, 110, 128):
            table = [min(255, i + int(added)) if i < 128 else i for i in range(256)]
            theirs = picture.point(table * channels)
            same(operations.solarize_add(image, added), theirs, image)
        assert not operations.posterize(image, 0).numpy().any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (operations.brightness, ImageEnhance.Brightness),
        (operations.contrast, ImageEnhance.Contrast),
        (operations.saturation, ImageEnhance.Color),
        (operations.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancers_are_pillows(ours, theirs, channels):
    for image in pictures(channels):
        for factor in FACTORS:
            same(ours(image, factor), theirs(pillow(image)).enhance(factor), image)


def affine(matrix, method, fill, picture):
    kind = Image.Transform.AFFINE
    return picture.transform(picture.size, kind, matrix, resample=method, fillcolor=fill)


def moves(image, fill, method):
    """Yield pairs: our move, and what Pillow makes of an image for it."""
    matrices = (
        (geometry.shear_x, lambda v: (1, v, 0, 0, 1, 0), (-0.99, -0.297, 0, 0.033, 0.2, 0.5)),
        (geometry.shear_y, lambda v: (1, 0, 0, v, 1, 0), (-0.99, -0.297, 0, 0.033, 0.2, 0.5)),
        (geometry.translate_x, lambda v: (1, 0, v, 0, 1, 0), (-32, -7.25, 0, 0.5, 3, 500)),
        (geometry.translate_y, lambda v: (1, 0, 0, 0, 1, v), (-32, -7.25, 0, 0.5, 3, 500)),
    )
    colour_ = fill if image.shape[-1] == 3 else fill[0]
    for move, matrix, values in matrices:
        for value in values:
            yield move, value, partial(affine, matrix(value), method, colour_)
    for degrees in (-135, -30, -11.7, 0, 4.5, 45, 90, 180):
        yield geometry.rotate, degrees, lambda p, d=degrees: p.rotate(d, method, fillcolor=colour_)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.ci), 3])
def test_nearest_neighbours_are_pillows(channels):
    fill = (11, 200, 90)[:channels]
    for image in pictures(channels):
        for move, value, theirs in moves(image, fill, Image.Resampling.NEAREST):
            ours = move(image, value, fill=tf.constant(fill, tf.uint8), bilinear=False)
            same(ours, theirs(pillow(image)), image)


@pytest.mark.ci
@pytest.mark.parametrize("channels", [1, 3])
def test_bilinear_weights_are_pillows_but_where_the_image_ends(channels):
    fill = tf.constant((11, 200, 90)[:channels], tf.uint8)
    black = tf.zeros(channels, tf.uint8)
    for image in list(pictures(channels))[:4]:
        inner = np.zeros_like(image)
        inner[1:-1, 1:-1] = 255
        whole = np.full_like(image, 255)
        for move, value, theirs in moves(
            image, tuple(fill.numpy().tolist()), Image.Resampling.BILINEAR
        ):
            ours = move(image, value, fill=fill, bilinear=True).numpy().astype(int)
            wanted = np.asarray(theirs(pillow(image))).reshape(image.shape)
            inside = move(inner, value, fill=black, bilinear=True).numpy() == 255
            outside = move(whole, value, fill=black, bilinear=True).numpy() == 0
            assert np.abs(ours - wanted)[inside | outside].max(initial=0) <= 1
            # what is left is a line around the image
            height, width = image.shape[:2]
            left = channels * 3 * 2 * (height + width)
            assert np.count_nonzero(~inside & ~outside) <= left


# --- policies


def recording(entries):
    """Return operations that write their place and magnitude instead of changing an image."""

    def record(place):
        def apply(image, magnitude):
            pair = tf.stack([tf.constant(place, tf.float64), tf.cast(magnitude, tf.float64)])
            return tf.zeros_like(image) + pair

        return apply

    return tuple(replace(entry, apply=record(k)) for k, entry in enumerate(entries))


def decisions(monkeypatch, text, function, count=4000):
    """Return the operations of a policy and, per seed, `(place, magnitude)`; -1 for none."""
    entries = getattr(tables, function)
    known = []

    def replaced(**arguments):
        known.extend(entries(**arguments))
        return recording(known)

    monkeypatch.setattr(tables, function, replaced)
    transform = policy_transform(parse_policy(text), fill=(0, 0))
    empty = tf.fill([50, 100, 2], np.float64(-1))
    values = drawn(lambda seed: transform(empty, seed)[0, 0], count)
    return [entry.name for entry in known], values


def evenly(places, count):
    """Whether all places are drawn, each within five standard deviations of its share."""
    drawn_ = np.bincount(places.astype(int), minlength=count)
    share = len(places) / count
    return len(drawn_) == count and np.abs(drawn_ - share).max() < 5 * math.sqrt(share)


SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
ENHANCING = {"Brightness", "Color", "Contrast", "Sharpness"}


@pytest.mark.ci
def test_trivial_augment_reaches_its_ranges(monkeypatch):
    names, values = decisions(monkeypatch, "ta_wide", "trivial_augment_wide", count=8000)
    assert len(names) == 14
    assert evenly(values[:, 0], 14)
    limits = dict.fromkeys(SIGNED, (-0.99, 0.99)) | dict.fromkeys(ENHANCING, (0.01, 1.99))
    limits |= {"TranslateX": (-32, 32), "TranslateY": (-32, 32), "Rotate": (-135, 135)}
    limits |= {"Posterize": (2, 8), "Solarize": (0, 255)}
    for place, name in enumerate(names):
        found = values[values[:, 0] == place, 1]
        if name in limits:
            assert (found.min(), found.max()) == pytest.approx(limits[name])
        if name in SIGNED:
            assert abs(np.mean(found > 0) - 0.5) < 0.1
            assert len(np.unique(np.abs(found.round(6)))) == 31
        if name in ENHANCING:
            assert abs(np.mean(found > 1) - 0.5) < 0.1


def test_rand_augment_has_one_strength(monkeypatch):
    names, values = decisions(monkeypatch, "ra", "rand_augment", count=2000)
    assert evenly(values[:, 0], 14)
    share = 9 / 30
    wanted = {"ShearX": 0.3 * share, "ShearY": 0.3 * share, "Rotate": 9.0}
    wanted |= {
        "TranslateX": int(100 * 150 / 331 * share),
        "TranslateY": int(50 * 150 / 331 * share),
    }
    for place, name in enumerate(names):
        found = np.unique(values[values[:, 0] == place, 1].round(6))
        if name in wanted:
            assert found == pytest.approx([-wanted[name], wanted[name]])
        elif name in ENHANCING:
            assert found == pytest.approx([1 - 0.9 * share, 1 + 0.9 * share])
        elif name == "Posterize":
            assert found == 7
        elif name == "Solarize":
            assert found == pytest.approx(178.5)


def test_timms_rand_augment_draws_around_its_magnitude(monkeypatch):
    names, values = decisions(monkeypatch, "rand-m7-n1-mstd0.5-inc1-p0.4", "timm_rand_augment")
    assert abs(np.mean(values[:, 0] >= 0) - 0.4) < 0.03
    applied = values[values[:, 0] >= 0]
    assert evenly(applied[:, 0], 15)
    rotations = applied[applied[:, 0] == names.index("Rotate"), 1] / 3
    assert np.mean(np.abs(rotations)) == pytest.approx(7, abs=0.2)
    assert np.std(np.abs(rotations)) == pytest.approx(0.5, abs=0.12)
    assert 0.3 < np.mean(rotations > 0) < 0.7


@pytest.mark.ci
@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("rand-m9-n1-mstd3-p1", 0.0, 10.0),
        ("rand-m9-n1-mstd3-p1-mmax12", 0.0, 12.0),
        ("rand-m4-n1-mstd101-p1", 0.0, 4.0),
    ],
)
def test_timms_levels_are_clipped(monkeypatch, text, low, high):
    names, values = decisions(monkeypatch, text, "timm_rand_augment", count=3000)
    rotations = np.abs(values[values[:, 0] == names.index("Rotate"), 1]) / 3
    assert rotations.min() < low + 2
    assert rotations.max() == pytest.approx(high, abs=0.1)
    assert rotations.max() <= high + 1e-9


def test_aug_mix_has_the_papers_operations():
    entries = {entry.name: entry for entry in tables.aug_mix()}
    assert set(entries) == SIGNED | {"AutoContrast", "Equalize", "Posterize", "Solarize"}

    def at(name, level, sign=1.0):
        values = (tf.constant(v, tf.float64) for v in (level, sign, 224.0))
        return float(entries[name].magnitude(*values))

    assert at("Rotate", 2.9, -1.0) == -8
    assert at("TranslateX", 2.9) == 21
    assert at("ShearY", 2.9, -1.0) == pytest.approx(-0.087)
    assert [at("Posterize", v) for v in (0.1, 2.5, 10)] == [4, 3, 0]
    assert [at("Solarize", v) for v in (0.1, 3, 10)] == [254, 180, 0]


@pytest.mark.ci
def test_aug_mix_weights_chains_of_drawn_depth(monkeypatch):
    """Each operation adds 1: a chain's value is its depth, and the mixture is known."""
    added = tuple(replace(e, apply=lambda image, _: image + 1) for e in tables.aug_mix())
    monkeypatch.setattr(tables, "aug_mix", lambda: added)
    image = tf.zeros((4, 4, 1), tf.uint8)

    def mean_of(text):
        transform = policy_transform(parse_policy(text), fill=(0,))
        return drawn(lambda s: tf.cast(transform(image, s)[0, 0], tf.float64), 1500)

    # the share is evenly spread over 0 to 1 for alpha 1: x 10 is 0 to 10, rounded
    counts = np.bincount(mean_of("augmix-w2-d10").astype(int)[:, 0], minlength=11)
    wanted = np.array([0.5, *[1.0] * 9, 0.5]) * 150
    assert np.abs(counts - wanted).max() < 5 * math.sqrt(150)
    # one chain of depth 1 to 3: round(share * depth) is 0, 1, 2, 3 with 10, 5.5 .. of 18
    counts = np.bincount(mean_of("augmix-w1").astype(int)[:, 0], minlength=4) / 1500
    wanted = np.array([1 / 2 + 1 / 4 + 1 / 6, 1 / 2 + 1 / 2 + 1 / 3, 1 / 4 + 1 / 3, 1 / 6]) / 3
    assert counts == pytest.approx(wanted, abs=0.06)


@pytest.mark.ci
def test_what_is_outside_is_filled():
    white = tf.fill([32, 32, 3], np.uint8(255))
    for kind, colours in (("rand-m10-n1-p1", MEAN), ("ta_wide", (0, 0, 0))):
        transform = policy_transform(parse_policy(kind), fill=MEAN)
        corners = drawn(lambda s, f=transform: tf.cast(f(white, s)[0, 0], tf.float64), 100)
        assert colours in {tuple(corner) for corner in corners}


# --- all of them: the seed alone decides


def transforms(channels):
    mean = MEAN[:channels]
    named = {text: policy_transform(parse_policy(text), fill=mean) for text in TEXTS[channels]}
    return named | {"colour": colour_jitter(0.4), "erasing": random_erasing(0.7, fill=mean)}


@cache
def change_of(channels):
    image = tf.constant(next(pictures(channels)))
    changing = transforms(channels)

    def change(seed):
        return {name: transform(image, seed) for name, transform in changing.items()}

    return tf.function(change, autograph=False)  # traced once for all pipelines


@cache
def pipeline(channels, calls):
    """Return, per transform, what a pipeline gives for twelve seeds."""
    dataset = tf.data.Dataset.from_tensor_slices(seeds_of(12)).map(change_of(channels), calls)
    found = list(dataset.as_numpy_iterator())
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.ci
def test_a_pipeline_gives_the_same_images_in_parallel(channels):
    image = tf.constant(next(pictures(channels)))
    one, four = pipeline(channels, 1), pipeline(channels, 4)
    for name, images in one.items():
        np.testing.assert_array_equal(images, four[name])
        assert images.shape == (12, *image.shape)
        assert images.dtype == np.uint8
        # another seed, another image: hardly two alike
        assert len({each.tobytes() for each in images}) >= 5
    # outside a graph, and under AutoGraph, it is the same
    wide = transforms(channels)["ta_wide"]
    np.testing.assert_array_equal(wide(image, seeds_of(12)[3]), one["ta_wide"][3])
    stream = tf.data.Dataset.from_tensor_slices(seeds_of(2)).map(lambda seed: wide(image, seed))
    np.testing.assert_array_equal(list(stream.as_numpy_iterator()), one["ta_wide"][:2])


# A change here changes what every recipe with this key trains on. The values are printed by
#   python -c "import test_augmentation as t; print(t.hashes())"
# in this folder. AugMix is not among them: it rounds sums of float32.
GOLDEN = {
    "ta_wide": "1bba1ed35aaf1940",
    "ra": "6c4ab40053eec708",
    "rand-m7-mstd0.5-inc1": "632d11db0788b98e",
    "colour": "371d9abbb2227a26",
    "erasing": "1a5cabfd562897fe",
}


def hashes():
    found = {k: v for k, v in pipeline(3, 4).items() if not k.startswith("augmix")}
    return {k: hashlib.sha256(v.tobytes()).hexdigest()[:16] for k, v in found.items()}


@pytest.mark.ci
def test_a_seed_gives_the_images_it_always_gave():
    assert hashes() == GOLDEN


# --- colour


def test_colour_jitter_draws_order_and_factors(monkeypatch):
    image = next(pictures(3))
    transform = colour_jitter(0.4)
    results = [transform(tf.constant(image), seed).numpy() for seed in seeds_of(30)]

    def record(place):
        def apply(values, factor):
            order = values[..., :1] * 10.0 + place
            slots = tf.one_hot(place, 3, tf.cast(factor, tf.float64), dtype=tf.float64)
            return tf.concat([order, values[..., 1:] + slots], -1)

        return apply

    monkeypatch.setattr(colour, "_OPERATIONS", tuple(record(k) for k in range(3)))
    empty = tf.zeros((1, 1, 4), tf.float64)
    values = drawn(lambda seed: transform(empty, seed)[0, 0], 3000)
    orders, counts = np.unique(values[:, 0], return_counts=True)
    assert orders.tolist() == [12, 21, 102, 120, 201, 210]
    assert counts.min() > 400
    assert values[:, 1:].min() == pytest.approx(0.6, abs=2e-3)
    assert values[:, 1:].max() == pytest.approx(1.4, abs=2e-3)
    for result, (order, *factors) in zip(results, values, strict=False):
        picture = pillow(image)
        for place in f"{order:03.0f}":
            enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
            picture = enhance[int(place)](picture).enhance(factors[int(place)])
        same(result, picture, image)


def test_colour_jitter_of_nothing_changes_nothing():
    image = next(pictures(3))
    np.testing.assert_array_equal(colour_jitter(0.0)(image, seeds_of(1)[0]), image)


# --- erasing


def test_erasing_blanks_one_rectangle():
    transform = random_erasing(0.25, fill=(7,))
    image = tf.ones((40, 50, 1), tf.uint8)

    def measure(seed):
        blank = tf.cast(transform(image, seed)[..., 0] == 7, tf.float64)
        rows, columns = tf.reduce_max(blank, 1), tf.reduce_max(blank, 0)
        top, left = tf.argmax(rows), tf.argmax(columns)
        sides = tf.reduce_sum(rows), tf.reduce_sum(columns)
        return tf.stack(
            [tf.reduce_sum(blank), *sides, *(tf.cast(v, tf.float64) for v in (top, left))]
        )

    found = drawn(measure, 4000)
    area, height, width, top, left = found[found[:, 0] > 0].T
    np.testing.assert_array_equal(area, height * width)  # a rectangle and nothing else
    assert len(area) / 4000 == pytest.approx(0.25, abs=0.03)
    assert 0.015 < area.min() / 2000 < 0.03
    assert 0.31 < area.max() / 2000 < 0.35
    assert np.mean(area) / 2000 == pytest.approx(0.17, abs=0.01)  # evenly over 0.02 to 0.33
    ratio = np.log(height / width)
    assert abs(np.mean(ratio)) < 0.1
    assert np.abs(ratio).max() < math.log(3.3) + 0.25
    assert (top.min(), left.min()) == (0, 0)
    assert ((top + height).max(), (left + width).max()) == (40, 50)


def test_erasing_can_be_certain_or_never():
    image = tf.zeros((40, 50, 3), tf.uint8)
    assert not random_erasing(0.0, fill=MEAN)(image, seeds_of(1)[0]).numpy().any()
    certain = random_erasing(1.0, fill=MEAN)
    assert all((certain(image, seed).numpy() == MEAN).all(-1).any() for seed in seeds_of(20))


# --- mixing

STEP = 50


def batch(size, side=24):
    """Return images whose every pixel is 50 times their place, and one-hot targets."""
    places = (np.arange(size) * STEP).astype(np.uint8)
    images = np.broadcast_to(places[:, None, None, None], (size, side, side, 3)).copy()
    return images, np.eye(size, dtype=np.float32)


@pytest.mark.parametrize("alphas", [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_targets_are_shares_of_pixels(alphas):
    transform = tf.function(mixing(*alphas), autograph=False)
    for seed in seeds_of(40):
        images, targets = (v.numpy() for v in transform(*batch(5), seed))
        assert (images.dtype, targets.dtype) == (np.uint8, np.float32)
        assert images.shape == (5, 24, 24, 3)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
        # the mean pixel of a mixture of images 0 to 4 is the mean place; mixup rounds it
        error = 0.5001 if alphas[0] else 1e-2
        means = images.mean((1, 2, 3))
        np.testing.assert_allclose(means, targets @ np.arange(5) * STEP, rtol=0, atol=error)
        partners = [1, 0, 3, 2, 4]
        np.testing.assert_allclose(targets, targets * (np.eye(5) + np.eye(5)[partners] > 0))
        np.testing.assert_array_equal(images[4], batch(5)[0][4])  # the odd one out
        assert len({round(float(t), 6) for t in targets.diagonal()[:4]}) == 1


def kinds(alphas, count):
    """Return the own share of each seed, and whether the batch was cut."""
    transform = mixing(*alphas)
    images, targets = (tf.constant(v) for v in batch(2, side=32))

    def look(seed):
        mixed, changed = transform(images, targets, seed)
        whole = tf.reduce_all((mixed == 0) | (mixed == STEP))
        return tf.stack([tf.cast(changed[0, 0], tf.float64), tf.cast(whole, tf.float64)])

    return drawn(look, count).T


def test_half_the_batches_are_cut():
    _, cut = kinds((1.0, 1.0), 1000)
    assert abs(cut.mean() - 0.5) < 0.06


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_have_a_beta_distribution(alpha):
    ours = np.sort(drawn(lambda seed: tf.cast(beta(seed, 40, alpha), tf.float64), 4000))
    theirs = np.sort(np.random.default_rng(0).beta(alpha, alpha, 40000))
    steps = np.linspace(0.02, 0.98, 25)
    below = np.searchsorted(ours, np.quantile(theirs, steps)) / len(ours)
    assert np.abs(below - steps).max() < 0.03


@pytest.mark.parametrize("alpha", [0.001, 0.01, 100.0])
def test_extreme_alphas_give_shares(alpha):
    shares = drawn(lambda seed: tf.cast(dirichlet(seed, 20, alpha, 3), tf.float64), 300)
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    assert np.abs(shares.mean(0) - 1 / 3).max() < 0.15


def test_a_divided_batch_gives_the_same_examples():
    transform = mixing(0.2, 1.0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 16, 3), np.uint8)
    targets = np.eye(8, dtype=np.float32)
    for seed in seeds_of(10):
        whole = transform(images, targets, seed)
        parts = [transform(images[k : k + 4], targets[k : k + 4], seed) for k in (0, 4)]
        for a, *b in zip(whole, *parts, strict=True):
            np.testing.assert_array_equal(a, np.concatenate(b))


def test_mixing_wants_an_alpha():
    for alphas in ((0, 0), (-1, 1)):
        with pytest.raises(ValueError, match="one of them above 0"):
            mixing(*alphas)
