"""How far the confidence of a network can be trusted: calibration error, Brier score, curve.

The confidence of an image is the largest softmax. All functions are for single-label predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.intervals import Interval, wilson_interval

BINS = 15
_SCALES = np.linspace(0.0, 3.0, 31)
_DRAWS = 1000
_ROWS = 4096  # images whose softmax is held at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityCurve:
    """Confidence and accuracy in bins of equally many images, in ascending order of confidence.

    Attributes:
        confidence: Mean confidence in each bin, float64 `(B,)`.
        accuracy: Fraction of right predictions in each bin, float64 `(B,)`.
        count: Number of images in each bin, int64 `(B,)`.
        low: Lower end of the 95 % Wilson interval of the accuracy, float64 `(B,)`.
        high: Upper end.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over the images of |accuracy - confidence|."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.count * gaps).sum() / self.count.sum())


def confidences(predictions: Predictions) -> np.ndarray:
    """Return the softmax of the predicted class of each image, float64 `(N,)`."""
    return np.concatenate([shares.max(1) for shares, _ in _parts(predictions)])


def brier_scores(predictions: Predictions) -> np.ndarray:
    """Return the Brier score of each image, float64 `(N,)`, from 0 to 2.

    It is the sum over all classes of the head of (softmax - truth)², where the truth is 1 for the
    class of the image and 0 for the others (Brier 1950, equation 2). Their mean is the Brier
    score of the network.
    """
    found = []
    for error, truth in _parts(predictions):
        error[np.arange(len(truth)), truth] -= 1
        found.append((error**2).sum(1))
    return np.concatenate(found)


def reliability_curve(confidence: np.ndarray, right: np.ndarray) -> ReliabilityCurve:
    """Return the curve of N images in bins of equally many: see `bins_of`.

    Args:
        confidence: Of each image, float `(N,)`.
        right: Whether each prediction is right, bool `(N,)`.
    """
    _, places = np.unique(bins_of(confidence), return_inverse=True)
    count = np.bincount(places)
    hits = np.bincount(places, right)
    intervals = [wilson_interval(int(h), int(n)) for h, n in zip(hits, count, strict=True)]
    low, high = np.array(intervals).T
    return ReliabilityCurve(
        confidence=np.bincount(places, confidence) / count,
        accuracy=hits / count,
        count=count,
        low=low,
        high=high,
    )


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error (ECE) with bins of equally many images.

    It is the mean over the images of |accuracy - mean confidence| of their bin: the error of
    Guo et al. 2017, section 2, with the bins of Nixon et al. 2019, section 3, and Kumar et al.
    2019, section 3.
    """
    return reliability_curve(confidence, right).error


def calibration_interval(confidence: np.ndarray, right: np.ndarray, *, seed: int = 0) -> Interval:
    """Return a 95 % interval of the error that `calibration_error` estimates.

    The estimate is too large on average, since chance alone makes accuracy differ from confidence
    in each bin: a bootstrap, which adds chance to chance, would miss the error. Here the gaps of
    the bins are multiplied by t from 0 (perfect calibration) to 3. For each t, 1000 estimates are
    drawn: the right predictions of a bin are binomial. The interval has the errors of all t that
    a test at 5 % does not exclude. The test orders estimates by their likelihood relative to the
    most likely t (Feldman and Cousins 1998, section IV.B). So the interval begins at 0 if perfect
    calibration cannot be excluded.

    Args:
        confidence: Of each image, float `(N,)`.
        right: Whether each prediction is right, bool `(N,)`.
        seed: Seed of the draws.
    """
    curve = reliability_curve(confidence, right)
    random, share = np.random.default_rng(seed), curve.count / curve.count.sum()
    gaps = curve.accuracy - curve.confidence
    accuracies = np.clip(curve.confidence + _SCALES[:, None] * gaps, 0.0, 1.0)
    errors = np.abs(accuracies - curve.confidence) @ share
    size = (len(_SCALES), _DRAWS, len(share))
    drawn = random.binomial(curve.count, accuracies[:, None], size) / curve.count
    margin = _margins(curve.error, np.abs(drawn - curve.confidence) @ share)
    return _ends(errors, margin)


def _margins(found: float, drawn: np.ndarray) -> np.ndarray:
    """Return how far each of T candidates is from exclusion, `(T,)`; below 0 it is excluded.

    Args:
        found: The estimate.
        drawn: Estimates drawn under each candidate, `(T, draws)`. Their distributions are close
            to normal, which the likelihood assumes. The critical value assumes nothing.
    """
    mean, spread = drawn.mean(1), np.maximum(drawn.std(1), 1e-12)

    def relative(estimates: np.ndarray) -> np.ndarray:  # log-likelihood of each candidate
        likelihood = -0.5 * ((estimates[..., None] - mean) / spread) ** 2 - np.log(spread)
        return likelihood - likelihood.max(-1, keepdims=True)

    own = np.stack([relative(row)[:, place] for place, row in enumerate(drawn)])
    return relative(np.array(found)) - np.percentile(own, 5, axis=1)


def _ends(errors: np.ndarray, margin: np.ndarray) -> Interval:
    """Return the first and the last error whose margin is 0, interpolated between candidates."""
    kept = np.flatnonzero(margin >= 0)
    first, last = (kept[0], kept[-1]) if len(kept) else (margin.argmax(), margin.argmax())
    low, high = errors[first], errors[last]
    if first > 0 and len(kept):
        low = np.interp(0.0, margin[first - 1 : first + 1], errors[first - 1 : first + 1])
    if last + 1 < len(errors) and len(kept):
        high = np.interp(0.0, margin[last : last + 2][::-1], errors[last : last + 2][::-1])
    return float(low), float(high)


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each image, int64 `(N,)`, ascending with the confidence.

    The sorted images are cut into `BINS` parts whose sizes differ by at most one. Images with the
    same confidence are in the same bin, the lowest that one of them falls into, so the order of
    the images does not matter.
    """
    count = len(confidence)
    sizes = np.full(BINS, count // BINS)
    sizes[: count % BINS] += 1  # as numpy.array_split
    _, level, images = np.unique(confidence, return_inverse=True, return_counts=True)
    first = images.cumsum() - images
    return np.searchsorted(sizes.cumsum(), first, side="right")[level]


def _parts(predictions: Predictions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield softmax and truth of some images at a time, for the softmax of all is large."""
    for start in range(0, len(predictions), _ROWS):
        rows = slice(start, start + _ROWS)
        yield softmax(predictions.logits[rows].astype(np.float64), axis=1), predictions.truth[rows]
