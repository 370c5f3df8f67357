"""Pixels against Pillow's, and augmentation as a pure function of (seed, epoch, index)."""

from __future__ import annotations

import dataclasses
import functools
import io
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from PIL import Image

from conftest import encoded, picture
from rezoo.data import crops, images, pipeline, transforms
from rezoo.data.examples import Examples
from rezoo.data.image_sources import ArraySource, FileSource
from rezoo.models.normalization import network_input, normalized
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

PHOTOGRAPHS = [
    Path(sklearn.datasets.__file__).parent / "images" / name for name in ("china.jpg", "flower.jpg")
]
RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
RECIPE = Recipe(name="r", epochs=3, batch_size=4, crop_scale=(0.3, 1.0), seed=5)


def pillow_test_pixels(image: Image.Image, pre: Preprocessing) -> np.ndarray:
    """The test transform as timm and torchvision write it, with Pillow; square crops."""
    short = int(pre.size[0] / pre.crop_pct)
    width, height = image.size
    if width <= height:
        size = (short, int(short * height / width))
    else:
        size = (int(short * width / height), short)
    resized = image.resize(size, PILLOW[pre.interpolation])
    top = round((size[1] - pre.size[0]) / 2.0)
    left = round((size[0] - pre.size[1]) / 2.0)
    return np.asarray(resized.crop((left, top, left + pre.size[1], top + pre.size[0])))


compiled_transform = functools.cache(transforms.test_levels)  # each is compiled once


def levels(preprocessing: Preprocessing, image: np.ndarray | bytes) -> np.ndarray:
    """Our test transform, as grey levels 0..255."""
    transform = compiled_transform(preprocessing, encoded=isinstance(image, bytes))
    return transform(image).numpy().astype(int)


# decoding


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_pixels_are_those_of_pillow(options, subsampling):
    for size in ((48, 40), (37, 23), (1, 1), (8, 1)):
        data = encoded(picture(1, size), subsampling=subsampling, **options)
        wanted = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(images.decode(data, 3).numpy(), wanted)


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
def test_photographs_decode_as_with_pillow(path):
    decoded = images.decode(path.read_bytes(), 3).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_png_pixels_are_those_of_pillow(mode):
    image = picture(2).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    decoded = images.decode(encoded(image, "PNG"), 3).numpy()
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP"])
def test_other_kinds_decode(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = picture(3).quantize(64).convert("RGB") if kind == "GIF" else picture(3)
    decoded = images.decode(encoded(image, kind, **options), 3).numpy()
    assert np.abs(decoded.astype(int) - np.asarray(image)).mean() < 1


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 40 * 48).reshape(40, 48).astype(np.uint16)
    decoded = images.decode(encoded(Image.fromarray(values), "PNG"), 3).numpy()
    np.testing.assert_array_equal(decoded[..., 0], values >> 8)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert images.decode(data, 3).numpy()[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("grey", [True, False])
def test_grey_and_colour(channels, kind, grey):
    data = encoded(picture(4, grey=grey), kind)
    decoded = images.decode(data, channels).numpy()
    assert decoded.shape == (40, 48, channels)
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("L"), int)
    if channels == 1:
        assert np.abs(decoded[..., 0] - wanted).max() <= (0 if grey else 2)
    elif grey:
        assert (decoded == decoded[..., :1]).all()


def test_grey_and_colour_of_pixels():
    grey = tf.constant(np.asarray(picture(5, grey=True))[..., None])
    colour = tf.constant(np.asarray(picture(5)))
    one = Preprocessing(input_size=(1, 16, 16), mean=(0.0,), std=(1.0,))
    three = Preprocessing(input_size=(3, 16, 16), **RAW)
    assert (levels(three, grey) == levels(one, grey)).all()
    assert np.abs(levels(one, colour) - levels(one, grey)).max() <= 1


