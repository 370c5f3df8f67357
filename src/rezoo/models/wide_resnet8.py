"""The wide ResNet-8, for images of 32 pixels: the network of the recipe `sprint`.

Depth and stages are those of arXiv:1512.03385, section 4.2, with n = 1: a first convolution, three
stages of two 3x3 convolutions, and the head. Widths, order and first layer are those of "94% on
CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, section 3. Wide early layers keep a
processor's units for matrices busy, which 16 channels do not.

A first convolution of 2x2 without padding has a filter for each principal component of such
patches and for its negative; the recipe key `stem_start` fills it. In each stage a max pooling
follows the first convolution, before batch normalization and ReLU, which then see a quarter of the
positions. The second convolution has an identity shortcut, which that paper's network lacks, and
all 3x3 convolutions start with identity filters (section 3.3).

| name         | parameters | MACs at 32 px |
|--------------|------------|---------------|
| wide_resnet8 |  1,972,778 |   118,147,360 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

_PATCH = 2  # side of the first filters


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    widths: Sequence[int],
) -> keras.Model:
    """Build a wide ResNet-8.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`; height and width at least 17 pixels.
        num_classes: Width of the head.
        classifier_activation: Activation after the logits, or None.
        widths: Channels of each stage.
    """
    import keras

    from rezoo.models import blocks, layers

    inputs = keras.Input(input_shape, name="image")
    components = 2 * _PATCH**2 * input_shape[-1]
    x = layers.conv(inputs, components, _PATCH, padding=0, name="conv1")
    x = layers.relu(x, name="act1")
    for stage, width in enumerate(widths, start=1):
        x = blocks.pooled_block(x, width, name=f"layer{stage}.0")
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(inputs, outputs, name=name)


wide_resnet8 = ModelSpec(
    name="wide_resnet8",
    build=build,
    config={"widths": (64, 256, 256)},
    family="resnet",
    summary="8 wide layers, for images of 32 pixels",
    source="widths, order and initial filters: Jordan 2024, arXiv:2404.00498, section 3",
    image_size=32,
    num_classes=10,
    params=1_972_778,
    macs=118_147_360,
)
