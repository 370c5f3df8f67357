"""Predictions as the mean over several views of an image: test-time augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from rezoo.errors import SpecError
from rezoo.evaluation.logits import Forward
from rezoo.tasks import Task

FLIP, TEN_CROP = "flip", "ten-crop"
TTA = (FLIP, TEN_CROP)
WORDS = {FLIP: "mean with the mirror image", TEN_CROP: "mean of ten crops"}


def require_known(tta: str | None) -> None:
    """Raise `SpecError` if there is no such augmentation."""
    if tta is not None and tta not in TTA:
        raise SpecError(f"tta: {tta!r}; allowed are {' and '.join(map(repr, TTA))}")


def averaged(forward: Forward, task: Task, tta: str) -> Forward:
    """Return a function from views of images to the logits of their mean probabilities.

    The softmax of the views is averaged, as in Krizhevsky et al. 2012, section 4.1, for
    multi-label networks the sigmoid. The result is the logarithm of this mean, or its log-odds:
    softmax and sigmoid of it are the mean.

    Args:
        forward: Function from images `(B, H, W, C)` to logits `(B, K)`.
        task: Of the network.
        tta: `"flip"`: images are `(B, H, W, C)`, and the mirror image of each is added.
            `"ten-crop"`: images are five crops each, `(B, 5, H, W, C)`, with their mirror images.
    """

    def logits_of(images: Any) -> np.ndarray:
        crops = [images] if tta == FLIP else [images[:, i] for i in range(images.shape[1])]
        views = [forward(view) for crop in crops for view in (crop, crop[:, :, ::-1])]
        stacked = np.stack(views).astype(np.float64)
        if task.multi_label:
            yes, no = (_mean(-np.logaddexp(0, sign * stacked)) for sign in (-1, 1))
            return np.asarray(yes - no, np.float32)
        totals = np.logaddexp.reduce(stacked, axis=-1, keepdims=True)
        return np.asarray(_mean(stacked - totals), np.float32)

    return logits_of


def _mean(logarithms: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean over the views, from the logarithms of each."""
    return np.asarray(np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logarithms)))
