"""Images of none of the classes: scores that are low for them, and the threshold below which.

| score | of an image | source |
|---|---|---|
| energy | T logsumexp(logits / T): the energy with its sign changed | Liu et al. 2020, equation 4 |
| similarity | largest cosine between its features and the mean features of a class | below |
| probability | largest softmax; for comparison, it is never stored | Hendrycks and Gimpel 2017 |

Liu et al. is arXiv:2010.03759, Hendrycks and Gimpel arXiv:1610.02136. T is the temperature of
`rezoo calibrate`. Features are the input of the head. The mean features of a class, over training
images, are those of Lee et al. 2018 (arXiv:1807.03888, section 2.1); the cosine needs no
covariance, which few images per class do not determine.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rezoo.confidence import ENERGY, PROBABILITY, SIMILARITY
from rezoo.errors import RunWarning
from rezoo.evaluation.calibrating.features import BothForward, forward_with_features
from rezoo.evaluation.logits import require_finite
from rezoo.evaluation.predictions import log_sum_exp
from rezoo.evaluation.scoring.intervals import Z_95
from rezoo.specs import ModelConfig, Preprocessing

if TYPE_CHECKING:
    import keras

FOLDS = 5


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return T logsumexp(logits / T) of logits `(N, K)`, float64 `(N,)`."""
    return temperature * log_sum_exp(np.asarray(logits, np.float64) / temperature)


