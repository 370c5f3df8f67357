"""What may stand where a model is wanted: an architecture's name, or a folder with weights.

Loads without Keras, so a wrong name is answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rezoo import registry
from rezoo.configs import read_config
from rezoo.errors import IncompatibleError, NotFoundError, SpecError, UnknownNameError
from rezoo.specs import ModelConfig, Preprocessing


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
        return Source(reference, read_config(path), path)
    if any(mark in reference for mark in ("/", "\\")) or reference.startswith((".", "~")):
        if path.exists():
            raise NotFoundError(
                f"{reference} is a file", hint="name the folder that holds config.json."
            )
        raise NotFoundError(f"no such folder: {reference}", hint="check the path.")
    try:
        size = registry.architectures.get(reference).image_size
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}, and there is no folder of that name", hint=error.hint
        ) from None
    config = ModelConfig(
        architecture=reference,
        num_classes=1000,
        preprocessing=Preprocessing(input_size=(3, size, size)),
    )
    return Source(reference, config, None)


def resolve_weights(reference: str) -> Source:
    """Resolve a reference that must have weights; raises as `resolve` does.

    Raises:
        SpecError: It names an architecture, whose weights would be random.
    """
    source = resolve(reference)
    if not source.has_weights:
        raise SpecError(
            f"{reference} has no weights: a bare architecture would guess at random",
            hint="name a folder with weights, such as a run of rezoo train.",
        )
    return source
