"""Images as files, bytes, Pillow images and arrays, prepared for a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image

from rezoo.data.image_files import UnreadableImageError, pixels_of, read_file, unreadable_reason
from rezoo.data.transforms import test_transform
from rezoo.errors import IntegrityError, SpecError
from rezoo.sources.any_model import AnyModel, source_of
from rezoo.specs import Preprocessing

Picture: TypeAlias = str | Path | bytes | Image.Image | np.ndarray
"""A file, the bytes of one, a Pillow image, or pixels as uint8 `(H, W)` or `(H, W, C)`."""
Pictures: TypeAlias = Picture | Sequence[Picture]
"""An image or several; an array of several is uint8 `(N, H, W, C)`."""

_ALLOWED = "an image is uint8 (height, width) or (height, width, channels) with 1 or 3 channels"


def preprocess(
    model: AnyModel,
    images: Pictures,
    *,
    pretrained: bool = False,
    image_size: int | None = None,
    crop_mode: str | None = None,
) -> np.ndarray:
    """Prepare images for a network, with the pixels of `predict` and `evaluate`.

    Args:
        model: A reference with weights, or a model of rezoo.
        images: Image files, bytes of image files, Pillow images or uint8 arrays: one or several.
            Files and Pillow images are turned upright by their EXIF orientation.
        pretrained: Whether an architecture stands for its default published weights.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: `"center"`, `"squash"` or `"border"`, see `Preprocessing`; None for that of the
            weights.

    Returns:
        float32 `(N, H, W, C)`, one row per image.

    Raises:
        SpecError: The model's preprocessing is not known, or an array is no image.
        IntegrityError: An image cannot be read; the message has its path or number.
    """
    source = source_of(model, pretrained=pretrained, image_size=image_size)
    preprocessing = source.config.preprocessing.for_test().at(image_size, crop_mode)
    return prepare_all(as_list(images), preprocessing)


def prepare_all(
    pictures: Sequence[Any], preprocessing: Preprocessing, *, first: int = 0
) -> np.ndarray:
    """Return the inputs of a network, float32 `(N, height, width, C)`.

    Args:
        pictures: The images.
        preprocessing: How they become inputs.
        first: Number of the first image, for messages.

    Raises:
        SpecError: One is no image.
        IntegrityError: One cannot be read; the message has its path or number.
    """
    rows = []
    for number, picture in enumerate(pictures, first):
        try:
            rows.append(prepare(picture, preprocessing))
        except UnreadableImageError as error:
            what = picture if isinstance(picture, (str, Path)) else f"image {number}"
            raise IntegrityError(f"{what}: {error}") from error
    if not rows:
        return np.zeros((0, *preprocessing.size, preprocessing.channels), np.float32)
    return np.stack(rows)


def as_list(images: Any) -> list[Any]:
    """Return the images one by one; an array of several is divided.

    Raises:
        SpecError: It is neither an image nor a sequence of images.
    """
    if isinstance(images, (str, Path, bytes, Image.Image)):
        return [images]
    if hasattr(images, "__array__"):
        array = np.asarray(images)
        if array.dtype.kind in "OU" and array.ndim == 1:  # paths in a column of a table
            return list(array.tolist())
        return list(array) if array.ndim == 4 else [array]
    if not isinstance(images, Iterable):
        raise SpecError(
            f"not an image: an object of the type {type(images).__name__}",
            hint=f"pass paths, bytes, Pillow images or arrays: {_ALLOWED}.",
        )
    return list(images)


def prepare(picture: Any, preprocessing: Preprocessing) -> np.ndarray:
    """Return the input of a network, float32 `(height, width, C)`.

    Raises:
        UnreadableImageError: The file cannot be read or decoded; the message is the reason.
        SpecError: It is no image.
    """
    if isinstance(picture, Image.Image):
        try:
            picture = pixels_of(picture.copy(), preprocessing.channels)  # an own copy to turn
        except (OSError, SyntaxError, ValueError) as error:  # it is decoded only here
            raise UnreadableImageError(str(error)) from error
    if isinstance(picture, (str, Path, bytes)):
        return _decoded(picture, preprocessing)
    pixels = _as_pixels(picture)
    return np.asarray(test_transform(preprocessing, encoded=False)(tf.constant(pixels)))


def _decoded(file: str | Path | bytes, preprocessing: Preprocessing) -> np.ndarray:
    content = file if isinstance(file, bytes) else read_file(Path(file).expanduser())
    try:
        return np.asarray(test_transform(preprocessing, encoded=True)(tf.constant(content)))
    except tf.errors.InvalidArgumentError as error:
        raise UnreadableImageError(unreadable_reason(content)) from error


def _as_pixels(array: Any) -> np.ndarray:
    """Return uint8 `(H, W, 1 or 3)`, or refuse the array."""
    pixels = np.asarray(array) if hasattr(array, "__array__") else None
    if pixels is None:
        raise SpecError(
            f"not an image: an object of the type {type(array).__name__}", hint=f"{_ALLOWED}."
        )
    if pixels.dtype != np.uint8:
        raise SpecError(
            f"an image is {pixels.dtype}; only uint8, from 0 to 255, has a defined range",
            hint="pass the pixels before any scaling, for example image.astype('uint8').",
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise SpecError(
            f"an image has the shape {np.shape(array)}",
            hint=f"{_ALLOWED}; several are (N, height, width, channels).",
        )
    return pixels