def similarity(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the largest cosine between features `(N, D)` and class means, float64 `(N,)`.

    `means` are of length 1, `(M, D)`.
    """
    return (_unit(features) @ np.asarray(means, np.float64).T).max(axis=-1)


def probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the largest softmax of logits `(N, K)` divided by T, float64 `(N,)`."""
    scaled = np.asarray(logits, np.float64) / temperature
    return np.exp(scaled.max(axis=-1) - log_sum_exp(scaled))


def class_means(features: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Return the direction of each class's mean features, float32 `(classes, D)` of length 1.

    Classes without images have zeros, which no image is similar to.
    """
    means = np.zeros((classes, features.shape[1]))
    np.add.at(means, truth, np.asarray(features, np.float64))
    return _unit(means).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def all_scores(
    logits: np.ndarray,
    features: np.ndarray,
    *,
    temperature: float = 1.0,
    means: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return each score that can be computed, float64 `(N,)`: without means, no similarity."""
    found = {ENERGY: energy(logits, temperature)}
    if means is not None:
        found[SIMILARITY] = similarity(features, means)
    return {**found, PROBABILITY: probability(logits, temperature)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Refusal:
    """The rule by which an image is unknown: its score is below the threshold.

    Attributes:
        score: `"energy"` or `"similarity"`.
        threshold: Of the score.
        temperature: T, for the energy.
        means: Class means `(M, D)` of length 1, for the similarity; else None.
    """

    score: str
    threshold: float
    temperature: float
    means: np.ndarray | None = None

    @classmethod
    def of(cls, config: ModelConfig, network: keras.Model) -> Self | None:
        """Return the rule of a network of `rezoo.load`, None if it has no threshold.

        It is None with a warning, too, if the class means are needed and the network lacks them.
        """
        calibration = config.calibration
        if calibration is None or not calibration.score:
            return None
        means = None
        if calibration.score == SIMILARITY:
            means = getattr(network, "rezoo_class_means", None)
            if means is None:
                text = f"{network.name} lacks its class means: no image is refused as unknown"
                warnings.warn(RunWarning(f"{text}; rezoo.load reads them"), stacklevel=2)
                return None
        return cls(
            score=calibration.score,
            threshold=calibration.threshold,
            temperature=calibration.temperature,
            means=means,
        )

    def scores(self, logits: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the score of each image, float64 `(N,)`."""
        if self.means is None:
            return energy(logits, self.temperature)
        return similarity(features, self.means)


def forward_for(network: keras.Model, refusal: Refusal | None) -> BothForward:
    """Return the compiled forward pass, with the features that a rule needs, if it needs them."""
    needed = refusal is not None and refusal.means is not None
    return forward_with_features(network, needed=needed)


class ScoredForward:
    """A forward pass that keeps each score of the images it has seen.

    Args:
        network: It gives logits; see `network_of`.
        config: Of the network; its calibration has the temperature.
        preprocessing: As for `compiled_forward`.
    """

    def __init__(
        self, network: keras.Model, config: ModelConfig, preprocessing: Preprocessing | None = None
    ) -> None:
        self._means = getattr(network, "rezoo_class_means", None)
        self._temperature = config.calibration.temperature if config.calibration else 1.0
        needed = self._means is not None
        self._forward = forward_with_features(network, preprocessing, needed=needed)
        self._found: list[dict[str, np.ndarray]] = []

    def __call__(self, images: Any) -> np.ndarray:
        """Return the logits `(B, K)` of images; raises `DivergedError` if one is not finite."""
        logits, features = self._forward(images)
        require_finite(logits)
        self._found.append(
            all_scores(logits, features, temperature=self._temperature, means=self._means)
        )
        return logits

    def scores(self) -> dict[str, np.ndarray]:
        """Return the scores of all images so far, as `all_scores`; there must be one."""
        return {name: np.concatenate([x[name] for x in self._found]) for name in self._found[0]}


def held_out_auroc(
    scores: Callable[..., Mapping[str, np.ndarray]],
    logits: np.ndarray,
    features: np.ndarray,
    truth: np.ndarray,
    means: np.ndarray | None,
) -> dict[str, float]:
    """Return the AUROC of each score on classes that are left out of the head.

    The classes are divided into `FOLDS` parts. The logits and means of one part are dropped; its
    images are the unknown ones. The result is the mean over the parts. It is optimistic: the
    features were trained with these classes, and the head to give their images low logits of the
    other classes, which favours the energy.

    Args:
        scores: `all_scores` with a temperature.
        logits: `(N, K)`.
        features: `(N, D)`.
        truth: Class of each image, int `(N,)`; there are at least two.
        means: `(K, D)` of length 1, or None.
    """
    present = np.random.default_rng(0).permutation(np.unique(truth))
    found: dict[str, list[float]] = {}
    for part in np.array_split(present, min(FOLDS, len(present))):
        kept, unknown = np.setdiff1d(np.arange(logits.shape[1]), part), np.isin(truth, part)
        without = scores(logits[:, kept], features, means=None if means is None else means[kept])
        for name, values in without.items():
            found.setdefault(name, []).append(auroc(values[~unknown], values[unknown]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def threshold_for(scores: np.ndarray, false_alarms: float) -> float:
    """Return a threshold that refuses at most a fraction of known images `(N,)`.

    It lies in the middle between two scores, so that their rounding does not matter.
    """
    ordered, refused = np.sort(scores), math.floor(false_alarms * len(scores) + 1e-9)
    return float(ordered[[max(refused - 1, 0), refused]].mean())


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Return the probability that a known image has the higher score; ties count half."""
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([1, 0], [len(known), len(unknown)])
    return float(roc_auc_score(truth, np.concatenate([known, unknown])))


def auroc_interval(known: np.ndarray, unknown: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the AUROC: DeLong's, on the scale of log odds.

    DeLong et al. 1988, Biometrics 44:837; the log odds are Pepe's (2003, section 5.2.5). In
    simulations with 60 to 500 images of each kind it held in 92 to 97 % of the cases up to an
    AUROC of 0.97. If the scores do not overlap, it ends where that has a probability of 2.5 %.
    """
    from scipy.stats import rankdata

    m, n = len(known), len(unknown)
    ranks = rankdata(np.concatenate([known, unknown]))
    above = (ranks[:m] - rankdata(known)) / n  # part of the unknown below each known image
    below = 1 - (ranks[m:] - rankdata(unknown)) / m
    area = above.mean()
    if min(m, n) < 2 or not 0 < area < 1:
        edge = 0.025 ** (1 / min(m, n))
        return (edge, 1.0) if area == 1 else (0.0, 1.0 if area else 1 - edge)
    error = math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    low, high = odds - Z_95 * error, odds + Z_95 * error
    return 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))


def best_score(held_out: Mapping[str, float]) -> str:
    """Return the score with the largest AUROC, the energy among equals."""
    candidates = [name for name in (ENERGY, SIMILARITY) if name in held_out]
    return max(candidates, key=lambda name: held_out[name])
