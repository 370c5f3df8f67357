"""Logits of images together with their features, the input of the head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from rezoo.evaluation.forward import compiled_outputs
from rezoo.evaluation.logits import logits_and_labels, require_finite
from rezoo.models.factory import deep_graphs
from rezoo.models.naming import head_of
from rezoo.specs import Preprocessing

BothForward: TypeAlias = Callable[[Any], tuple[np.ndarray, np.ndarray]]
"""From images `(B, H, W, C)` to logits `(B, K)` and features `(B, D)`; D is 0 without features."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answers to N images.

    Attributes:
        logits: float32 `(N, K)`.
        features: float32 `(N, D)`; D is 0 if they are not needed or the network has none.
        labels: int32 `(N,)`, in the dataset; for multi-label data 0 or 1, `(N, C)`.
    """

    logits: np.ndarray
    features: np.ndarray
    labels: np.ndarray


def forward_with_features(
    network: keras.Model, preprocessing: Preprocessing | None = None, *, needed: bool = True
) -> BothForward:
    """Return the compiled forward pass of a network that gives logits; see `network_of`.

    For `preprocessing` see `compiled_forward`. There are no features if they are not needed, or the
    network has no head.
    """
    head = head_of(network) if needed else None
    with deep_graphs():
        both = keras.Model(network.inputs, [network.output, head.input]) if head else network
        forward = compiled_outputs(both, preprocessing)

    def run(images: Any) -> tuple[np.ndarray, np.ndarray]:
        logits, *found = forward(images)
        none = np.zeros((len(logits), 0), np.float32)
        return logits, found[0].astype(np.float32) if found else none

    return run


def answers(
    forward: BothForward,
    batches: Iterable[tuple[Any, Any]],
    progress: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Return what a network answers to labelled batches.

    Raises:
        NotFoundError: There are no images.
        DivergedError: A logit is not finite.
    """
    found = []
    for (logits, features), labels in logits_and_labels(forward, batches, progress):
        require_finite(logits)
        found.append((logits, features, labels))
    return Answers(*map(np.concatenate, zip(*found, strict=True)))