@pytest.mark.parametrize(
    "data", [b"", b"text", encoded(picture(1))[:300], encoded(picture(1), "PNG")[:300]]
)
def test_what_is_no_image(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        images.decode(data, 3)


# the test transform

SIDES = [(1, 1), (1, 40), (40, 1), (2, 3), (7, 5), (31, 33), (64, 64), (65, 63), (200, 133)]


@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.875])
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_output_has_the_size(sides, crop_pct):
    image = np.asarray(picture(6, sides[::-1]))
    for size in ((3, 32, 32), (3, 17, 33), (3, 1, 1)):
        pre = Preprocessing(input_size=size, crop_pct=crop_pct, **RAW)
        result = levels(pre, image)
        assert result.shape == (*size[1:], 3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(64, 64), (97, 61), (61, 97), (200, 133), (33, 500), (20, 31)])
@pytest.mark.parametrize(("pixels", "crop_pct"), [(32, 0.875), (45, 0.95), (64, 1.0)])
def test_pixels_are_those_of_pillow(size, pixels, crop_pct, interpolation):
    image = picture(7, size)
    pre = Preprocessing(
        input_size=(3, pixels, pixels), crop_pct=crop_pct, interpolation=interpolation, **RAW
    )
    difference = np.abs(levels(pre, np.asarray(image)) - pillow_test_pixels(image, pre))
    assert difference.max() <= 1
    assert difference.mean() <= 0.01


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("pixels", "crop_pct", "interpolation"),
    [(224, 0.875, "bilinear"), (224, 0.95, "bicubic"), (288, 1.0, "bicubic")],
)
def test_photographs_resize_as_with_pillow(path, pixels, crop_pct, interpolation):
    pre = Preprocessing(
        input_size=(3, pixels, pixels), crop_pct=crop_pct, interpolation=interpolation, **RAW
    )
    wanted = pillow_test_pixels(Image.open(path), pre)
    difference = np.abs(levels(pre, path.read_bytes()) - wanted)
    assert difference.max() <= 1
    assert difference.mean() <= 0.005


def test_thin_images_are_not_blown_up():
    """One pixel by 3000 is not worth 196 million pixels (14 GB)."""
    start, kept = transforms._not_too_thin(tf.constant([1, 3000]), whole=False)
    assert [start.numpy().tolist(), kept.numpy().tolist()] == [[0, 1492], [1, 16]]
    assert np.prod(transforms._resized(kept, Preprocessing())) < 2_000_000


def test_normalization():
    pre = Preprocessing(input_size=(3, 8, 8), crop_pct=1.0)
    image = np.full((8, 8, 3), 51, np.uint8)
    result = transforms.test_transform(pre, encoded=False)(image).numpy()
    wanted = (0.2 - np.array(pre.mean)) / np.array(pre.std)
    np.testing.assert_allclose(result[3, 3], wanted, rtol=1e-5)
    assert result.dtype == np.float32


WHOLE = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # the input of the network is the levels


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_levels_are_whole_before_they_become_uint8(sides, interpolation):
    """So nothing is lost, also at edges from black to white, where bicubic weights overshoot."""
    edges = np.random.default_rng(0).integers(0, 2, (*sides, 3)) * 255
    pre = Preprocessing(input_size=(3, 17, 33), interpolation=interpolation, **WHOLE)
    for image in (edges, edges * 0, edges * 0 + 255):
        image = image.astype(np.uint8)
        inputs = transforms.test_transform(pre, encoded=False)(image).numpy()
        np.testing.assert_array_equal(inputs, levels(pre, image))


@pytest.mark.backend
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_normalized_on_the_device_as_in_the_transform(channels):
    """JAX multiplies and adds in one rounding, TensorFlow and NumPy in two."""
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(channels, 3)
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    pre = Preprocessing(input_size=(channels, 16, 16), crop_pct=1.0, mean=mean, std=std)
    wanted = transforms.test_transform(pre, encoded=False)(image[0]).numpy()
    found = keras.ops.convert_to_numpy(network_input(image, pre))[0]
    assert found.dtype == np.float32
    if keras.config.backend() == "tensorflow":
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(normalized(image[0].astype(np.float32), pre), wanted)
    np.testing.assert_allclose(wanted, (image[0] / 255 - mean) / std, rtol=0, atol=1e-6)


