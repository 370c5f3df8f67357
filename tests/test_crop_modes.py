"""Test images that are not square: cut off, squashed or with a border, as in timm."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from PIL import Image, ImageOps

import rezoo
from conftest import picture
from rezoo.artifacts.config import config_to_json, read_config
from rezoo.data import transforms
from rezoo.data.corners import five_crops
from rezoo.errors import SpecError
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import open_exported
from rezoo.specs import CROP_MODES, Preprocessing
from test_exports import MISSING, weights

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
PHOTOGRAPH = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
WIDE, TALL = (200, 61), (47, 150)  # width and height
MEAN = (0.485, 0.456, 0.406)


def timm_pixels(image: Image.Image, pre: Preprocessing) -> np.ndarray:
    """Return what timm 1.0.31's `transforms_imagenet_eval` gives, with Pillow alone."""
    (height, width), (w, h) = pre.size, image.size
    goal = [int(side / pre.crop_pct) for side in (height, width)]
    if pre.crop_mode == "squash":
        rows, columns = goal
    elif pre.crop_mode == "center" and height == width:  # torchvision's Resize
        rows, columns = (goal[0] * side // min(w, h) for side in (h, w))
    else:
        pick = max if pre.crop_mode == "border" else min
        ratio = pick(h / goal[0], w / goal[1])
        rows, columns = round(h / ratio), round(w / ratio)
    # in this order, as Pillow up to 12 does; 13 takes the other order for tall images
    for size in ((columns, h), (columns, rows)):
        image = image.resize(size, PILLOW[pre.interpolation])
    more_rows, more_columns = max(height - rows, 0), max(width - columns, 0)
    border = (more_columns // 2, more_rows // 2, -(-more_columns // 2), -(-more_rows // 2))
    image = ImageOps.expand(image, border, tuple(round(255 * mean) for mean in pre.mean))
    left, top = (round((a - b) / 2) for a, b in zip(image.size, (width, height), strict=True))
    return np.asarray(image.crop((left, top, left + width, top + height)), int)


compiled = functools.cache(transforms.test_levels)


def levels(image, pre):
    transform = compiled(pre, encoded=isinstance(image, bytes))
    return np.asarray(transform(image)).astype(int)


def assert_same_pixels(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1  # a sum near a half
    assert (found != wanted).mean() <= 0.02


@pytest.mark.ci
@pytest.mark.parametrize("size", [WIDE, TALL, (64, 64), (271, 17), (20, 31)], ids=str)
@pytest.mark.parametrize("mode", CROP_MODES)
def test_wide_and_tall_images_have_the_pixels_of_pillow(mode, size):
    image = picture(7, size)
    for pixels, crop_pct, interpolation in (
        ((32, 32), 0.875, "bilinear"),
        ((45, 45), 1.0, "bicubic"),
        ((40, 56), 0.95, "bilinear"),
    ):
        pre = Preprocessing(
            input_size=(3, *pixels),
            crop_pct=crop_pct,
            interpolation=interpolation,
            crop_mode=mode,
        )
        assert_same_pixels(levels(np.asarray(image), pre), timm_pixels(image, pre))


@pytest.mark.ci
@pytest.mark.parametrize("mode", CROP_MODES)
def test_a_file_gives_the_pixels_of_its_image(mode):
    pre = Preprocessing(crop_mode=mode)
    wanted = timm_pixels(Image.open(PHOTOGRAPH), pre)
    assert_same_pixels(levels(PHOTOGRAPH.read_bytes(), pre), wanted)


def test_the_size_after_the_resize_is_that_of_timm():
    """Also where the exact quotient is a half, and where a side would vanish."""
    random = np.random.default_rng(1)
    cases = [(1, 3000), (64, 3), (448, 5), (500, 333), *random.integers(1, 3000, (40, 2)).tolist()]
    for mode, pixels in (("border", (224, 224)), ("border", (96, 64)), ("center", (96, 64))):
        pre = Preprocessing(input_size=(3, *pixels), crop_mode=mode)
        goal = transforms.resize_target(pre)
        for sides in cases:
            ratios = [side / aim for side, aim in zip(sides, goal, strict=True)]
            ratio = max(ratios) if mode == "border" else min(ratios)
            wanted = [max(round(side / ratio), 1) for side in sides]
            assert transforms._resized(tf.constant(sides), pre).numpy().tolist() == wanted


def wide_and_tall_photographs(shared, count):
    """Return photographs whose longer side is at least 1.4 times the shorter, wide and tall."""
    places = ("data/imagenet_photos", "data/pets/images")
    files = [path for place in places for path in (shared / place).glob("*.[Jj]*")]
    found = {True: [], False: []}
    for path in sorted(files):
        with Image.open(path) as image:
            if max(image.size) >= 1.4 * min(image.size) and image.mode == "RGB":
                found[image.width > image.height].append(path)
    return found[True][: count // 2] + found[False][: count - count // 2]


@pytest.mark.ci
@pytest.mark.parametrize("mode", CROP_MODES)
def test_photographs_have_the_pixels_of_timm_itself(mode, shared):
    # its stand-in of other tests has no version
    pytest.importorskip("torchvision", "0.1", reason="timm's transforms are torchvision's")
    from timm.data import create_transform
    from timm.data.transforms import CenterCropOrPad

    assert CenterCropOrPad.__module__ == "timm.data.transforms"
    for crop_pct, interpolation in ((0.875, "bilinear"), (1.0, "bicubic")):
        pre = Preprocessing(crop_mode=mode, crop_pct=crop_pct, interpolation=interpolation)
        theirs = create_transform(
            224, crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation, normalize=False
        )
        for path in wide_and_tall_photographs(shared, 30):
            wanted = theirs(Image.open(path)).numpy().transpose(1, 2, 0).astype(int)
            assert_same_pixels(levels(path.read_bytes(), pre), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("mode", ["squash", "border"])
def test_exports_of_raw_images_have_the_geometry(tmp_path, to, mode):
    if to in MISSING:
        pytest.skip(FORMATS[to].install)
    source = weights(tmp_path / "net")
    options = {"takes": "raw", "crop_mode": mode, "measure": False}
    passport = export(str(source), to, output=tmp_path / "out", **options)
    assert passport.metadata["preprocessing"]["crop_mode"] == mode
    run = open_exported(tmp_path / "out")
    for size in (WIDE, TALL, (64, 64), (51, 40), (9, 200)):
        image = np.asarray(picture(3, size))
        inputs = rezoo.preprocess(source, image, crop_mode=mode)
        wanted = np.asarray(rezoo.load(str(source))(inputs, training=False))
        found = run(image[None])
        assert np.abs(found - wanted).max() < 5e-3 * np.abs(wanted).max(), size


@pytest.mark.ci
def test_ten_crops_of_a_bordered_image_keep_it_in_the_middle():
    pre = Preprocessing(input_size=(3, 24, 24), crop_mode="border", crop_pct=0.75)
    image = picture(2, (96, 36))  # 32x12 after the resize: cut at the sides only
    crops = np.asarray(
        transforms.test_levels(pre, encoded=False, crop=five_crops)(np.asarray(image))
    )
    whole = timm_pixels(image, dataclasses.replace(pre, input_size=(3, 32, 32), crop_pct=1.0))
    for crop, left in zip(crops.astype(int), (0, 8, 0, 8, 4), strict=True):
        assert_same_pixels(crop, whole[4:28, left : left + 24])


def test_a_config_has_the_geometry_and_keeps_it(tmp_path):
    folder = weights(tmp_path / "net")
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["pretrained_cfg"]["crop_mode"] = "border"
    path.write_text(json.dumps(content))
    config = read_config(folder)
    assert config.preprocessing.crop_mode == "border"
    assert config_to_json(config)["pretrained_cfg"]["crop_mode"] == "border"


def test_an_unknown_geometry_is_an_error():
    with pytest.raises(
        SpecError, match="crop_mode: 'fit'; allowed are 'center', 'squash', 'border'"
    ):
        Preprocessing(crop_mode="fit")
    with pytest.raises(SpecError, match="crop_mode: ''"):
        Preprocessing().at(None, "")
