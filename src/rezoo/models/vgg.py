"""VGG: "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556.

The networks that the ResNet paper compares with: table 1, columns D (16 layers) and E (19), with or
without batch normalization. Stages of 3x3 convolutions, each followed by max pooling, then three
fully connected layers. They are convolutions here, the first of 7x7: with images above 224 pixels,
their features are averaged over all positions before the head, as in timm.

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
FEATURES = 4096  # width of the first two fully connected layers


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: Sequence[int],
    batch_norm: bool,
) -> keras.Model:
    """Build a VGG.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`; height and width at least 224 pixels.
        num_classes: Width of the head.
        classifier_activation: Activation after the logits, or None.
        depths: Number of convolutions of each of the five stages.
        batch_norm: Whether batch normalization follows each convolution.
    """
    import keras

    from rezoo.models import layers

    inputs = x = keras.Input(input_shape, name="image")
    place = 0  # position in PyTorch's `Sequential` of features
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
    for fc, kernel in (("fc1", 7), ("fc2", 1)):
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
