"""What may stand where a model is wanted: an architecture's name, or a folder with weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import keras

from rezoo import artifacts, registry
from rezoo.errors import IncompatibleError, NotFoundError, SpecError, UnknownNameError
from rezoo.models.factory import create_model
from rezoo.specs import ModelConfig, Preprocessing

HEAD = "fc"


@dataclass(frozen=True)
class Source:
    """What a model reference points to.

    Attributes:
        reference: As it was given.
        config: The network; a default one where an architecture is named.
        folder: Where the weights are, or None for random ones.
    """

    reference: str
    config: ModelConfig
    folder: Path | None

    @property
    def has_weights(self) -> bool:
        """Whether there are weights, or the network starts from random ones."""
        return self.folder is not None


def resolve(reference: str) -> Source:
    """Find out what a model reference means, without building the network.

    A reference is a registered architecture (`resnet50`: random weights) or the path of a
    folder with `config.json` and `model.safetensors` (a run folder, or one that timm wrote).

    Raises:
        UnknownNameError: Neither; the hint has near names.
        NotFoundError: A path that is not there.
        IncompatibleError: The folder's `config.json` cannot be honoured.
    """
    path = Path(reference).expanduser()
    if reference.startswith(("hf://", "hf-hub:")):
        raise IncompatibleError(
            f"{reference}: this version of rezoo reads no repositories of the Hugging Face Hub",
            hint="download its config.json and model.safetensors into a folder and name that.",
        )
    if path.is_dir():
        return Source(reference, artifacts.read_config(path), path)
    if any(mark in reference for mark in ("/", "\\")) or reference.startswith((".", "~")):
        if path.exists():
            raise NotFoundError(
                f"{reference} is a file", hint="name the folder that holds config.json."
            )
        raise NotFoundError(f"no such folder: {reference}", hint="check the path.")
    try:
        spec = registry.architectures.get(reference)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}, and there is no folder of that name", hint=error.hint
        ) from None
    size = (3, spec.image_size, spec.image_size)
    config = ModelConfig(
        architecture=reference,
        num_classes=1000,
        preprocessing=Preprocessing(input_size=size),
    )
    return Source(reference, config, None)


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
