"""RegNet: "Designing Network Design Spaces", arXiv:2003.13678.

A rule gives the widths and depths of the four stages from four numbers: depth, first width `w_0`,
slope `w_a` and quantization `w_m` (section 3.3, equations 2 to 4). A block is a bottleneck without
a bottleneck: three convolutions of the same width, of which the 3x3 has groups of `group_width`
channels. RegNetY has squeeze and excitation after the 3x3 (section 4).

The number in a name is that of the MACs in hundreds of millions. Parameters of the rule:
figures 15 and 16, and the authors' code, pycls.

| name           | pixels |    parameters |            MACs |
|----------------|--------|---------------|-----------------|
| regnetx_002    |    224 |     2,684,792 |     199,039,872 |
| regnetx_004    |    224 |     5,157,512 |     397,677,568 |
| regnetx_004_tv |    224 |     5,495,976 |     413,812,608 |
| regnetx_006    |    224 |     6,196,040 |     600,890,112 |
| regnetx_008    |    224 |     7,259,656 |     799,699,712 |
| regnetx_016    |    224 |     9,190,136 |   1,602,849,792 |
| regnetx_032    |    224 |    15,296,552 |   3,176,621,952 |
| regnetx_040    |    224 |    22,118,248 |   3,964,498,816 |
| regnetx_064    |    224 |    26,209,256 |   6,460,291,264 |
| regnetx_080    |    224 |    39,572,648 |   7,995,132,416 |
| regnetx_120    |    224 |    46,106,056 |  12,086,678,016 |
| regnetx_160    |    224 |    54,278,536 |  15,940,755,456 |
| regnetx_320    |    224 |   107,811,560 |  31,735,929,792 |
| regnety_002    |    224 |     3,162,996 |     199,514,080 |
| regnety_004    |    224 |     4,344,144 |     401,842,848 |
| regnety_006    |    224 |     6,055,160 |     601,220,992 |
| regnety_008    |    224 |     6,263,168 |     797,176,832 |
| regnety_008_tv |    224 |     6,432,512 |     833,856,256 |
| regnety_016    |    224 |    11,202,430 |   1,612,076,160 |
| regnety_032    |    224 |    19,436,338 |   3,176,482,752 |
| regnety_040    |    224 |    20,646,656 |   3,973,288,448 |
| regnety_064    |    224 |    30,583,252 |   6,355,204,992 |
| regnety_080    |    224 |    39,180,068 |   7,963,057,312 |
| regnety_080_tv |    224 |    39,381,472 |   8,473,070,592 |
| regnety_120    |    224 |    51,822,544 |  12,092,376,576 |
| regnety_160    |    224 |    83,590,140 |  15,911,510,272 |
| regnety_320    |    224 |   145,046,770 |  32,279,552,832 |
| regnety_640    |    384 |   281,378,786 | 188,220,945,216 |
| regnety_1280   |    384 |   644,812,894 | 374,570,006,400 |

`_tv` are torchvision's, whose widths are rounded to groups in another way.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

    from rezoo.models.drop_path import DropPath


def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depth: int,
    w_0: int,
    w_a: float,
    w_m: float,
    group_width: int,
    se_ratio: float = 0.0,
    torchvision_widths: bool = False,
    stochastic_depth: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build a RegNet.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`.
        num_classes: Width of the head.
        classifier_activation: Activation after the logits, or None.
        depth: Number of blocks.
        w_0: First width of the rule.
        w_a: Slope of the widths.
        w_m: Quotient of the quantized widths.
        group_width: Channels of a group.
        se_ratio: Width of squeeze and excitation as a part of the block's input; 0 for none.
        torchvision_widths: Whether widths are rounded to groups as in torchvision.
        stochastic_depth: Probability to drop the residual branch of the last block.
        seed: Seed of stochastic depth.
    """
    import keras

    from rezoo.models import layers
    from rezoo.models.drop_path import drop_paths

    drops = iter(drop_paths(stochastic_depth, blocks=depth, seed=seed))
    inputs = keras.Input(input_shape, name="image")
    x = layers.conv_norm(inputs, 32, 3, stride=2, name="stem")
    for stage, (width, blocks) in enumerate(stages(depth, w_0, w_a, w_m), start=1):
        in_group = min(group_width, width)
        width = _whole_groups(width, in_group, torchvision=torchvision_widths)
        for block in range(1, blocks + 1):
            x = regnet_block(
                x,
                width,
                stride=2 if block == 1 else 1,
                groups=width // in_group,
                se_ratio=se_ratio,
                drop_path=next(drops),
                name=f"s{stage}.b{block}",
            )
    outputs = layers.classifier(x, num_classes, activation=classifier_activation, name="head.fc")
    return keras.Model(inputs, outputs, name=name)


