"""Corrupted images: each kind against its published definition, and what is measured on them."""

from __future__ import annotations

import colorsys
import dataclasses
import io
import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scipy.stats
from PIL import Image

import rezoo
from conftest import encoded, fails, picture
from rezoo.data.datasets import DataOptions
from rezoo.errors import IncompatibleError, SpecError, UnknownNameError
from rezoo.evaluation.damage.corruptions import (
    KINDS,
    SETS,
    SEVERITIES,
    corrupt,
    nearest_set,
    select_kinds,
)
from rezoo.evaluation.damage.drops import Corrupted, Robustness, drop_interval
from rezoo.evaluation.damage.lesions import measure_lesions
from rezoo.evaluation.damage.robustness import measure_corruptions
from rezoo.tasks import SINGLE_LABEL
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

PHOTO = np.asarray(picture(1, (40, 24)))  # smooth colours
GREY = PHOTO[..., :1]


def parameter(kind, severity, image=PHOTO):
    return KINDS[kind].parameters[nearest_set(image.shape[:2])][severity - 1]


def levels(values):
    """Cut values on 0..1 off to whole grey levels, as the authors do."""
    return (np.clip(values, 0, 1) * 255 + 1e-6).astype(np.uint8)


def same(found, expected, *, at_most=1):
    """Compare grey levels; a sum that is near a whole level may be rounded either way."""
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= at_most
    assert (difference > 0).mean() < 0.02


# each kind against its definition


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_is_added_to_the_value_and_saturation_is_scaled(severity):
    more, (factor, summand) = parameter("brightness", severity), parameter("saturate", severity)
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in PHOTO.reshape(-1, 3) / 255]
    brighter = [colorsys.hsv_to_rgb(h, s, min(v + more, 1)) for h, s, v in pixels]
    coloured = [
        colorsys.hsv_to_rgb(h, min(max(s * factor + summand, 0), 1), v) for h, s, v in pixels
    ]
    found = corrupt(PHOTO, "brightness", severity, seed=0, index=0)
    same(found, levels(np.reshape(brighter, PHOTO.shape)))
    found = corrupt(PHOTO, "saturate", severity, seed=0, index=0)
    same(found, levels(np.reshape(coloured, PHOTO.shape)))


def test_black_and_grey_pixels_get_brighter_without_a_hue():
    grey = np.repeat(np.uint8([0, 100, 250])[:, None, None], 3, axis=2)
    found = corrupt(grey, "brightness", 5, seed=0, index=0)
    assert found[:, 0].tolist() == [[76] * 3, [176] * 3, [255] * 3]


def test_contrast_is_the_distance_to_the_mean_of_each_channel():
    means = PHOTO.mean(axis=(0, 1)) / 255
    for severity in SEVERITIES:
        expected = (PHOTO / 255 - means) * parameter("contrast", severity) + means
        same(corrupt(PHOTO, "contrast", severity, seed=0, index=0), levels(expected))


@pytest.mark.parametrize("image", [PHOTO, GREY], ids=["RGB", "grey"])
def test_jpeg_and_pixelate_are_those_of_pillow(image):
    whole = Image.fromarray(image.squeeze())
    for severity in SEVERITIES:
        file = io.BytesIO()
        whole.save(file, "JPEG", quality=parameter("jpeg", severity))
        expected = np.asarray(Image.open(file)).reshape(image.shape)
        assert np.array_equal(corrupt(image, "jpeg", severity, seed=0, index=0), expected)
        part = parameter("pixelate", severity)
        small = whole.resize((int(40 * part), int(24 * part)), Image.Resampling.BOX)
        expected = np.asarray(small.resize((40, 24), Image.Resampling.BOX)).reshape(image.shape)
        assert np.array_equal(corrupt(image, "pixelate", severity, seed=0, index=0), expected)


