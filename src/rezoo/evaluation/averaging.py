"""Predictions as the mean over several views of an image: test-time augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.logits import Forward
from rezoo.tasks import Task

FLIP, SHIFT, TEN_CROP = "flip", "shift", "ten-crop"
TTA = (FLIP, SHIFT, TEN_CROP)
WORDS = {
    FLIP: "mean with the mirror image",
    SHIFT: "mean of three shifts by a pixel and their mirror images",
    TEN_CROP: "mean of ten crops",
}


def require_known(tta: str | None) -> None:
    """Raise `SpecError` if there is no such augmentation."""
    if tta is not None and tta not in TTA:
        raise SpecError(f"tta: {tta!r}; allowed are {', '.join(map(repr, TTA))}")


def averaged(forward: Forward, task: Task, tta: str) -> Forward:
    """Return a function from views of images to the logits of their mean probabilities.

    The softmax of the views is averaged, as in Krizhevsky et al. 2012, section 4.1, for
    multi-label networks the sigmoid. The result is the logarithm of this mean, or its log-odds:
    softmax and sigmoid of it are the mean.

    Args:
        forward: Function from images `(B, H, W, C)` to logits `(B, K)`.
        task: Of the network.
        tta: `"flip"`: images are `(B, H, W, C)`, and the mirror image of each is added.
            `"shift"`: to these, the same of each image moved by a pixel to the upper left and to
            the lower right, with its reflection at the border (Jordan 2024, arXiv:2404.00498,
            section 3.5).
            `"ten-crop"`: images are five crops each, `(B, 5, H, W, C)`, with their mirror images.
    """

    def logits_of(images: Any) -> np.ndarray:
        crops = _crops(images, tta)
        views = [forward(view) for crop in crops for view in (crop, crop[:, :, ::-1])]
        stacked = np.stack(views).astype(np.float64)
        if task.multi_label:
            yes, no = (_mean(-np.logaddexp(0, sign * stacked)) for sign in (-1, 1))
            return np.asarray(yes - no, np.float32)
        totals = np.logaddexp.reduce(stacked, axis=-1, keepdims=True)
        return np.asarray(_mean(stacked - totals), np.float32)

    return logits_of


def _crops(images: Any, tta: str) -> list[Any]:
    if tta == TEN_CROP:
        return [images[:, i] for i in range(images.shape[1])]
    if tta == FLIP:
        return [images]
    height, width = images.shape[1:3]
    larger = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    return [larger[:, i : i + height, i : i + width] for i in (1, 0, 2)]


def _mean(logarithms: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean over the views, from the logarithms of each."""
    return np.asarray(np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logarithms)))
