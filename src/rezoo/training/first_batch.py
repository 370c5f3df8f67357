"""What the first batch of a run shows about a fault in the data, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_ENOUGH = 32  # labels that are not equal by chance
_CHANCE = 1e-6
_FLAT = 1e-6
_LEAST_STD, _MOST_STD, _MOST_MEAN = 0.05, 10.0, 5.0
_ONE_LABEL = (
    "all {} images of the first batch have the same label: labels are read wrongly, or the images "
    "are not in a random order (rezoo data show)"
)
_EMPTY = (
    "every pixel of the first batch is the same ({:.3g}): the images are empty or read wrongly "
    "(rezoo data show)"
)
_ONE_IMAGE = "all {} images of the first batch are the same one (rezoo data check)"
_SCALE = (
    "what the network sees has mean {:.3g} and standard deviation {:.3g} in the first batch; it "
    "learns from about 0 and 1. The preprocessing's mean and std do not fit these images"
)


def look_at(
    images: Any, labels: Any, *, most: float | None = None, scaled: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a batch, as a kind and a text.

    Args:
        images: float32 `(B, H, W, C)`, as the network gets them: mean about 0, standard
            deviation about 1.
        labels: int32 `(B,)` or float32 `(B, K)`.
        most: Share of the most frequent class in the training split, where it is known.
        scaled: Whether the values should be so; weights may have learned from others.
    """
    pixels, truth = np.asarray(images, np.float32), np.asarray(labels)
    if np.isfinite(pixels).all() and np.isfinite(truth).all():
        yield from _pixels(pixels, scaled)
    else:
        yield "not finite", "the first batch has values that are not finite (NaN or infinite)"
    if len(truth) > 1 and (truth == truth[0]).all() and _unlikely(len(truth), most):
        yield "one label", _ONE_LABEL.format(len(truth))


def _pixels(pixels: np.ndarray, scaled: bool) -> Iterator[tuple[str, str]]:
    low, high = pixels.min(axis=(0, 1, 2)), pixels.max(axis=(0, 1, 2))
    flat = np.flatnonzero(high - low <= _FLAT)
    if len(flat) == len(low):
        yield "empty input", _EMPTY.format(pixels.flat[0])
        return
    if len(pixels) > 1 and (pixels == pixels[0]).all():
        yield "one image", _ONE_IMAGE.format(len(pixels))
    if len(flat):
        which = ", ".join(str(n + 1) for n in flat)
        yield "flat channel", f"channel {which} of the first batch has the same value everywhere"
    mean, std = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    if scaled and (abs(mean) > _MOST_MEAN or not _LEAST_STD <= std <= _MOST_STD):
        yield "scale", _SCALE.format(mean, std)


def _unlikely(count: int, most: float | None) -> bool:
    """Whether so many equal labels are no chance."""
    if most is None:
        return count >= _ENOUGH
    return most >= 1 or most**count < _CHANCE