def test_a_gaussian_blur_averages_with_gaussian_weights():
    edge = np.zeros((9, 31, 1), np.uint8)
    edge[:, 15:] = 255
    sigma = parameter("gaussian_blur", 5, edge)
    taps = np.arange(-4, 5)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    expected = [weights[taps >= 15 - x].sum() / weights.sum() for x in range(31)]
    found = corrupt(edge, "gaussian_blur", 5, seed=0, index=0)
    same(found, np.broadcast_to(levels(np.array(expected))[:, None], edge.shape))


def test_a_defocus_blur_averages_over_a_disk():
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 1), dtype=np.uint8)
    radius, _ = parameter("defocus_blur", 1, image)  # the edge of the disk is sharp
    places = [
        (dy, dx)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if dy**2 + dx**2 <= radius**2
    ]
    inside = slice(radius, -radius)
    shifted = [np.roll(image, place, axis=(0, 1)) for place in places]
    expected = levels(np.mean(shifted, axis=0) / 255)
    found = corrupt(image, "defocus_blur", 1, seed=0, index=0)
    same(found[inside, inside], expected[inside, inside])


def test_a_motion_blur_spreads_a_point_along_a_line():
    """The weights are ImageMagick's: a half Gaussian, from the point on."""
    image = np.zeros((41, 41, 1), np.uint8)
    image[20, 20] = 255
    radius, sigma = parameter("motion_blur", 5, image)
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    found = corrupt(image, "motion_blur", 5, seed=0, index=0)[..., 0].astype(float)
    assert 255 - len(steps) < found.sum() <= 255
    # each pixel is an average of those to its right, so that the point spreads to the left
    down, left = np.array([1, -1])[:, None] * (np.argwhere(found) - 20).T
    assert (left >= 0).all()
    assert (np.abs(down) <= left).all()  # at most 45 degrees
    distances = np.hypot(down, left)
    assert np.average(distances, weights=found[found > 0]) == pytest.approx(
        weights @ steps, abs=0.3
    )


def test_noise_has_the_stated_moments():
    flat = np.full((300, 300, 1), 128, np.uint8)
    for severity in (1, 2):
        noisy = corrupt(flat, "gaussian_noise", severity, seed=0, index=0).astype(float)
        assert noisy.std() == pytest.approx(
            255 * parameter("gaussian_noise", severity, flat), rel=0.02
        )
        noisy = corrupt(flat, "shot_noise", severity, seed=0, index=0).astype(float)
        photons = parameter("shot_noise", severity, flat)
        assert noisy.mean() == pytest.approx(128, abs=1)
        assert noisy.std() == pytest.approx(255 * math.sqrt(128 / 255 / photons), rel=0.02)
        noisy = corrupt(flat, "impulse_noise", severity, seed=0, index=0)
        part = parameter("impulse_noise", severity, flat)
        assert (noisy != 128).mean() == pytest.approx(part, rel=0.1)
        assert (noisy == 255).sum() == pytest.approx((noisy == 0).sum(), rel=0.15)


# all kinds


@pytest.mark.parametrize("kind", KINDS)
def test_severity_grows(kind):
    for size in SETS:
        image = np.asarray(picture(3, (size, size)))
        change = [
            np.abs(corrupt(image, kind, severity, seed=0, index=0).astype(int) - image).mean()
            for severity in SEVERITIES
        ]
        assert change[0] > 0
        assert change[-1] > change[0] or kind == "saturate"  # which takes colour away first


@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_is_kept(kind):
    for shape in ((1, 1, 3), (3, 50, 3), (8, 8, 1), (70, 5, 1)):
        if shape[2] == 1 and not KINDS[kind].grey:
            continue
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        before = image.copy()
        found = corrupt(image, kind, 5, seed=0, index=0)
        assert (found.shape, found.dtype) == (shape, np.uint8)
        assert np.array_equal(image, before)


