"""tinynet: a stem and three stages of one basic block each, for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    widths: tuple[int, ...],
) -> keras.Model:
    """Build the network; rezoo passes the first four arguments, `widths` comes from `config`."""
    import keras  # inside the function: `rezoo list` reads this file and must stay fast

    from rezoo.models import blocks, layers

    inputs = keras.Input(input_shape, name="image")
    x = layers.conv(inputs, widths[0], 3, name="conv1")
    x = layers.relu(layers.norm(x, name="bn1"), name="act1")
    for stage, width in enumerate(widths, start=1):
        stride = 1 if stage == 1 else 2
        x = blocks.basic_block(x, width, stride=stride, name=f"layer{stage}.0")
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(inputs, outputs, name=name)


tinynet = ModelSpec(
    name="tinynet",
    build=build,
    config={"widths": (16, 32, 64)},
    family="tinynet",
    summary="8 layers, for small images",
    source="an example without a paper",
    image_size=32,
)
