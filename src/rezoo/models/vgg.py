"""VGG: "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556.

What residual networks were measured against: table 1, columns D (16 layers) and E (19), with or
without batch normalization. Stages of 3x3 convolutions with a max pooling after each, then three
fully connected layers, of which the first reads 7x7 positions. Larger images give several
positions, whose features are averaged before the head (as timm does).

| name     | parameters  | MACs at 224 px |
|----------|-------------|----------------|
| vgg16    | 138,357,544 | 15,470,264,320 |
| vgg16_bn | 138,365,992 | 15,470,264,320 |
| vgg19    | 143,667,240 | 19,632,062,464 |
| vgg19_bn | 143,678,248 | 19,632,062,464 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

WIDTHS = (64, 128, 256, 512, 512)  # of the five stages
FEATURES, POSITIONS = 4096, 7  # of the fully connected layers; side of what the first one reads


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: Sequence[int],
    batch_norm: bool,
) -> keras.Model:
    """Build a VGG; the first four arguments are those of `rezoo.create_model`.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`; at least 224 pixels in both directions.
        num_classes: Width of the head.
        classifier_activation: What follows the logits.
        depths: Number of convolutions, for each of the five stages.
        batch_norm: Whether batch normalization follows each convolution.
    """
    import keras

    from rezoo.models import layers

    inputs = x = keras.Input(input_shape, name="image")
    place = 0  # in PyTorch's sequence of features
    for depth, width in zip(depths, WIDTHS, strict=True):
        for _ in range(depth):
            x = layers.conv(x, width, 3, bias=True, name=f"features.{place}")
            if batch_norm:
                place += 1
                x = layers.norm(x, name=f"features.{place}")
            x = layers.relu(x, name=f"features.{place + 1}")
            place += 2
        x = keras.layers.MaxPooling2D(2, name=f"features.{place}")(x)
        place += 1
    for fc, kernel in (("fc1", POSITIONS), ("fc2", 1)):
        x = layers.conv(x, FEATURES, kernel, padding=0, bias=True, name=f"pre_logits.{fc}")
        x = layers.relu(x, name=f"pre_logits.{fc}.act")
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(inputs, outputs, name=name)


def _spec(layers: int, depths: tuple[int, ...], *, params: int, macs: int, norm: str) -> ModelSpec:
    return ModelSpec(
        name=f"vgg{layers}{norm}",
        build=build,
        config={"depths": depths, "batch_norm": bool(norm)},
        family="vgg",
        summary=f"{layers} layers" + (", batch normalization" if norm else ""),
        source="Simonyan and Zisserman 2014, arXiv:1409.1556, table 1",
        params=params,
        macs=macs,
    )


_16, _19 = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
vgg16 = _spec(16, _16, params=138_357_544, macs=15_470_264_320, norm="")
vgg16_bn = _spec(16, _16, params=138_365_992, macs=15_470_264_320, norm="_bn")
vgg19 = _spec(19, _19, params=143_667_240, macs=19_632_062_464, norm="")
vgg19_bn = _spec(19, _19, params=143_678_248, macs=19_632_062_464, norm="_bn")
