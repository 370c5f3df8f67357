"""Logistic regression on the features of a network: the best head for frozen layers.

Linear probing is the standard measure of pre-trained features (Kornblith et al. 2019,
arXiv:1805.08974, section 3), and the best place to start fine-tuning from: a random head first
sends large, meaningless gradients through layers that were good (Kumar et al. 2022,
arXiv:2202.10054, section 3).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError, ResourceError, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.models.devices import ONE, Devices
from rezoo.models.naming import HEADS, head_of
from rezoo.specs import Preprocessing

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # the C of scikit-learn
FOLDS = 3
MAX_BYTES = 4_000_000_000  # of all features, float32
_ITERATIONS = 100


@dataclass(frozen=True)
class Probe:
    """A head that was fitted to features.

    Attributes:
        kernel: float32 `(D, K)`.
        bias: float32 `(K,)`.
        strength: scikit-learn's `C`, the inverse of the regularization, as chosen.
        scores: For each strength that was tried, its accuracy in cross-validation, over the
            labels of all classes for multi-label data. Empty if there are too few images.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    scores: dict[float, float]

    def __str__(self) -> str:
        text = f"head fitted with strength C = {self.strength:g}"
        if not self.scores:
            return f"{text}: too few images for cross-validation"
        return f"{text}: {self.scores[self.strength]:.2%} in cross-validation"


def fit_head(
    network: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    seed: int,
    devices: Devices = ONE,
) -> tuple[Probe, np.ndarray]:
    """Fit a network's head to features; return the probe and its logits, float32 `(N, K)`.

    All hosts do so, and the first one's head is used.
    """
    probe, layer = fit(inputs, labels, classes, seed=seed), head(network)
    arrays = devices.arrays_from_first({"kernel": probe.kernel, "bias": probe.bias})
    probe = dataclasses.replace(probe, kernel=arrays["kernel"], bias=arrays["bias"])
    layer.kernel.assign(probe.kernel)
    layer.bias.assign(probe.bias)
    return probe, inputs @ probe.kernel + probe.bias


