"""`features`: what layers of a network give for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.errors import IntegrityError, SpecError
from rezoo.evaluation.forward import compiled_outputs
from rezoo.evaluation.pictures import Pictures, as_list
from rezoo.evaluation.predict import found_pictures, inputs_of
from rezoo.models.factory import deep_graphs
from rezoo.models.feature_maps import POOLED, stage_outputs, tensors_of
from rezoo.sources.any_model import AnyModel, source_of
from rezoo.sources.load import load
from rezoo.utils.files import replacing
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.live_line import Progress, counted


@dataclass(frozen=True, eq=False)
class Features:
    """What layers of a network give for N images.

    Attributes:
        arrays: Name of a layer or stage → float32 `(N, D)` or `(N, h, w, channels)`.
        images: Path of each of the N images; for an image that is no file, its number.
        errors: Path or number of each image that cannot be decoded → why.
    """

    arrays: Mapping[str, np.ndarray]
    images: tuple[str, ...]
    errors: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the array of a layer or stage."""
        return self.arrays[name]

    def save(self, path: str | Path) -> None:
        """Write a `.npz` file: the arrays by their names, and `images`."""
        content: dict[str, Any] = {"images": np.array(self.images, np.str_), **self.arrays}
        with replacing(Path(path)) as file:
            np.savez(file, **content)


def features(
    model: AnyModel,
    images: Pictures,
    *,
    layers: Sequence[str] | None = None,
    pretrained: bool = False,
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    progress: Progress = True,
) -> Features:
    """Return what layers of a network give for images, with the preprocessing of the weights.

    Args:
        model: A reference with weights, or a model of rezoo.
        images: Files, folders, patterns and images, as for `predict`.
        layers: Names of layers (`"layer1.0.conv1"`), and of stages (`"layer4"`, `"stages.3"`) for
            the feature map at their end. None for the pooled vector, `"global_pool"`; of a model
            with `features_only`, for all stages.
        pretrained: Whether an architecture stands for its default published weights.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: `"center"`, `"squash"` or `"border"`, see `Preprocessing`; None for that of the
            weights.
        progress: Called with the number of images done and the total; by default they
            are shown on a terminal and in a notebook. None for silence.

    Raises:
        UnknownNameError: There is no such layer; the hint has similar names.
        SpecError: The reference has no weights, or an argument is out of bounds.
        NotFoundError: A path does not exist, or no image is found.
        IntegrityError: No image can be decoded.
    """
    if batch_size < 1 or (layers is not None and not layers):
        raise SpecError("batch_size must be 1 or more, and layers None or some names")
    show = counted(progress, "computing features")
    source = source_of(model, pretrained=pretrained, image_size=image_size)
    pictures = found_pictures(as_list(images))
    preprocessing = source.config.preprocessing.for_test().at(image_size, crop_mode)
    network = model if isinstance(model, keras.Model) else load(source)
    names = list(dict.fromkeys(layers or _usual(network)))
    with deep_graphs():
        part = keras.Model(network.input, tensors_of(network, names))
    forward = compiled_outputs(part)
    warn_of_gpu_faults()
    found: list[list[np.ndarray]] = []
    read: list[str] = []
    errors: dict[str, str] = {}
    for start in range(0, len(pictures), batch_size):
        batch = dict(enumerate(pictures[start : start + batch_size], start))
        named = {n: p if isinstance(p, str) else str(n) for n, p in batch.items()}
        inputs, refused = inputs_of(batch, preprocessing)
        read += [named[n] for n in inputs]
        errors |= {named[n]: reason for n, reason in refused.items()}
        if inputs:
            found.append(forward(np.stack(list(inputs.values()))))
        show(start + len(batch), len(pictures))
    if not found:
        raise IntegrityError(f"none of {len(pictures)} images can be decoded")
    arrays = (np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True))
    return Features(dict(zip(names, arrays, strict=True)), tuple(read), errors)


def _usual(network: keras.Model) -> Sequence[str]:
    names = {layer.name for layer in network.layers}
    return [POOLED] if POOLED in names else list(stage_outputs(network))
