"""Class activation maps: how much each position of an image adds to a logit.

"Learning Deep Features for Discriminative Localization", arXiv:1512.04150, section 2. They are
exact for networks that end in global average pooling and one linear layer: the mean of a map is
the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import matplotlib
import numpy as np
from PIL import Image

from rezoo.data.image_files import image_of
from rezoo.errors import DivergedError, IncompatibleError, SpecError
from rezoo.evaluation.calibrating.unknown import Refusal
from rezoo.evaluation.class_names import class_indices
from rezoo.evaluation.explaining.linear_head import linear_head, nested_config
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.evaluation.logits import Forward
from rezoo.evaluation.pictures import Pictures, as_list, prepare_all
from rezoo.evaluation.predict import found_pictures
from rezoo.models.normalization import visible
from rezoo.sources.any_model import AnyModel, source_of, source_of_model
from rezoo.sources.references import Source
from rezoo.specs import MAX_IMAGE_SIZE, Preprocessing
from rezoo.utils.gpu_faults import warn_of_gpu_faults

_COLOURS = "plasma"  # ascending in lightness: also readable in grey and by the colour-blind
_OPACITY = 0.85  # of the largest value


@dataclass(frozen=True, eq=False, repr=False)
class ActivationMaps:
    """Class activation maps of images.

    Attributes:
        maps: float32 `(N, h, w)`, the size of the last feature map. The mean of a map is the logit
            of its class.
        classes: Class of each map, as an index in the head, int64 `(N,)`.
        labels: Name of that class.
        logits: float32 `(N, K)`.
        pixels: The images as the network gets them, without the normalization: uint8
            `(N, H, W, C)`.
    """

    maps: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...]
    logits: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        count, height, width = self.maps.shape
        labels = ", ".join(map(repr, self.labels[:3])) + (", …" if count > 3 else "")
        return f"<ActivationMaps: {count} of {height}×{width}, of {labels}>"

    def overlay(self, index: int) -> Image.Image:
        """Return an image with its map laid over it; see `overlay`."""
        return Image.fromarray(overlay(self.pixels[index], self.maps[index]))


def activation_map(
    model: AnyModel,
    images: Pictures,
    classes: str | int | Sequence[str | int] | None = None,
    *,
    pretrained: bool = False,
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
) -> ActivationMaps:
    """Compute how much each position of an image adds to the logit of a class.

    The map of class k is `sum_c w[c, k] · f[y, x, c] + b[k]`, f being the last feature map, w and b
    the linear head (arXiv:1512.04150, section 2). Its mean over the positions is the logit. It
    equals Grad-CAM (arXiv:1610.02391, section 3) of the last feature map, before its ReLU, times
    the number of positions, plus the bias.

    Args:
        model: A reference with weights, a model of rezoo, or a functional `keras.Model` that calls
            one as a layer. If its images enter that network first, the preprocessing is known;
            otherwise, set its `rezoo_config`.
        images: Files, folders, patterns, bytes, Pillow images or arrays, as in `predict`.
        classes: Name of a class, or its index in the head, for all images or one for each. If
            None, the most likely class of each image.
        pretrained: Whether an architecture stands for its default published weights.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: `"center"`, `"squash"` or `"border"`, see `Preprocessing`; None for that of the
            weights.

    Returns:
        The maps, in the order of the images.

    Raises:
        SpecError: The reference has no weights, or an argument is not allowed.
        UnknownNameError: The network has no such class; the hint has similar names.
        NotFoundError: A path does not exist, or no image is found.
        IntegrityError: An image cannot be read; the message has its path or number.
        IncompatibleError: The network does not end in global average pooling and one linear layer,
            or its last feature map has fewer than two positions.
        DivergedError: A logit is not finite.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    source = mapped_source(model, pretrained=pretrained, image_size=image_size)
    pictures = found_pictures(as_list(images))
    preprocessing = source.config.preprocessing.for_test().at(image_size, crop_mode)
    wanted = class_indices(classes, source.config, len(pictures))
    forward = FeatureForward(model, source, preprocessing)
    warn_of_gpu_faults()
    chosen, maps, logits, pixels = [], [], [], []
    for start in range(0, len(pictures), batch_size):
        inputs = prepare_all(pictures[start : start + batch_size], preprocessing, first=start)
        logits.append(forward(inputs))
        likeliest = forward.logits.argmax(axis=1)
        chosen.append(likeliest if wanted is None else wanted[start : start + batch_size])
        maps.append(forward.maps(chosen[-1]))
        pixels.append(visible(inputs, preprocessing))
    indices = np.concatenate(chosen)
    return ActivationMaps(
        maps=np.concatenate(maps),
        classes=indices,
        labels=tuple(map(source.config.label, indices.tolist())),
        logits=np.concatenate(logits),
        pixels=np.concatenate(pixels),
    )


