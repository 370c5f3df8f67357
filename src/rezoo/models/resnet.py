"""ResNet: "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1.

A 7x7 stem and four stages. Feature maps halve between stages while widths double, so a
block costs the same in every stage (section 3.3). Shortcuts are identities where shapes agree and
projections elsewhere (option B).

| name      | blocks per stage | block      | parameters | MACs at 224 px |
|-----------|------------------|------------|------------|----------------|
| resnet18  | 2, 2, 2, 2       | basic      | 11,689,512 |  1,814,073,344 |
| resnet34  | 3, 4, 6, 3       | basic      | 21,797,672 |  3,663,761,408 |
| resnet50  | 3, 4, 6, 3       | bottleneck | 25,557,032 |  4,089,184,256 |
| resnet101 | 3, 4, 23, 3      | bottleneck | 44,549,160 |  7,801,405,440 |
| resnet152 | 3, 8, 36, 3      | bottleneck | 60,192,808 | 11,513,626,624 |

Bottlenecks take their step in the 3x3 convolution (v1.5, as torchvision and timm do);
`resnet50_v1` takes it in the first 1x1, as the paper does: 3,857,973,248 MACs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

WIDTHS = (64, 128, 256, 512)


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: tuple[int, int, int, int],
    block: Literal["basic", "bottleneck"],
    stride_in: Literal["1x1", "3x3"] = "3x3",
) -> keras.Model:
    """Build a ResNet; what the arguments mean is in `rezoo.create_model` and the table above."""
    import keras

    from rezoo.models import layers

    if block == "basic":
        residual = layers.basic_block
    else:
        residual = partial(layers.bottleneck_block, stride_in=stride_in)

    inputs = keras.Input(input_shape, name="image")
    x = layers.conv(inputs, 64, 7, stride=2, name="conv1")
    x = layers.relu(layers.norm(x, name="bn1"), name="act1")
    x = layers.max_pool(x, name="maxpool")  # (N, H/4, W/4, 64)
    for stage, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True), start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            x = residual(x, width, stride=stride, name=f"layer{stage}.{index}")
    outputs = layers.classifier(x, num_classes, activation=classifier_activation)
    return keras.Model(inputs, outputs, name=name)


_PAPER = "He et al. 2015, arXiv:1512.03385, table 1"
_basic = partial(ModelSpec, build=build, family="resnet", source=_PAPER)
_v15 = partial(_basic, source=f"{_PAPER}; stride in the 3x3 (v1.5)")

resnet18 = _basic(
    name="resnet18", summary="18 layers", config={"depths": (2, 2, 2, 2), "block": "basic"}
)
resnet34 = _basic(
    name="resnet34", summary="34 layers", config={"depths": (3, 4, 6, 3), "block": "basic"}
)
resnet50 = _v15(
    name="resnet50", summary="50 layers", config={"depths": (3, 4, 6, 3), "block": "bottleneck"}
)
resnet101 = _v15(
    name="resnet101", summary="101 layers", config={"depths": (3, 4, 23, 3), "block": "bottleneck"}
)
resnet152 = _v15(
    name="resnet152", summary="152 layers", config={"depths": (3, 8, 36, 3), "block": "bottleneck"}
)
resnet50_v1 = _basic(
    name="resnet50_v1",
    summary="50 layers, stride in the 1x1, as in the paper",
    config={"depths": (3, 4, 6, 3), "block": "bottleneck", "stride_in": "1x1"},
)
