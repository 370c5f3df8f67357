"""`create_model`: build a registered architecture as a Keras model with random weights."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rezoo import registry
from rezoo.errors import PluginError, SpecError
from rezoo.models.settings import keras_settings, require_backend, share_gpus
from rezoo.specs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_CLASSES,
    MAX_IMAGE_SIZE,
    ModelConfig,
    ModelSpec,
    Preprocessing,
)

if TYPE_CHECKING:
    import keras

_RECURSION_LIMIT = 20_000  # resnet1202 needs 4,000


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classifier_activation: str | None = None,
    stochastic_depth: float = 0.0,
    seed: int = 0,
    precision: str = "float32",
    features_only: bool = False,
) -> keras.Model:
    """Build an architecture with random weights, without access to disk or network.

    Keras's settings (`keras.json`, `keras.config`, a global dtype policy) do not change the model.

    Args:
        name: A registered architecture, such as `"resnet50"`.
        num_classes: Width of the head; 0 for pooled features instead of logits. If None, that of
            the paper: 1000, or 10 for networks for CIFAR-10.
        input_shape: `(height, width, channels)`; height and width may be None for any size.
        classifier_activation: None for logits, `"softmax"` for probabilities, or another
            activation of Keras.
        stochastic_depth: Probability that training drops the residual branch of the last block, 0
            to below 1. It grows linearly with the depth of the block (arXiv:1603.09382).
        seed: Seed of stochastic depth; the weights do not depend on it.
        precision: Dtype policy of the layers: `"float32"`, or `"mixed_bfloat16"` or
            `"mixed_float16"` to compute in 16 bits. Weights and outputs are float32.
        features_only: Whether the outputs are the feature maps at the end of the stages, a list of
            `(N, h, w, channels)`, in place of logits.

    Returns:
        A functional `keras.Model` from `(N, H, W, C)` to `(N, num_classes)`, float32. Its
        attribute `rezoo_config` is a `ModelConfig` with the preprocessing for ImageNet, or for
        grey images; None if the images have neither 1 nor 3 channels. Its attribute `feature_info`
        has name, channels and stride of each feature map.

    Raises:
        UnknownNameError: There is no such architecture; the hint has similar names.
        SpecError: An argument is out of bounds, or the architecture has no stochastic depth.
        IncompatibleError: Keras runs on a backend that rezoo does not support.
        PluginError: The architecture's plugin does not load or breaks the contract.
    """
    spec = registry.architectures.get(name)
    num_classes = spec.num_classes if num_classes is None else num_classes
    _check(num_classes, input_shape)
    options = dict(spec.config)
    if stochastic_depth:
        _check_stochastic_depth(spec, stochastic_depth)
        options |= {"stochastic_depth": stochastic_depth, "seed": seed}
    require_backend()
    activation = _activation(classifier_activation)

    import keras

    from rezoo.models import feature_maps
    from rezoo.models.configured import with_config

    share_gpus()
    with deep_graphs(), keras_settings(precision):
        model = spec.build(
            name=spec.name,
            input_shape=tuple(input_shape),
            num_classes=num_classes,
            classifier_activation=activation,
            **options,
        )
        if not isinstance(model, keras.Model):
            raise PluginError(
                f"architecture {name!r}: build returned a {type(model).__name__}, not a keras.Model"
            )
        _refuse_replaced_classes(name)
        model = with_config(model, default_config(spec, input_shape, num_classes))
    return feature_maps.features_only(model) if features_only else model


def _refuse_replaced_classes(name: str) -> None:
    """Refuse a plugin that registers a class of its own with Keras under a name of rezoo."""
    import keras

    for key, registered in keras.saving.get_custom_objects().items():
        if key.startswith("rezoo>") and registered.__module__.partition(".")[0] != "rezoo":
            raise PluginError(
                f"architecture {name!r}: {registered.__module__} registers {key!r} with Keras, "
                "which is a name of rezoo",
                hint="the plugin must register its classes under a package name of its own.",
            )


def default_config(
    spec: ModelSpec, input_shape: tuple[int | None, int | None, int], num_classes: int
) -> ModelConfig | None:
    """Return the configuration of an architecture with random weights.

    Its preprocessing has the statistics of ImageNet, or 0.5 for grey images. Sides that are None
    become the architecture's image size. None if there are neither 1 nor 3 channels.
    """
    height, width, channels = input_shape
    if channels not in (1, 3):
        return None
    size = (channels, height or spec.image_size, width or spec.image_size)
    mean, std = ((0.5,), (0.5,)) if channels == 1 else (IMAGENET_MEAN, IMAGENET_STD)
    return ModelConfig(
        architecture=spec.name,
        num_classes=num_classes,
        preprocessing=Preprocessing(input_size=size, mean=mean, std=std),
    )


def start_from_zeros(create: Callable[[], keras.Model], *, new_head: bool = False) -> keras.Model:
    """Return the model that `create` builds, with zeros in place of initial weights.

    For weights that are replaced by those of a file: drawing random numbers takes longer than
    reading them.

    Args:
        create: Builds a model.
        new_head: Whether the weights of the head are drawn nevertheless.
    """
    import keras

    from rezoo.models.naming import HEAD_PREFIXES

    zeros = keras.initializers.Zeros()
    with keras.StatelessScope():  # Keras initializes variables at the end of the scope
        model = create()
        for variable in model.weights:
            name = variable.path.replace("/", ".")
            if not new_head or not name.startswith(HEAD_PREFIXES):
                variable._initializer = zeros
    return model


@contextmanager
def deep_graphs() -> Iterator[None]:
    """Raise Python's recursion limit: Keras walks graphs of thousands of layers by recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _check(num_classes: int, input_shape: tuple[int | None, int | None, int]) -> None:
    if not hasattr(num_classes, "__index__") or not 0 <= num_classes <= MAX_CLASSES:
        raise SpecError(f"num_classes: {num_classes!r}; allowed is 0 to {MAX_CLASSES}")
    if len(input_shape) != 3 or not isinstance(input_shape[2], int) or input_shape[2] < 1:
        raise SpecError(f"input_shape: {input_shape}; it must be (height, width, channels)")
    height, width, channels = input_shape
    if height in (1, 3) and width == channels > 3:
        raise SpecError(
            f"input_shape: {input_shape}; it must be (height, width, channels)",
            hint=f"channels come last: {(width, channels, height)}.",
        )
    for side in input_shape[:2]:
        if side is not None and not 1 <= side <= MAX_IMAGE_SIZE:
            raise SpecError(f"input_shape: {input_shape}; sides are 1 to {MAX_IMAGE_SIZE} or None")


def _check_stochastic_depth(spec: ModelSpec, rate: float) -> None:
    if not 0 < rate < 1:
        raise SpecError(f"stochastic_depth: {rate}; allowed is 0 to below 1")
    if "stochastic_depth" not in inspect.signature(spec.build).parameters:
        raise SpecError(
            f"stochastic_depth: {rate:g}; architecture {spec.name!r} does not support it",
            hint="set stochastic_depth to 0 for this architecture.",
        )


def _activation(name: str | None) -> str | None:
    """Return the name of an activation, or None for the identity."""
    import keras

    try:
        return keras.activations.get(name) and name
    except ValueError as error:
        raise SpecError(
            f"classifier_activation: {name!r} is not an activation of Keras",
            hint="use None for logits or 'softmax' for probabilities.",
        ) from error