@pytest.mark.parametrize("kind", ["gaussian_noise", "shot_noise", "impulse_noise", "motion_blur"])
def test_random_kinds_depend_on_seed_kind_severity_and_index_alone(kind):
    def noise(seed=0, index=0):
        return corrupt(PHOTO, kind, 3, seed=seed, index=index)

    first = noise()
    corrupt(PHOTO, "shot_noise", 1, seed=5, index=9)
    assert np.array_equal(noise(), first)
    assert not np.array_equal(noise(index=1), first)
    assert not np.array_equal(noise(seed=1), first)


def test_each_size_has_the_parameters_of_the_nearest_published_set():
    assert [nearest_set((side, side)) for side in (8, 32, 40, 64, 96, 128, 160, 224, 448)] == [
        32, 32, 32, 64, 64, 224, 224, 224, 224,
    ]  # fmt: skip
    assert nearest_set((224, 60)) == 64
    for kind in KINDS.values():
        assert [len(kind.parameters[size]) for size in SETS] == [5, 5, 5]


# names


def test_names_stand_for_kinds_and_groups():
    assert select_kinds(["all"]) == tuple(KINDS)
    assert select_kinds(["jpeg", "noise", "shot_noise"]) == (
        "gaussian_noise", "shot_noise", "impulse_noise", "jpeg",
    )  # fmt: skip
    assert "saturate" in select_kinds(["colour"])
    assert "saturate" not in select_kinds(["colour"], channels=1)


def test_wrong_names_of_kinds():
    with pytest.raises(UnknownNameError, match="no corruption 'blurr'") as error:
        select_kinds(["noise", "blurr"])
    assert error.value.hint == "Did you mean blur?"
    with pytest.raises(UnknownNameError) as error:
        select_kinds(["zzz"])
    assert "there are all, blur, " in error.value.hint
    with pytest.raises(SpecError, match="'saturate' changes colours"):
        select_kinds(["saturate"], channels=1)
    with pytest.raises(SpecError, match="no corruption is named"):
        select_kinds([])


def test_wrong_names_end_before_anything_is_measured(call, trained):
    fails(call("eval", trained, "--corruptions", "blurr"), 2, "no corruption 'blurr'", "mean blur?")
    fails(call("eval", trained, "--corruptions", "saturate"), 2, "changes colours", "'all' does so")
    fails(call("eval", trained, "--corruptions", ","), 2, "no corruption is named")
    answer = call("eval", trained, "--corruptions", "jpeg", "--tta", "flip")
    fails(answer, 2, "measured without --tta")


# measured on a run: test_resnet on digits at 8 pixels


@pytest.mark.ci
def test_scores_are_those_of_a_dataset_of_corrupted_images(trained, tmp_path):
    """The corrupted images are written as files, and evaluated as any folder."""
    passed, kinds = [], ("jpeg", "gaussian_noise")
    found = measure_corruptions(
        trained, corruptions=kinds, seed=3, progress=lambda *counts: passed.append(counts)
    )
    total = (1 + 2 * 5) * found.count  # the unchanged images once, and each corruption of them
    assert passed == sorted(passed)
    assert passed[-1] == (total, total)
    assert {of for _, of in passed} == {total}
    clean = rezoo.evaluate(trained)
    assert (found.clean, found.clean_interval) == (clean.scores.top1, clean.scores.top1_interval)
    assert found.count == clean.scores.count
    assert found.parameters == "CIFAR-10-C"
    data = rezoo.load_dataset("digits")
    test = data.examples("test")
    digits, labels = test.source.images[test.positions], test.labels()
    for kind in found.kinds:
        root = tmp_path / kind.name
        for index, (image, label) in enumerate(zip(digits, labels, strict=True)):
            changed = corrupt(image, kind.name, 5, seed=3, index=index)
            path = root / "test" / data.class_names[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(Image.fromarray(changed[..., 0]), "PNG"))
        again = rezoo.evaluate(trained, f"folder:{root}")
        assert again.scores.count == found.count
        assert kind.values[-1] == again.scores.top1
        assert kind.intervals[-1] == again.scores.top1_interval
        assert kind.drop == pytest.approx(found.clean - np.mean(kind.values))
        assert kind.drop_interval[0] < kind.drop < kind.drop_interval[1]
    assert found.mean == pytest.approx(np.mean([kind.values for kind in found.kinds]))