def stages(depth: int, w_0: int, w_a: float, w_m: float) -> list[tuple[int, int]]:
    """Return width and number of blocks of each stage (section 3.3, equations 2 to 4).

    The width of block j is `w_0 + w_a j`, replaced by the nearest `w_0 w_m^s`, s being an integer,
    and rounded to a multiple of 8.
    """
    linear = (w_0 + w_a * j for j in range(depth))
    powers = (round(math.log(width / w_0) / math.log(w_m)) for width in linear)
    return sorted(Counter(round(w_0 * w_m**s / 8) * 8 for s in powers).items())


def _whole_groups(width: int, group: int, *, torchvision: bool) -> int:
    """Return the width rounded to a multiple of the width of a group."""
    from rezoo.models.layers import divisible

    return divisible(width, group, least=0) if torchvision else round(width / group) * group


def regnet_block(
    x: Any,
    width: int,
    *,
    stride: int,
    groups: int,
    se_ratio: float,
    drop_path: DropPath | None,
    name: str,
) -> Any:
    """Apply 1x1, grouped 3x3 and 1x1 convolutions of one width, and a shortcut (figure 4)."""
    from rezoo.models.attention import squeeze_excite
    from rezoo.models.blocks import join
    from rezoo.models.layers import conv_norm

    y = conv_norm(x, width, 1, name=f"{name}.conv1")
    y = conv_norm(y, width, 3, stride=stride, groups=groups, name=f"{name}.conv2")
    if se_ratio:
        y = squeeze_excite(y, reduced=round(x.shape[-1] * se_ratio), name=f"{name}.se")
    y = conv_norm(y, width, 1, activate=False, zero_gamma=True, name=f"{name}.conv3")
    identity = x
    if stride > 1 or x.shape[-1] != width:
        down = f"{name}.downsample"
        identity = conv_norm(x, width, 1, stride=stride, activate=False, name=down)
    return join(y, identity, drop_path=drop_path, name=name)


_RULE = ("depth", "w_0", "w_a", "w_m", "group_width")


def _spec(
    name: str, rule: tuple[float, ...], params: int, macs: int, image_size: int = 224
) -> ModelSpec:
    """Return a spec; `rule` has the values of `_RULE`."""
    config: dict[str, Any] = dict(zip(_RULE, rule, strict=True))
    words = f"{3 * config['depth'] + 2} layers, groups of {config['group_width']}"
    source = "Radosavovic et al. 2020, arXiv:2003.13678, figures 15 and 16; pycls"
    if name.startswith("regnety"):
        config["se_ratio"] = 0.25
        words = f"{words}, squeeze and excitation"
    if name.endswith("_tv"):
        config["torchvision_widths"] = True
        words, source = f"{words}, widths of torchvision", f"{source}; torchvision"
    return ModelSpec(
        name=name,
        build=build,
        config=config,
        family="regnet",
        summary=words,
        source=source,
        image_size=image_size,
        params=params,
        macs=macs,
        in_timm=True,
    )


