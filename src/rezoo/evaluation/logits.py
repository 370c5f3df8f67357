"""What networks give for images and batches of them: logits.

Loads without Keras and TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from rezoo.errors import DivergedError, NotFoundError

Forward = Callable[[Any], np.ndarray]
"""From images `(B, H, W, C)` to logits `(B, K)`."""
T = TypeVar("T")


def logits_and_labels(
    forward: Callable[[Any], T], batches: Iterable[tuple[Any, Any]], progress: Callable[[int], None]
) -> Iterator[tuple[T, np.ndarray]]:
    """Yield what the network gives, and the labels of each batch.

    `progress` gets the number of images done.

    Raises:
        NotFoundError: There are no images.
    """
    done = 0
    for images, labels in batches:
        yield forward(images), np.asarray(labels)
        done += len(labels)
        progress(done)
    if not done:
        raise NotFoundError("the split has no images", hint="choose another with --split.")


def require_finite(logits: np.ndarray) -> None:
    """Raise `DivergedError` if a logit is NaN or infinite."""
    if not np.isfinite(logits).all():
        raise DivergedError(
            "the network's logits are not finite", hint="train it again with a lower --lr."
        )
