"""Corrupted images: the kinds and severities of Hendrycks and Dietterich 2019, arXiv:1903.12261.

The parameters are those of the authors' programs for ImageNet-C (224 pixels), Tiny ImageNet-C (64)
and CIFAR-10-C (32), in github.com/hendrycks/robustness, folder `ImageNet-C/create_c`. An image has
those of the size that is nearest by ratio. As in these programs, values are cut off to whole grey
levels. Left out are kinds that need other images (frost) or much code (snow, fog, spatter, elastic,
glass and zoom blur).

Random kinds are pure functions of the seed, the kind, the severity and the index of an image, so
each run and each host has the same images. (NumPy may change its streams between versions.)

Loads without Keras and TensorFlow.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.errors import SpecError, UnknownNameError
from rezoo.evaluation.damage import distortions
from rezoo.utils.names import suggest

SEVERITIES = (1, 2, 3, 4, 5)
SETS = {32: "CIFAR-10-C", 64: "Tiny ImageNet-C", 224: "ImageNet-C"}
"""Side of the images in pixels → the set of parameters that is made for it."""
ALL = "all"
_ROUNDING = 1e-6  # in grey levels: a value that is so close below a level is that level

Change = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]
"""From uint8 `(H, W, C)`, a parameter and random numbers: to uint8, or floats on 0..1."""


@dataclass(frozen=True)
class Kind:
    """A kind of corruption.

    Attributes:
        group: Kinds that are similar: noise, blur, colour or digital.
        change: What it does to an image.
        parameters: Key of `SETS` → the parameter of each severity.
        grey: Whether it changes grey images.
    """

    group: str
    change: Change
    parameters: Mapping[int, tuple[Any, ...]]
    grey: bool = True


def corrupt(image: np.ndarray, kind: str, severity: int, *, seed: int, index: int) -> np.ndarray:
    """Return an image with a corruption.

    Args:
        image: Grey levels, uint8 `(H, W, C)`, C = 1 or 3.
        kind: A key of `KINDS`.
        severity: 1 to 5.
        seed: Of the random numbers.
        index: Number of the image in its split: each image has its own random numbers.

    Returns:
        uint8 `(H, W, C)`.
    """
    chosen = KINDS[kind]
    parameter = chosen.parameters[nearest_set(image.shape[:2])][severity - 1]
    random = np.random.default_rng((seed, zlib.crc32(kind.encode()), severity, index))
    changed = chosen.change(image, parameter, random)
    if changed.dtype == np.uint8:
        return changed
    return (np.clip(changed, 0, 1) * 255 + _ROUNDING).astype(np.uint8)


def nearest_set(sides: Sequence[int]) -> int:
    """Return the key of `SETS` that is nearest by ratio to the shorter of `(height, width)`."""
    return min(SETS, key=lambda side: abs(math.log(min(sides) / side)))


def select_kinds(names: Sequence[str], *, channels: int = 3) -> tuple[str, ...]:
    """Return the kinds that some names stand for, each once, in the order of `KINDS`.

    Args:
        names: Kinds, groups, or `"all"`.
        channels: Of the images. Groups of grey images are without the kinds that need colours.

    Raises:
        UnknownNameError: There is no such kind; the hint has similar names.
        SpecError: There is no name, or a kind needs colours and the images are grey.
    """
    groups = {kind.group for kind in KINDS.values()}
    known = (ALL, *sorted(groups), *KINDS)
    for name in names:
        if name not in known:
            raise UnknownNameError(
                f"no corruption {name!r}", hint=suggest(name, known, "there are")
            )
        if channels == 1 and name in KINDS and not KINDS[name].grey:
            raise SpecError(
                f"corruption {name!r} changes colours; the network's images are grey",
                hint=f"leave it out: '{ALL}' does so.",
            )
    if not names:
        raise SpecError("no corruption is named", hint=f"there are {', '.join(known)}.")
    return tuple(
        name
        for name, kind in KINDS.items()
        if {name, kind.group, ALL} & set(names) and (kind.grey or channels == 3)
    )


KINDS: dict[str, Kind] = {
    "gaussian_noise": Kind(
        "noise",
        distortions.gaussian_noise,  # standard deviation
        {
            32: (0.04, 0.06, 0.08, 0.09, 0.10),
            64: (0.04, 0.08, 0.12, 0.15, 0.18),
            224: (0.08, 0.12, 0.18, 0.26, 0.38),
        },
    ),
    "shot_noise": Kind(
        "noise",
        distortions.shot_noise,  # mean number of photons of white
        {32: (500, 250, 100, 75, 50), 64: (250, 100, 50, 30, 15), 224: (60, 25, 12, 5, 3)},
    ),
    "impulse_noise": Kind(
        "noise",
        distortions.impulse_noise,  # part of the values
        {
            32: (0.01, 0.02, 0.03, 0.05, 0.07),
            64: (0.01, 0.02, 0.05, 0.08, 0.14),
            224: (0.03, 0.06, 0.09, 0.17, 0.27),
        },
    ),
    "defocus_blur": Kind(
        "blur",
        distortions.defocus_blur,  # radius of the disk, standard deviation of its edge, in pixels
        {
            32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
            64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
            224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        },
    ),
    "gaussian_blur": Kind(
        "blur",
        distortions.gaussian_blur,  # standard deviation in pixels
        {32: (0.4, 0.6, 0.7, 0.8, 1), 64: (0.5, 0.75, 1, 1.25, 1.5), 224: (1, 2, 3, 4, 6)},
    ),
    "motion_blur": Kind(
        "blur",
        distortions.motion_blur,
        {
            32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
            224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        },
    ),
    "brightness": Kind(
        "colour",
        distortions.brightness,
        {
            32: (0.05, 0.1, 0.15, 0.2, 0.3),
            64: (0.1, 0.2, 0.3, 0.4, 0.5),
            224: (0.1, 0.2, 0.3, 0.4, 0.5),
        },
    ),
    "contrast": Kind(
        "colour",
        distortions.contrast,
        {
            32: (0.75, 0.5, 0.4, 0.3, 0.15),
            64: (0.4, 0.3, 0.2, 0.1, 0.05),
            224: (0.4, 0.3, 0.2, 0.1, 0.05),
        },
    ),
    "saturate": Kind(
        "colour",
        distortions.saturate,
        {
            32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
            64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
            224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        },
        grey=False,
    ),
    "pixelate": Kind(
        "digital",
        distortions.pixelate,  # part of the side that is left
        {
            32: (0.95, 0.9, 0.85, 0.75, 0.65),
            64: (0.9, 0.8, 0.7, 0.6, 0.5),
            224: (0.6, 0.5, 0.4, 0.3, 0.25),
        },
    ),
    "jpeg": Kind(
        "digital",
        distortions.jpeg,  # quality
        {32: (80, 65, 58, 50, 40), 64: (65, 58, 50, 40, 25), 224: (25, 18, 15, 10, 7)},
    ),
}
"""The kinds by name: the authors' names, but for `jpeg`, which is `jpeg_compression` there."""