# augmentation


@pytest.fixture(scope="module")
def augment():
    pre = Preprocessing(input_size=(3, 24, 20), **RAW)

    def run(recipe, image, seed):
        transform = transforms.train_transform(pre, recipe, encoded=isinstance(image, bytes))
        return transform(image, tf.constant(seed, tf.int64)).numpy()

    return run


def test_augmentation_is_a_function_of_the_seed(augment):
    image = np.asarray(picture(8))
    results = {
        (epoch, index): augment(RECIPE, image, (epoch, index)).tobytes()
        for epoch in (0, 1, 2**62)
        for index in (0, 1, 1_000_000)
    }
    assert len(set(results.values())) == 9
    for seed, result in results.items():
        assert augment(RECIPE, image, seed).tobytes() == result


def test_augmentation_golden():
    """A change here changes every run: say so in the changelog."""
    box = crops.random_crop(tf.constant([40, 48]), RECIPE, tf.constant([7, 9], tf.int64))
    assert np.concatenate(box).tolist() == [1, 0, 38, 47]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_training_pixels_are_rounded_to_the_nearest_level(interpolation):
    pre = Preprocessing(input_size=(3, 24, 20), interpolation=interpolation)
    recipe = dataclasses.replace(RECIPE, flip=0.0)
    transform = transforms.train_transform(pre, recipe, encoded=False)
    for index in range(6):
        image, seed = np.asarray(picture(index)), tf.constant([2, index], tf.int64)
        part = crops.cut(image, recipe, seed)
        fold = min(part.shape[0] // 24, part.shape[1] // 20)
        exact = tf.image.resize(part, (24, 20), interpolation, antialias=fold >= 2).numpy()
        found = transform(image, seed).numpy()
        assert found.dtype == np.uint8
        assert np.abs(found - np.clip(exact, 0, 255)).max() <= 0.5


def test_what_is_erased_is_at_most_half_a_level_from_zero():
    pre = Preprocessing(input_size=(3, 24, 20))
    recipe = dataclasses.replace(RECIPE, random_erase=1.0)
    transform = transforms.train_transform(pre, recipe, encoded=False)
    black = np.zeros((40, 48, 3), np.uint8)
    found = transform(black, tf.constant([2, 3], tf.int64)).numpy().astype(np.float32)
    erased = normalized(found, pre)[found.any(-1)]
    assert len(erased) > 5
    assert (np.abs(erased) <= 0.5 / 255 / np.array(pre.std)).all()


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_crops_stay_inside(augment, sides):
    image = np.asarray(picture(9, sides[::-1]))
    for index in range(8):
        seed = tf.constant([1, index], tf.int64)
        recipe = dataclasses.replace(RECIPE, crop_scale=(0.05, 1.0))
        top, left, height, width = np.concatenate(crops.random_crop(sides, recipe, seed))
        assert top >= 0 <= left
        assert 1 <= height <= sides[0] - top
        assert 1 <= width <= sides[1] - left
        assert augment(recipe, image, (1, index)).shape == (24, 20, 3)


def test_crops_have_the_area_and_the_shape():
    recipe = dataclasses.replace(RECIPE, crop_scale=(0.2, 0.5), crop_ratio=(0.5, 2.0))
    two = tf.constant(2, tf.int64)
    drawn = tf.data.Dataset.range(300).map(
        lambda i: tf.concat(crops.random_crop((300, 400), recipe, tf.stack([two, i])), 0)
    )
    boxes = list(drawn.as_numpy_iterator())
    areas = np.array([h * w / 120_000 for _, _, h, w in boxes])
    ratios = np.array([w / h for _, _, h, w in boxes])
    assert 0.19 < areas.min() < 0.23
    assert 0.47 < areas.max() < 0.51
    assert abs(areas.mean() - 0.35) < 0.02
    assert 0.48 < ratios.min() < 0.6
    assert 1.7 < ratios.max() < 2.03
    assert abs(np.log(ratios).mean()) < 0.1
    assert min(t for t, *_ in boxes) < 10
    assert max(t + h for t, _, h, _ in boxes) > 290


@pytest.mark.parametrize(("flip", "low", "high"), [(0.0, 0, 0), (1.0, 60, 60), (0.5, 18, 42)])
def test_flips(augment, flip, low, high):
    recipe = dataclasses.replace(RECIPE, flip=flip, crop_scale=(1.0, 1.0), crop_ratio=(0.8, 0.9))
    image = np.zeros((24, 20, 3), np.uint8)
    image[:, :10] = 255
    results = [augment(recipe, image, (3, i)) for i in range(60)]
    mirrored = sum(bool(r[5, 2, 0] < r[5, 17, 0]) for r in results)
    assert low <= mirrored <= high


# batches


def numbered(count: int = 22) -> Examples:
    pixels = np.stack([np.asarray(picture(i, (12, 10))) for i in range(count)])
    return Examples(ArraySource(pixels, np.arange(count), [str(i) for i in range(count)]))


SMALL = Preprocessing(input_size=(3, 8, 8))


def drawn(stream) -> list[tuple[bytes, list[int]]]:
    return [(x.tobytes(), y.tolist()) for x, y in stream.as_numpy_iterator()]


@pytest.fixture(scope="module")
def whole_run():
    return drawn(pipeline.train_batches(numbered(), SMALL, RECIPE))


def test_epochs_of_a_run(whole_run):
    assert len(whole_run) == 15  # 22 images, batches of 4: 5 steps an epoch
    for epoch in range(3):
        seen = [y for _, labels in whole_run[5 * epoch : 5 * epoch + 5] for y in labels]
        assert len(set(seen)) == 20
    assert whole_run[0][1] != whole_run[5][1]
    assert drawn(pipeline.train_batches(numbered(), SMALL, RECIPE)) == whole_run
    other = dataclasses.replace(RECIPE, seed=6)
    assert drawn(pipeline.train_batches(numbered(), SMALL, other)) != whole_run


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 4), (1, 0), (1, 3), (2, 4), (0, 5)])
def test_run_that_starts_in_the_middle(whole_run, epoch, step):
    stream = pipeline.train_batches(numbered(), SMALL, RECIPE, first_epoch=epoch, first_step=step)
    assert drawn(stream) == whole_run[5 * epoch + step :]