regnetx_002 = _spec("regnetx_002", (13, 24, 36.44, 2.49, 8), 2_684_792, 199_039_872)
regnetx_004 = _spec("regnetx_004", (22, 24, 24.48, 2.54, 16), 5_157_512, 397_677_568)
regnetx_004_tv = _spec("regnetx_004_tv", (22, 24, 24.48, 2.54, 16), 5_495_976, 413_812_608)
regnetx_006 = _spec("regnetx_006", (16, 48, 36.97, 2.24, 24), 6_196_040, 600_890_112)
regnetx_008 = _spec("regnetx_008", (16, 56, 35.73, 2.28, 16), 7_259_656, 799_699_712)
regnetx_016 = _spec("regnetx_016", (18, 80, 34.01, 2.25, 24), 9_190_136, 1_602_849_792)
regnetx_032 = _spec("regnetx_032", (25, 88, 26.31, 2.25, 48), 15_296_552, 3_176_621_952)
regnetx_040 = _spec("regnetx_040", (23, 96, 38.65, 2.43, 40), 22_118_248, 3_964_498_816)
regnetx_064 = _spec("regnetx_064", (17, 184, 60.83, 2.07, 56), 26_209_256, 6_460_291_264)
regnetx_080 = _spec("regnetx_080", (23, 80, 49.56, 2.88, 120), 39_572_648, 7_995_132_416)
regnetx_120 = _spec("regnetx_120", (19, 168, 73.36, 2.37, 112), 46_106_056, 12_086_678_016)
regnetx_160 = _spec("regnetx_160", (22, 216, 55.59, 2.1, 128), 54_278_536, 15_940_755_456)
regnetx_320 = _spec("regnetx_320", (23, 320, 69.86, 2.0, 168), 107_811_560, 31_735_929_792)
regnety_002 = _spec("regnety_002", (13, 24, 36.44, 2.49, 8), 3_162_996, 199_514_080)
regnety_004 = _spec("regnety_004", (16, 48, 27.89, 2.09, 8), 4_344_144, 401_842_848)
regnety_006 = _spec("regnety_006", (15, 48, 32.54, 2.32, 16), 6_055_160, 601_220_992)
regnety_008 = _spec("regnety_008", (14, 56, 38.84, 2.4, 16), 6_263_168, 797_176_832)
regnety_008_tv = _spec("regnety_008_tv", (14, 56, 38.84, 2.4, 16), 6_432_512, 833_856_256)
regnety_016 = _spec("regnety_016", (27, 48, 20.71, 2.65, 24), 11_202_430, 1_612_076_160)
regnety_032 = _spec("regnety_032", (21, 80, 42.63, 2.66, 24), 19_436_338, 3_176_482_752)
regnety_040 = _spec("regnety_040", (22, 96, 31.41, 2.24, 64), 20_646_656, 3_973_288_448)
regnety_064 = _spec("regnety_064", (25, 112, 33.22, 2.27, 72), 30_583_252, 6_355_204_992)
regnety_080 = _spec("regnety_080", (17, 192, 76.82, 2.19, 56), 39_180_068, 7_963_057_312)
regnety_080_tv = _spec("regnety_080_tv", (17, 192, 76.82, 2.19, 56), 39_381_472, 8_473_070_592)
regnety_120 = _spec("regnety_120", (19, 168, 73.36, 2.37, 112), 51_822_544, 12_092_376_576)
regnety_160 = _spec("regnety_160", (18, 200, 106.23, 2.48, 112), 83_590_140, 15_911_510_272)
regnety_320 = _spec("regnety_320", (20, 232, 115.89, 2.53, 232), 145_046_770, 32_279_552_832)
regnety_640 = _spec("regnety_640", (20, 352, 147.48, 2.4, 328), 281_378_786, 188_220_945_216, 384)
regnety_1280 = _spec(
    "regnety_1280", (27, 456, 160.83, 2.52, 264), 644_812_894, 374_570_006_400, 384
)
