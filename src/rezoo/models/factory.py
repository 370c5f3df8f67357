"""`create_model`: a registered name becomes a Keras model with random weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rezoo import registry
from rezoo.errors import PluginError, SpecError
from rezoo.specs import MAX_CLASSES, MAX_IMAGE_SIZE

if TYPE_CHECKING:
    import keras

_DEEPEST = 20_000  # calls; resnet1202 needs 4,000


def list_models() -> list[str]:
    """Return the names of all registered architectures, without importing Keras."""
    return registry.architectures.names()


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classifier_activation: str | None = None,
) -> keras.Model:
    """Build an architecture with random weights; touches neither disk nor network.

    Args:
        name: A registered architecture, such as `"resnet50"`.
        num_classes: Width of the head; 0 gives the pooled features instead of logits. By default
            as many as the paper's network has: 1000, or 10 of one for CIFAR-10.
        input_shape: `(height, width, channels)`; heights and widths may be None (any size).
        classifier_activation: None for logits, `"softmax"` for probabilities, or any
            other activation name of Keras.

    Returns:
        A functional `keras.Model` from `(N, H, W, C)` to `(N, num_classes)`, float32.

    Raises:
        UnknownNameError: No such architecture; the hint has near names.
        SpecError: An argument is out of bounds.
        PluginError: The architecture's plugin does not load or breaks the contract.
    """
    spec = registry.architectures.get(name)
    num_classes = spec.num_classes if num_classes is None else num_classes
    _check(num_classes, input_shape)

    import keras

    try:
        activation = keras.activations.get(classifier_activation) and classifier_activation
    except ValueError as error:
        raise SpecError(
            f"classifier_activation: {classifier_activation!r} is no activation of Keras",
            hint="use None for logits or 'softmax' for probabilities.",
        ) from error
    with deep_graphs():
        model = spec.build(
            name=spec.name,
            input_shape=tuple(input_shape),
            num_classes=num_classes,
            classifier_activation=activation,
            **spec.config,
        )
    if not isinstance(model, keras.Model):
        raise PluginError(
            f"architecture {name!r}: build returned a {type(model).__name__}, not a keras.Model"
        )
    return model


@contextmanager
def deep_graphs() -> Iterator[None]:
    """Let Keras walk a graph of thousands of layers, which it does by recursion.

    Python 3.11 and later take no machine stack for it.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _check(num_classes: int, input_shape: tuple[int | None, int | None, int]) -> None:
    if not 0 <= num_classes <= MAX_CLASSES:
        raise SpecError(f"num_classes: {num_classes}; allowed is 0 to {MAX_CLASSES}")
    if len(input_shape) != 3 or not isinstance(input_shape[2], int) or input_shape[2] < 1:
        raise SpecError(f"input_shape: {input_shape}; it must be (height, width, channels)")
    for side in input_shape[:2]:
        if side is not None and not 1 <= side <= MAX_IMAGE_SIZE:
            raise SpecError(f"input_shape: {input_shape}; sides are 1 to {MAX_IMAGE_SIZE} or None")