@pytest.mark.ci
def test_the_command_prints_a_table(call, trained):
    answer = call("eval", trained, "--corruptions", "jpeg")
    assert answer.rc == 0, answer.err
    assert "corruption" in answer.out
    assert "top-1 at severities 1 to 5; unchanged " in answer.out


@pytest.mark.ci
def test_images_that_cannot_be_decoded_leave_the_others_as_they_are(trained, tmp_path):
    classes = rezoo.load(trained).rezoo_config.class_names
    root = tmp_path / "data"
    for index in range(12):
        path = root / "test" / classes[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(index, (8, 8), grey=True), "PNG"))
    whole = measure_corruptions(trained, f"folder:{root}", ("impulse_noise",), batch_size=5)
    (root / "test" / classes[0] / "00.png").write_bytes(b"no image")
    some = DataOptions(on_bad_image="skip", bad_limit=0.5)
    with pytest.warns(rezoo.errors.DataWarning, match="cannot be decoded"):
        less = measure_corruptions(
            trained, f"folder:{root}", ("impulse_noise",), options=some, batch_size=7
        )
    assert (whole.count, less.count) == (12, 11)
    right = np.rint(12 * np.array(whole.kinds[0].values)).astype(int)
    assert set(right - np.rint(11 * np.array(less.kinds[0].values)).astype(int)) <= {0, 1}


@pytest.mark.ci
def test_multi_label_networks_are_measured_by_their_mean_average_precision(tmp_path):
    lines = ["path,labels"]
    for index in range(12):
        path = tmp_path / f"{index}.png"
        path.write_bytes(encoded(picture(index, (8, 8)), "PNG"))
        lines.append(f"{path.name},{';'.join(['cat', 'dog'][index % 2 :])}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    model = rezoo.create_model(NETWORK, num_classes=2, input_shape=(8, 8, 3))
    several = {"class_names": ("cat", "dog"), "multi_label": True}
    model.rezoo_config = dataclasses.replace(model.rezoo_config, **several)
    data = f"csv:{tmp_path / 'table.csv'}"
    found = measure_corruptions(model, data, ("contrast",), split="all")
    assert found.figure.key == "map"
    scores = rezoo.evaluate(model, data, split="all").scores
    assert (found.clean, found.clean_interval) == (scores.map, scores.map_interval)
    low, high = found.kinds[0].drop_interval
    assert low <= found.kinds[0].drop <= high
    assert found.drop_interval == (low, high)
    assert found.summary().startswith("mAP at severities 1 to 5")
    with pytest.raises(IncompatibleError, match="is multi-label; lesions are measured as top-1"):
        measure_lesions(model, data, split="all")


# the result


def robustness(*names):
    kinds = [
        Corrupted(
            name=name,
            values=(0.8, 0.7, 0.6, 0.5, 0.4 - i / 10),
            intervals=((0.3, 0.9),) * 5,
            drop=0.3 + i / 50,
            drop_interval=(0.25, 0.35 + i / 50),
        )
        for i, name in enumerate(names)
    ]
    return Robustness(
        model="runs/a",
        dataset="digits",
        split="test",
        count=100,
        figure=SINGLE_LABEL.chosen_by,
        parameters="ImageNet-C",
        seed=0,
        clean=0.9,
        clean_interval=(0.83, 0.94),
        drop_interval=(0.27, 0.351),
        kinds=tuple(kinds),
    )


def test_means_and_drops_are_over_kinds_and_severities():
    found = robustness("shot_noise", "jpeg")
    assert found.kinds[1].mean == pytest.approx(0.58)
    assert found.mean == pytest.approx(0.59)
    assert found.drop == pytest.approx(0.31)
    assert found.rows()[1] == {
        "corruption": "jpeg",
        "1": "80.0%",
        "2": "70.0%",
        "3": "60.0%",
        "4": "50.0%",
        "5": "30.0%",
        "mean": "58.0%",
        "drop": "32.0 pt",
        "95 % interval": "25.0 to 37.0 pt",
    }
    assert "mean of 2 corruptions 59.0%, drop 31.0 pt (27.0 to 35.1 pt); 95 % intervals of " in (
        found.summary()
    )
    assert "single scores at most ±30.0 pt" in found.summary()
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["figure"] == "top1"
    assert Robustness.from_dict(document) == found
    assert document["kinds"][0]["intervals"][0] == [0.3, 0.9]
    assert document["kinds"][1]["drop_interval"] == [0.25, 0.37]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("figure",), "top9", "figure is 'top9'; it must be top1 or map"),
        (("kinds", 0, "name"), ["jpeg"], "kind of corruption"),
        (("kinds", 0, "values"), [0.5] * 4, "5 values, each a number from 0 to 1"),
        (("drop_interval",), None, "2 values, each a number from -1 to 1"),
    ],
)
def test_a_damaged_record_names_the_key(place, value, words):
    document = part = json.loads(json.dumps(robustness("jpeg").to_dict()))
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(IncompatibleError, match=words):
        Robustness.from_dict(document)