@pytest.mark.parametrize("threads", [1, 7])
def test_parallelism_changes_nothing(whole_run, threads):
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.autotune.enabled = threads != 1
    stream = pipeline.train_batches(numbered(), SMALL, RECIPE).with_options(options)
    assert drawn(stream) == whole_run


def test_test_batches_are_all_in_order():
    stream = pipeline.test_batches(numbered(10), SMALL, batch_size=4)
    batches = list(stream.as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert [y for _, labels in batches for y in labels] == list(range(10))
    assert batches[0][0].dtype == np.uint8
    assert batches[0][1].dtype == np.int32
    np.testing.assert_array_equal(batches[1][0][1], levels(SMALL, numbered(10).source.images[5]))


@pytest.mark.ci
def test_files_and_pixels_give_the_same_batches(tmp_path):
    pixels = numbered(4)
    for i, image in enumerate(pixels.source.images):
        (tmp_path / f"{i}.png").write_bytes(encoded(Image.fromarray(image), "PNG"))
    files = Examples(FileSource(tmp_path, [f"{i}.png" for i in range(4)], pixels.labels()))
    for build in (
        lambda e: pipeline.train_batches(e, SMALL, RECIPE),
        lambda e: pipeline.test_batches(e, SMALL, batch_size=3),
    ):
        assert drawn(build(files)) == drawn(build(pixels))
