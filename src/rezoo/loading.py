"""`load`: a model reference becomes a Keras model with its weights."""

from __future__ import annotations

import dataclasses

import keras

from rezoo import artifacts
from rezoo.errors import SpecError
from rezoo.models.factory import create_model
from rezoo.references import Source, resolve

HEAD = "fc"


def build(
    source: Source,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classifier_activation: str | None = None,
) -> keras.Model:
    """Build the network of a source and fill it with the source's weights, if it has any."""
    config = source.config
    channels = config.preprocessing.channels
    classes = config.num_classes if num_classes is None else num_classes
    shape = (None, None, channels) if input_shape is None else input_shape
    if source.has_weights and shape[2] != channels:
        raise SpecError(
            f"input_shape: {shape[2]} channels; the weights of {source.reference} take {channels}"
        )
    model = create_model(
        config.architecture,
        num_classes=classes,
        input_shape=shape,
        classifier_activation=classifier_activation,
    )
    if source.folder is not None:
        new_head = HEAD if classes != config.num_classes else ""
        artifacts.load_weights(model, source.folder, new_head=new_head)
    return model


def load(
    reference: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classifier_activation: str | None = None,
) -> keras.Model:
    """Load a network with its weights.

    Args:
        reference: A folder with `config.json` and `model.safetensors` (a run folder, or one
            that timm wrote), or an architecture's name for random weights.
        num_classes: Width of the head. Another one than the weights have gives a new head
            with random weights; 0 gives pooled features.
        input_shape: `(height, width, channels)`; `(None, None, C)`, any size, where not given.
        classifier_activation: None for logits, `"softmax"` for probabilities.

    Returns:
        A functional `keras.Model` from `(N, H, W, C)` float32 to `(N, num_classes)` float32.
        Its attribute `rezoo_config` is the `ModelConfig`: preprocessing and class names.

    Raises:
        UnknownNameError: No such architecture or folder.
        NotFoundError: A file is missing.
        IntegrityError: A file is damaged, or values are not finite.
        IncompatibleError: The tensors do not fit the architecture; all differences are named.
    """
    source = resolve(reference)
    model = build(
        source,
        num_classes=num_classes,
        input_shape=input_shape,
        classifier_activation=classifier_activation,
    )
    config = source.config
    if num_classes is not None and num_classes != config.num_classes:
        config = dataclasses.replace(
            config, num_classes=num_classes, class_names=(), class_descriptions=()
        )
    model.rezoo_config = config
    return model