def features(
    network: keras.Model, batches: Iterable[Any], preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input of a network's head for all images, and their labels.

    Args:
        network: The network.
        batches: Pairs of images, uint8 `(B, H, W, C)`, and labels.
        preprocessing: Of the images.

    Returns:
        float32 `(N, D)`, and int32 `(N,)` or, for multi-label data, float32 `(N, K)`.

    Raises:
        IncompatibleError: The network has no head of one dense layer.
        ResourceError: The features take more than 4 GB.
    """
    below = keras.Model(network.inputs, head(network).input)
    forward = compiled_forward(below, preprocessing)
    found, labels, size = [], [], 0
    for images, of_images in batches:
        found.append(np.asarray(forward(images), np.float32))
        labels.append(np.asarray(of_images))
        size += found[-1].nbytes
        if size > MAX_BYTES:
            raise ResourceError(
                f"the features of these images take more than {MAX_BYTES / 1e9:.0f} GB",
                hint="train on data of this size instead: set head_start=random and some epochs.",
            )
    return np.concatenate(found), np.concatenate(labels)


def head(network: keras.Model) -> keras.layers.Dense:
    """Return the network's last dense layer.

    Raises:
        IncompatibleError: It has none with rezoo's name of the head.
    """
    found = head_of(network)
    if found is None:
        raise IncompatibleError(
            f"{network.name} has no dense layer named {' or '.join(HEADS)}, which logistic "
            "regression needs",
            hint="use another recipe, or --set head_start=random.",
        )
    return found


def fit(inputs: np.ndarray, labels: np.ndarray, classes: int, *, seed: int = 0) -> Probe:
    """Fit a head by logistic regression; choose its strength by cross-validation.

    For the fit, features are shifted to mean 0 and divided by one number, their mean standard
    deviation; the returned head takes them unchanged. Multi-label data take one regression for
    each class, all of the same strength. A class without images is never predicted.

    Args:
        inputs: float32 `(N, D)`.
        labels: int `(N,)`, or `(N, K)` of 0 and 1.
        classes: K.
        seed: Of the split into folds.

    Raises:
        SpecError: All images have the same labels.
    """
    mean, deviation = inputs.mean(0), max(float(inputs.std(0).mean()), 1e-12)
    scaled = (inputs - mean) / deviation
    basis = _row_space(scaled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a weak strength that has not converged is not chosen
        strength, scores = _choose(scaled @ basis, labels, seed)
        kernel, bias = _fit(scaled @ basis, labels, classes, [strength])[0]
    kernel = basis @ kernel / deviation
    return Probe(
        kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32), strength, scores
    )


def _row_space(inputs: np.ndarray) -> np.ndarray:
    """Return `(D, R)`: a basis of the space that N < D images span; the fit in it is equal.

    The regularization is invariant to rotations, and directions without data get no weight.
    """
    count, width = inputs.shape
    if count >= width:
        return np.eye(width, dtype=inputs.dtype)
    return np.linalg.qr(inputs.T)[0]


def _choose(inputs: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, dict[float, float]]:
    """Return the best strength in cross-validation, the smallest among equals, and the scores."""
    folds = _folds(labels, seed)
    if not folds:
        return 1e-2, {}
    right = dict.fromkeys(STRENGTHS, 0.0)
    for learned, asked in folds:
        count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        heads = _fit(inputs[learned], labels[learned], count, STRENGTHS)
        for strength, (kernel, bias) in zip(STRENGTHS, heads, strict=True):
            right[strength] += _right(inputs[asked] @ kernel + bias, labels[asked]) / len(folds)
    best = max(STRENGTHS, key=lambda c: (round(right[c], 6), -c))
    return best, right


def _right(logits: np.ndarray, labels: np.ndarray) -> float:
    answers = logits > 0 if labels.ndim == 2 else logits.argmax(1)
    return float((answers == labels).mean())


def _folds(labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the images into folds, each class evenly; return none if there are too few images."""
    from sklearn.model_selection import KFold, StratifiedKFold

    single = labels.ndim == 1
    # not every fold has the rare classes
    most = int(np.median(np.unique(labels, return_counts=True)[1])) if single else len(labels)
    count = min(FOLDS, most)
    if count < 2:
        return []
    splitter = StratifiedKFold if single else KFold
    return list(splitter(count, shuffle=True, random_state=seed).split(labels, labels))


def _fit(
    inputs: np.ndarray, labels: np.ndarray, classes: int, strengths: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a head for each strength."""
    if labels.ndim == 1:
        return [
            _spread(kernel, bias, present, classes)
            for kernel, bias, present in _regressions(inputs, labels, strengths)
        ]
    single = [_single_label(inputs, labels[:, k], strengths) for k in range(classes)]
    return [
        (np.stack([kernel for kernel, _ in heads], axis=1), np.array([bias for _, bias in heads]))
        for heads in zip(*single, strict=True)
    ]


def _regressions(
    inputs: np.ndarray, labels: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield kernel `(D, P)`, bias `(P,)` and the P classes present for each strength.

    Each fit starts from the one before.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise SpecError("all training images have the same class: there is nothing to fit")
    regression = LogisticRegression(
        solver="newton-cg", max_iter=_ITERATIONS, tol=1e-3, warm_start=True
    )
    for strength in strengths:
        regression.set_params(C=strength).fit(inputs, labels)
        kernel, bias = regression.coef_.T, regression.intercept_
        if kernel.shape[1] == 1:  # two classes: one logit, the difference
            kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.array([-bias[0], bias[0]]) / 2
        yield kernel.copy(), bias.copy(), regression.classes_


def _spread(
    kernel: np.ndarray, bias: np.ndarray, present: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the head of all classes; the logits of classes without images are far below."""
    wide = np.zeros((len(kernel), classes))
    wide[:, present] = kernel
    offsets = np.full(classes, bias.min() - 20.0)
    offsets[present] = bias
    return wide, offsets


def _single_label(
    inputs: np.ndarray, labels: np.ndarray, strengths: Sequence[float]
) -> list[tuple[np.ndarray, float]]:
    """Return kernel `(D,)` and bias of one class against the rest for each strength."""
    if len(np.unique(labels)) < 2:
        known = float(np.clip(labels.mean(), 1e-3, 1 - 1e-3))
        return [(np.zeros(inputs.shape[1]), float(np.log(known / (1 - known))))] * len(strengths)
    return [
        (kernel[:, 1] - kernel[:, 0], float(bias[1] - bias[0]))
        for kernel, bias, _ in _regressions(inputs, labels.astype(np.int32), strengths)
    ]
