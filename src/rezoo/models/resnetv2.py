"""Pre-activation ResNets: "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.

In a block, normalization and ReLU come before each convolution (figure 4e), and nothing follows the
sum. What enters the first block reaches the last one unchanged, if no shortcut is a projection, and
so do gradients on their way back. A last normalization and ReLU follow the last block.

| name              | blocks per stage | block      |  parameters | MACs at 224 px |
|-------------------|------------------|------------|-------------|----------------|
| resnetv2_18       | 2, 2, 2, 2       | basic      |  11,687,720 |  1,814,073,344 |
| resnetv2_34       | 3, 4, 6, 3       | basic      |  21,795,880 |  3,663,761,408 |
| resnetv2_50       | 3, 4, 6, 3       | bottleneck |  25,549,352 |  4,089,184,256 |
| resnetv2_101      | 3, 4, 23, 3      | bottleneck |  44,541,480 |  7,801,405,440 |
| resnetv2_152      | 3, 8, 36, 3      | bottleneck |  60,185,128 | 11,513,626,624 |
| resnetv2_18d      | 2, 2, 2, 2       | basic      |  11,706,952 |  2,053,713,920 |
| resnetv2_34d      | 3, 4, 6, 3       | basic      |  21,815,112 |  3,903,401,984 |
| resnetv2_50d      | 3, 4, 6, 3       | bottleneck |  25,568,584 |  4,328,824,832 |
| resnetv2_101d     | 3, 4, 23, 3      | bottleneck |  44,560,712 |  8,041,046,016 |
| resnetv2_152d     | 3, 8, 36, 3      | bottleneck |  60,204,360 | 11,753,267,200 |
| resnetv2_50t      | 3, 4, 6, 3       | bottleneck |  25,566,048 |  4,297,213,952 |
| resnetv2_50d_gn   | 3, 4, 6, 3       | bottleneck |  25,568,584 |  4,328,824,832 |
| resnetv2_50d_evos | 3, 4, 6, 3       | bottleneck |  25,591,368 |  4,328,824,832 |

`d` and `t` are the stems and pooled shortcuts of `resnet`, `gn` has group normalization and `evos`
EvoNorm-S0 in place of normalization and ReLU. The names of tensors are those of timm's `resnetv2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rezoo.models.residual import D, Style, T, member

if TYPE_CHECKING:
    import keras


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: Sequence[int],
    block: str,
    widths: Sequence[int],
    stem: tuple[str, Sequence[int]] = ("plain", (64,)),
    pool: str = "max",
    shortcut: str = "projection",
    parts: str = "batch_norm",
    stochastic_depth: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build a pre-activation network.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`.
        num_classes: Width of the head.
        classifier_activation: Activation after the logits, or None.
        depths: Number of blocks of each stage.
        block: Key of `preactivation.BLOCKS`.
        widths: Output channels of each stage.
        stem: Key of `preactivation.STEMS` and the widths of its convolutions.
        pool: What follows the stem, a key of `preactivation.POOLS`.
        shortcut: Of blocks that change the shape, a key of `preactivation.SHORTCUTS`.
        parts: Convolutions and activations of the whole network, a key of `preactivation.PARTS`.
        stochastic_depth: Probability to drop the residual branch of the last block.
        seed: Seed of stochastic depth.
    """
    import keras

    from rezoo.models import layers, preactivation
    from rezoo.models.drop_path import drop_paths
    from rezoo.models.preactivation_layers import Dense1x1

    drops = iter(drop_paths(stochastic_depth, blocks=sum(depths), seed=seed))
    kind, channels = stem
    shared = preactivation.PARTS[parts]
    inputs = keras.Input(input_shape, name="image")
    x = preactivation.STEMS[kind](inputs, *channels, parts=shared)
    x = preactivation.POOLS[pool](x)  # (N, H/4, W/4, channels[-1])
    activated = kind == "small"
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            x = preactivation.BLOCKS[block](
                x,
                width,
                stride=2 if stage > 0 and index == 0 else 1,
                activated=activated,
                shortcut=preactivation.SHORTCUTS[shortcut],
                parts=shared,
                drop_path=next(drops),
                name=f"stages.{stage}.blocks.{index}",
            )
            activated = False
    x = shared.activate(x, name="norm")
    outputs = layers.classifier(
        x, num_classes, activation=classifier_activation, layer=Dense1x1, name="head.fc"
    )
    return keras.Model(inputs, outputs, name=name)


PAPER = "He et al. 2016, arXiv:1603.05027, figure 4e; as timm builds it, stride in the 3x3"
BODY18 = {"depths": (2, 2, 2, 2), "block": "basic", "widths": (64, 128, 256, 512)}
BODY34 = {**BODY18, "depths": (3, 4, 6, 3)}
BODY50 = {"depths": (3, 4, 6, 3), "block": "bottleneck", "widths": (256, 512, 1024, 2048)}
BODY101 = {**BODY50, "depths": (3, 4, 23, 3)}
BODY152 = {**BODY50, "depths": (3, 8, 36, 3)}

_spec = partial(member, family="resnetv2", build=build)

_V2 = Style("pre-activation", PAPER, {})
_GN = Style("group normalization", "Wu and He 2018, arXiv:1803.08494", {"parts": "group_norm"})
_EVO = Style("EvoNorm-S0", "Liu et al. 2020, arXiv:2004.02967", {"parts": "evo_norm"})

resnetv2_18 = _spec("resnetv2_18", BODY18, _V2, layers=18, params=11_687_720, macs=1_814_073_344)
resnetv2_34 = _spec("resnetv2_34", BODY34, _V2, layers=34, params=21_795_880, macs=3_663_761_408)
resnetv2_50 = _spec("resnetv2_50", BODY50, _V2, layers=50, params=25_549_352, macs=4_089_184_256)
resnetv2_101 = _spec(
    "resnetv2_101", BODY101, _V2, layers=101, params=44_541_480, macs=7_801_405_440
)
resnetv2_152 = _spec(
    "resnetv2_152", BODY152, _V2, layers=152, params=60_185_128, macs=11_513_626_624
)
resnetv2_18d = _spec(
    "resnetv2_18d", BODY18, _V2, D, layers=20, params=11_706_952, macs=2_053_713_920
)
resnetv2_34d = _spec(
    "resnetv2_34d", BODY34, _V2, D, layers=36, params=21_815_112, macs=3_903_401_984
)
resnetv2_50d = _spec(
    "resnetv2_50d", BODY50, _V2, D, layers=52, params=25_568_584, macs=4_328_824_832
)
resnetv2_101d = _spec(
    "resnetv2_101d", BODY101, _V2, D, layers=103, params=44_560_712, macs=8_041_046_016
)
resnetv2_152d = _spec(
    "resnetv2_152d", BODY152, _V2, D, layers=154, params=60_204_360, macs=11_753_267_200
)
resnetv2_50t = _spec(
    "resnetv2_50t", BODY50, _V2, T, layers=52, params=25_566_048, macs=4_297_213_952
)
resnetv2_50d_gn = _spec(
    "resnetv2_50d_gn", BODY50, _V2, D, _GN, layers=52, params=25_568_584, macs=4_328_824_832
)
resnetv2_50d_evos = _spec(
    "resnetv2_50d_evos", BODY50, _V2, D, _EVO, layers=52, params=25_591_368, macs=4_328_824_832
)
