"""95 % intervals of scores: Wilson's for proportions, the percentile bootstrap for the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 1000
_BLOCK_VALUES = 2_000_000  # of resamples times images, at a time

Interval = tuple[float, float]
Statistic = Callable[[np.ndarray], np.ndarray]
"""Function from the number of copies of each of N images in each of B resamples, float32 `(N, B)`,
to values float64 `(…, B)`; NaN where it is not defined."""


def wilson_interval(right: int, count: int) -> Interval:
    """Return the 95 % Wilson interval of the proportion `right / count` (Wilson 1927)."""
    if count == 0:
        return (0.0, 1.0)
    p, z2 = right / count, Z_95**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return (0.0 if right == 0 else centre - half, 1.0 if right == count else centre + half)


def bootstrap(
    count: int,
    statistic: Statistic,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return a statistic of resamples of N images (Efron 1979).

    A resample has N images, drawn from all N with replacement: how many each class has differs
    from one to the next, as in another sample of the same kind.

    Args:
        count: N.
        statistic: The statistic. A difference of two networks on the same images is paired if it
            is one statistic: both then get the same copies.
        resamples: Number of resamples R.
        seed: Seed of the draws.

    Returns:
        float64 `(…, R)`.
    """
    return np.concatenate(
        [np.asarray(statistic(w), np.float64) for w in _copies(count, resamples, seed)], axis=-1
    )


def percentile_interval(
    values: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a 95 % interval from a statistic of resamples, float64 `(…)` each end.

    NaN, the value of a resample for which a statistic is not defined, is left out.

    Args:
        values: Of R resamples, float64 `(…, R)`.
        own: Of the images themselves, `(…)`. If given, the percentiles are corrected for the bias
            of the resamples (Efron 1981, "Nonparametric standard errors and confidence
            intervals", section 7): the macro F1 of a resample tends to be too small. Otherwise
            they are 2.5 and 97.5.
    """
    from scipy.special import ndtr, ndtri

    known = ~np.isnan(values)
    some = np.where(known.any(-1, keepdims=True), values, 0.0)
    levels = np.broadcast_to(np.array([[0.025], [0.975]]), (2, some[..., 0].size))
    if own is not None:
        least = 0.5 / values.shape[-1]
        middle = np.asarray(own)[..., None]
        below = ((some < middle) + (some == middle) / 2).sum(-1) / known.sum(-1).clip(1)
        shift = 2 * ndtri(below.clip(least, 1 - least)).reshape(-1)
        levels = ndtr(np.stack([shift - Z_95, shift + Z_95]))
    rows = some.reshape(-1, values.shape[-1])
    ends = [np.nanquantile(row, level) for row, level in zip(rows, levels.T, strict=True)]
    low, high = np.reshape(np.transpose(ends), (2, *some.shape[:-1]))
    return np.where(known.any(-1), low, np.nan), np.where(known.any(-1), high, np.nan)


def percentiles(resampled: np.ndarray) -> Interval:
    """Return the 95 % percentile interval of one score on resamples `(R,)`."""
    low, high = percentile_interval(resampled)
    return float(low), float(high)


def bootstrap_interval(count: int, statistic: Statistic) -> Interval:
    """Return the corrected 95 % interval of one statistic, defined for some resample."""
    own = np.asarray(statistic(np.ones((count, 1), np.float32)))[..., 0]
    low, high = percentile_interval(bootstrap(count, statistic), own)
    return float(low), float(high)


def mean_of(values: np.ndarray) -> Statistic:
    """Return the mean of a value of each image, `(N,)`, as a statistic."""
    exact = np.asarray(values, np.float64)
    return lambda copies: exact @ copies / copies.sum(0, dtype=np.float64)


def value_of(statistic: Statistic, count: int) -> float | None:
    """Return a statistic of the N images themselves, each once; None if it is not defined."""
    found = float(statistic(np.ones((count, 1), np.float32))[0])
    return None if np.isnan(found) else found


def _copies(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the number of copies of each image in each resample, float32 `(N, B)`."""
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_VALUES // count)
    for start in range(0, resamples, block):
        copies = np.empty((count, min(block, resamples - start)), np.float32)
        for column in range(copies.shape[1]):
            drawn = random.integers(0, count, count)
            copies[:, column] = np.bincount(drawn, minlength=count)
        yield copies
