"""Temperature scaling: the temperature of logits, its loss and its interval.

Guo et al. 2017, arXiv:1706.04599, section 4.2.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rezoo.confidence import COLDEST, HOTTEST
from rezoo.evaluation.predictions import Predictions, cross_entropy
from rezoo.evaluation.scoring.intervals import Interval, bootstrap_interval, mean_of
from rezoo.evaluation.scoring.measured import MeasuredFigure
from rezoo.evaluation.scoring.reliability import (
    brier_scores,
    calibration_error,
    calibration_interval,
    confidences,
)

_GRID = np.geomspace(1 / 8, 8, 85)  # of temperatures around the best one


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the smallest mean loss, between `COLDEST` and `HOTTEST`.

    The loss is convex in 1 / T, so there is one minimum. For the arguments see `cross_entropy`.
    """
    from scipy.optimize import minimize_scalar

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(
        lambda x: cross_entropy(logits, truth, math.exp(x)).mean(),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def temperature_interval(logits: np.ndarray, truth: np.ndarray, temperature: float) -> Interval:
    """Return the 95 % interval of a fitted temperature, from 1000 bootstrap resamples of images.

    The loss of each image is computed on a grid of temperatures once; the minimum of a resample
    is that of a parabola through its three lowest points.
    """
    grid = np.log(temperature * _GRID)
    table = np.stack([cross_entropy(logits, truth, math.exp(x)) for x in grid]).astype(np.float32)
    step = grid[1] - grid[0]

    def minimum(copies: np.ndarray) -> np.ndarray:
        means = (table @ copies).astype(np.float64)  # (temperatures, resamples)
        at = np.clip(means.argmin(0), 1, len(grid) - 2)
        low, mid, high = (means[at + i, np.arange(means.shape[1])] for i in (-1, 0, 1))
        bend = np.maximum(low - 2 * mid + high, 1e-12)
        return grid[at] + step * np.clip((low - high) / (2 * bend), -1, 1)

    ends = bootstrap_interval(len(logits), minimum)
    low, high = (min(max(math.exp(x), COLDEST), HOTTEST) for x in ends)
    return low, high


def calibrated_figures(predictions: Predictions, temperature: float) -> dict[str, MeasuredFigure]:
    """Return loss, ECE and Brier score of predictions whose logits are divided by T.

    Keys end in `_calibrated`. Multi-label data have the loss only.
    """
    if not predictions.logits.shape[1]:
        return {}
    logits = predictions.logits.astype(np.float32) / temperature
    scaled = dataclasses.replace(predictions, logits=logits)
    means = {"loss": ("loss", cross_entropy(logits, predictions.truth))}
    if not predictions.multi_label:
        means["brier"] = ("Brier score", brier_scores(scaled))
    found = {
        key: MeasuredFigure(
            name=f"{name}, calibrated",
            value=float(values.mean()),
            interval=bootstrap_interval(len(values), mean_of(values)),
        )
        for key, (name, values) in means.items()
    }
    if not predictions.multi_label:
        sure, right = confidences(scaled), predictions.right
        found["ece"] = MeasuredFigure(
            name="ECE, calibrated",
            value=calibration_error(sure, right),
            interval=calibration_interval(sure, right),
        )
    order = (key for key in ("loss", "ece", "brier") if key in found)
    return {f"{key}_calibrated": found[key] for key in order}
