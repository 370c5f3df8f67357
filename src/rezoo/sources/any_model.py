"""A model by reference or as an object: what it is, and what it was trained on.

Loads without Keras.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from rezoo.artifacts.run_files import local_facts, read_recipe_of_run
from rezoo.errors import SpecError
from rezoo.sources.references import Source, WithFolder, resolve_weights
from rezoo.specs import ModelConfig

if TYPE_CHECKING:
    import keras

AnyModel: TypeAlias = Union[str, Path, WithFolder, Source, "keras.Model"]
"""What names a network: a reference, a run of `train`, or a `keras.Model`."""


def source_of(
    model: AnyModel, *, pretrained: bool = False, image_size: int | None = None
) -> Source:
    """Return the source of a reference with weights, or of a model of rezoo.

    Args:
        model: A reference with weights, or a `keras.Model` with the attribute `rezoo_config`. If
            its input has a fixed height and width, they replace those of its preprocessing.
        pretrained: Whether an architecture stands for its default published weights.
        image_size: Height and width that images will have, or None.

    Raises:
        SpecError: The reference has no weights; the model has no `rezoo_config`, or its input has
            another fixed size than `image_size`. Otherwise as `rezoo.sources.references.resolve`.
    """
    config = getattr(model, "rezoo_config", None)
    if isinstance(config, ModelConfig):
        return source_of_model(model, config, image_size)
    if hasattr(model, "layers"):
        name = getattr(model, "name", "")
        raise SpecError(
            f"the model {name!r} has no rezoo_config: its preprocessing is not known",
            hint="use a model of rezoo.load, or set model.rezoo_config to a ModelConfig.",
        )
    return resolve_weights(model, pretrained=pretrained)


def source_of_model(model: keras.Model, config: ModelConfig, image_size: int | None) -> Source:
    """Return the source of a model with this configuration; arguments as of `source_of`."""
    fixed = model.input_shape[1:3]
    if None in fixed:
        return Source(model.name, config)
    if image_size is not None and fixed != (image_size, image_size):
        raise SpecError(
            f"image_size: {image_size}; the input of the model is {fixed[0]}x{fixed[1]}",
            hint="load the model without input_shape: it then takes images of any size.",
        )
    test = config.preprocessing.for_test()
    fitted = dataclasses.replace(test, input_size=(test.channels, *fixed))
    return Source(model.name, dataclasses.replace(config, preprocessing=fitted))


def own_dataset(source: Source) -> str | None:
    """Return the dataset that the run of a source was trained on, if it is recorded."""
    return local_facts(source.folder).get("dataset") if source.folder else None


def own_val_fraction(source: Source) -> float | None:
    """Return the part of train that the run of a source held out, if its recipe has chosen it."""
    return read_recipe_of_run(source.folder).get("val_fraction") if source.folder else None