def test_the_interval_of_a_drop_is_that_of_a_paired_t_test():
    random = np.random.default_rng(0)
    clean = random.random(200) < 0.9
    corrupted = [clean & (random.random(200) < 1 - severity / 10) for severity in SEVERITIES]
    each = clean - np.mean(corrupted, axis=0)
    found = drop_interval(clean, corrupted)
    wanted = scipy.stats.ttest_rel(clean.astype(float), np.mean(corrupted, axis=0))
    assert found == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found[0] < each.mean() < found[1]


def test_a_drop_that_is_the_same_for_all_images_has_an_interval_too():
    right = np.ones(100, bool)
    low, high = drop_interval(right, [right] * 5)  # Wilson's for 0 of 100
    assert (low, high) == pytest.approx((-0.0370, 0.0370), abs=1e-4)
    low, high = drop_interval(right, [~right] * 5)
    assert (low, high) == (pytest.approx(0.9630, abs=1e-4), 1.0)
    assert drop_interval(right[:1], [right[:1]]) == pytest.approx((-0.7935, 0.7935), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 360, 2000])
def test_the_interval_of_a_drop_has_the_truth_as_often_as_it_says(count):
    """Images differ in how hard they are; severities make mistakes on the same ones."""
    random = np.random.default_rng(count)
    chances = np.array([0.77, 0.766, 0.737, 0.657, 0.568, 0.451])
    truth, inside = chances[0] - chances[1:].mean(), []
    for _ in range(4000):
        hard, own = random.normal(size=(count, 1)), random.normal(size=(count, 6))
        right = (1.5 * hard + own) / np.sqrt(1 + 1.5**2) < scipy.stats.norm.ppf(chances)
        low, high = drop_interval(right[:, 0], list(right[:, 1:].T))
        inside.append(low <= truth <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_chart_has_the_kinds_of_a_group_over_severities_0_to_5():
    noise, digital = robustness("shot_noise", "impulse_noise", "jpeg").charts()
    assert [line.name for line in noise.lines] == ["shot", "impulse"]
    assert (noise.title, digital.title) == ("top-1, noise", "top-1, digital")
    assert digital.lines[0].points[0] == (0, 0.9)
    assert digital.lines[0].points[-1] == pytest.approx((5, 0.2))


@pytest.mark.ci
def test_the_charts_are_one_drawing():
    text = " ".join(ET.fromstring(robustness("shot_noise", "jpeg").svg()).itertext())
    for word in ("runs/a on digits, test split", "top-1, noise", "severity; 0: unchanged"):
        assert word in text