class FeatureForward:
    """The compiled forward pass of a network, from which logits and maps come.

    Attributes:
        inputs: Inputs of the last batch, float32 `(N, H, W, C)`.
        logits: Its logits, float32 `(N, K)`.
        refusal: The rule by which an image is unknown; None without one.

    Raises:
        IncompatibleError: As `activation_map`.
        DivergedError: A logit is not finite.
    """

    def __init__(self, model: AnyModel, source: Source, preprocessing: Preprocessing) -> None:
        network = network_of(model, source)
        head = linear_head(network)
        _require_positions(network.name, head.features, preprocessing)
        self._run: Forward = compiled_forward(head.features)
        self._kernel, self._bias = head.weights()
        self.refusal = Refusal.of(source.config, network)
        self._features = self.inputs = np.zeros((0, 1, 1, 1), np.float32)
        self.logits = np.zeros((0, 1), np.float32)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the logits of a batch, float32 `(N, K)`; they must be finite."""
        self.inputs, self._features = inputs, self._run(inputs).astype(np.float32)
        self.logits = self._features.mean(axis=(1, 2)) @ self._kernel + self._bias
        if not np.isfinite(self.logits).all():
            raise DivergedError(
                "the network's logits are not finite",
                hint="`rezoo verify` compares its weights with their record.",
            )
        return self.logits

    def both(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits of a batch, and its features, the input of the head `(N, D)`."""
        return self(inputs), self._features.mean(axis=(1, 2))

    def maps(self, classes: np.ndarray) -> np.ndarray:
        """Return the map of a class for each image of the last batch, float32 `(N, h, w)`."""
        weights = self._kernel.T[classes]
        found = np.einsum("nhwc,nc->nhw", self._features, weights, optimize=True)
        return np.asarray(found + self._bias[classes][:, None, None])


def mapped_source(
    model: AnyModel, *, pretrained: bool = False, image_size: int | None = None
) -> Source:
    """Return the source of a model, as `source_of`; also of one that has a network as a layer."""
    if isinstance(model, keras.Model) and (config := nested_config(model)):
        return source_of_model(model, config, image_size)
    return source_of(model, pretrained=pretrained, image_size=image_size)


def _require_positions(name: str, features: keras.Model, preprocessing: Preprocessing) -> None:
    """Raise `IncompatibleError` if the last feature map has fewer than two positions."""
    height, width = preprocessing.size
    if _positions(features, height, width) > 1:
        return
    side, of_any_size = max(height, width), features.inputs[0].shape[1] is None
    while of_any_size and side <= MAX_IMAGE_SIZE and _positions(features, side, side) <= 1:
        side *= 2
    raise IncompatibleError(
        f"the last feature map of {name} has fewer than two positions for images of "
        f"{height}x{width} pixels: a map would show nothing",
        hint=f"use larger images: image_size {side} (--image-size {side})."
        if of_any_size
        else "load the model without input_shape and use larger images.",
    )


def _positions(features: keras.Model, height: int, width: int) -> int:
    """Return the number of positions of a feature map; 0 if the images are too small."""
    channels = features.inputs[0].shape[-1]
    try:
        shape: Any = features.compute_output_shape((1, height, width, channels))
    except ValueError:  # a kernel is larger than its input
        return 0
    return int(shape[1] * shape[2])


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay a map over its picture: grey where it is zero or negative, coloured where it is positive.

    Colour and opacity grow with the values, from 0 to the largest one; see `enlarged`.

    Args:
        pixels: The picture, uint8 `(H, W, 3)` or `(H, W, 1)`.
        values: The map, float `(h, w)`.

    Returns:
        RGB, uint8 `(H, W, 3)`.
    """
    most = max(float(np.max(values)), 0)
    large = enlarged(values, pixels.shape[:2])
    strength = np.clip(large / most, 0, 1) if most else np.zeros_like(large)
    grey = np.asarray(image_of(pixels).convert("L"), np.float32)[:, :, None]
    colours = 255 * matplotlib.colormaps[_COLOURS](strength)[:, :, :3]
    opacity = _OPACITY * strength[:, :, None]
    return np.rint((1 - opacity) * grey + opacity * colours).astype(np.uint8)


def magnified(pixels: np.ndarray, side: int) -> np.ndarray:
    """Repeat the pixels of an image `(H, W, C)` whose longer side is half of `side` or less."""
    times = max(1, side // max(pixels.shape[:2]))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def enlarged(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map, float `(h, w)`, to a height and width in pixels by bicubic interpolation."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))
