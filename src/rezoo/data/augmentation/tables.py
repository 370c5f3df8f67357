"""The operations of each policy, and the strength of each at a level.

A level is a float64 scalar and a sign is -1 or 1; both are drawn once per operation. Operations
without a direction ignore the sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from rezoo.data.augmentation import geometry, operations
from rezoo.recipes.policies import FULL_LEVEL

BINS = 31  # TrivialAugment and torchvision's RandAugment: levels 0 to 30
_TOP = float(BINS - 1)
_FULL = float(FULL_LEVEL)


@dataclass(frozen=True)
class Operation:
    """One entry of a policy.

    Attributes:
        name: As in the papers.
        apply: `(image, magnitude)` to image; uint8 `(H, W, C)`.
        magnitude: `(level, sign, side)` to the scalar that `apply` takes; `side` is the width
            for operations along x, the height for those along y, in pixels.
        vertical: Whether `side` is the height.
    """

    name: str
    apply: Callable[[Any, Any], Any]
    magnitude: Callable[[Any, Any, Any], Any]
    vertical: bool = False

    def __call__(self, image: Any, level: Any, sign: Any) -> Any:
        """Change the image; level and sign are float64 scalars."""
        side = tf.cast(tf.shape(image)[0 if self.vertical else 1], tf.float64)
        return self.apply(image, self.magnitude(level, sign, side))


Magnitude = Callable[[Any, Any, Any], Any]


def trivial_augment_wide() -> tuple[Operation, ...]:
    """Return the wide set of TrivialAugment (section 3, table 1) with torchvision's magnitudes.

    Levels are 0 to 30; nearest neighbours, black outside.
    """
    return _binned(
        shear=0.99,
        translate=lambda level, sign, _: sign * _cut(32.0 * level / _TOP),
        rotate=135.0,
        enhance=0.99,
        bits=6.0,
    )


def rand_augment() -> tuple[Operation, ...]:
    """Return the set of RandAugment with torchvision's magnitudes; else as the wide set."""
    return _binned(
        shear=0.3,
        translate=lambda level, sign, side: sign * _cut(150.0 / 331.0 * side * level / _TOP),
        rotate=30.0,
        enhance=0.9,
        bits=4.0,
    )


def _binned(
    *, shear: float, translate: Magnitude, rotate: float, enhance: float, bits: float
) -> tuple[Operation, ...]:
    def lost_bits(level: Any, sign: Any, side: Any) -> Any:
        return 8.0 - tf.round(bits * level / _TOP)

    return (
        Operation("Identity", lambda image, _: image, _nothing),
        *_moving(_signed(shear, _TOP), translate, _signed(rotate, _TOP), None, bilinear=False),
        *_enhancing(lambda level, sign, _: 1.0 + sign * enhance * level / _TOP),
        Operation("Posterize", operations.posterize, lost_bits),
        Operation("Solarize", operations.solarize, lambda level, *_: 255.0 - 255.0 * level / _TOP),
        *_without_magnitude(),
    )


def timm_rand_augment(*, increasing: bool, fill: Any) -> tuple[Operation, ...]:
    """Return the set of timm's RandAugment; full strength is level 10.

    timm draws bilinear or bicubic weights for each operation; here they are always bilinear.

    Args:
        increasing: timm's `inc1`: a higher level never means a weaker operation.
        fill: uint8 `(C,)`: what comes in from outside.
    """

    def enhance(level: Any, sign: Any, side: Any) -> Any:
        if increasing:
            return tf.maximum(1.0 + sign * 0.9 * level / _FULL, 0.1)
        return level / _FULL * 1.8 + 0.1

    bits, threshold = _tone_levels(increasing)
    added = _up_to(110.0)
    return (
        *_without_magnitude(),
        Operation("Invert", lambda image, _: operations.invert(image), _nothing),
        *_moving(
            _signed(0.3),
            lambda level, sign, side: sign * 0.45 * level / _FULL * side,
            _signed(30.0),
            fill,
            bilinear=True,
        ),
        Operation("Posterize", operations.posterize, bits),
        Operation("Solarize", operations.solarize, threshold),
        Operation("SolarizeAdd", operations.solarize_add, lambda *a: tf.minimum(added(*a), 128.0)),
        *_enhancing(enhance),
    )


def aug_mix() -> tuple[Operation, ...]:
    """Return the set of AugMix (section 3 and its published code); full strength is level 10.

    None of them resembles a corruption of ImageNet-C. Bilinear weights, black outside.
    """
    bits, threshold = _tone_levels(increasing=True)
    return (
        *_without_magnitude(),
        *_moving(
            _signed(0.3),
            lambda level, sign, side: sign * _cut(level * (side / 3.0) / _FULL),
            lambda level, sign, _: sign * _cut(level * 30.0 / _FULL),
            None,
            bilinear=True,
        ),
        Operation("Posterize", operations.posterize, bits),
        Operation("Solarize", operations.solarize, threshold),
    )


def _without_magnitude() -> tuple[Operation, ...]:
    return (
        Operation("AutoContrast", lambda image, _: operations.autocontrast(image), _nothing),
        Operation("Equalize", lambda image, _: operations.equalize(image), _nothing),
    )


def _moving(
    shear: Magnitude, translate: Magnitude, rotate: Magnitude, fill: Any, *, bilinear: bool
) -> tuple[Operation, ...]:
    def by(move: geometry.Geometry) -> Callable[[Any, Any], Any]:
        return partial(_move, move, fill=fill, bilinear=bilinear)

    return (
        Operation("ShearX", by(geometry.shear_x), shear),
        Operation("ShearY", by(geometry.shear_y), shear),
        Operation("TranslateX", by(geometry.translate_x), translate),
        Operation("TranslateY", by(geometry.translate_y), translate, vertical=True),
        Operation("Rotate", by(geometry.rotate), rotate),
    )


def _move(move: geometry.Geometry, image: Any, magnitude: Any, *, fill: Any, bilinear: bool) -> Any:
    outside = tf.zeros(image.shape[-1:], tf.uint8) if fill is None else fill
    return move(image, magnitude, fill=outside, bilinear=bilinear)


def _enhancing(factor: Magnitude) -> tuple[Operation, ...]:
    return (
        Operation("Brightness", operations.brightness, factor),
        Operation("Color", operations.saturation, factor),
        Operation("Contrast", operations.contrast, factor),
        Operation("Sharpness", operations.sharpness, factor),
    )


def _tone_levels(increasing: bool) -> tuple[Magnitude, Magnitude]:
    """Return the bits that posterize keeps (of 4) and the threshold of solarize (of 256)."""
    bits, threshold = _up_to(4.0), _up_to(256.0)
    if increasing:
        return (lambda *a: 4.0 - bits(*a)), (lambda *a: 256.0 - threshold(*a))
    return bits, threshold


def _up_to(full: float) -> Magnitude:
    return lambda level, *_: _cut(level / _FULL * full)


def _signed(full: float, top: float = _FULL) -> Magnitude:
    return lambda level, sign, _: sign * full * level / top


def _nothing(level: Any, sign: Any, side: Any) -> Any:
    return 0.0


def _cut(value: Any) -> Any:
    """Cut the fraction off a value of 0 or more."""
    return tf.floor(value)
