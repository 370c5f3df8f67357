"""ResNet: "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1.

A stem and four stages. Between stages, the side of the feature maps halves and the width doubles,
so a block costs the same in every stage (section 3.3). Shortcuts are identities if the shapes agree
and projections otherwise (option B).

| name             | blocks per stage | block      |  parameters | MACs at 224 px |
|------------------|------------------|------------|-------------|----------------|
| resnet18         | 2, 2, 2, 2       | basic      |  11,689,512 |  1,814,073,344 |
| resnet34         | 3, 4, 6, 3       | basic      |  21,797,672 |  3,663,761,408 |
| resnet50         | 3, 4, 6, 3       | bottleneck |  25,557,032 |  4,089,184,256 |
| resnet101        | 3, 4, 23, 3      | bottleneck |  44,549,160 |  7,801,405,440 |
| resnet152        | 3, 8, 36, 3      | bottleneck |  60,192,808 | 11,513,626,624 |
| resnet26         | 2, 2, 2, 2       | bottleneck |  15,995,176 |  2,342,256,640 |
| resnet200        | 3, 24, 36, 3     | bottleneck |  64,673,832 | 15,007,481,856 |
| resnet50_gn      | 3, 4, 6, 3       | bottleneck |  25,557,032 |  4,089,184,256 |
| wide_resnet50_2  | 3, 4, 6, 3       | bottleneck |  68,883,240 | 11,398,021,120 |
| wide_resnet101_2 | 3, 4, 23, 3      | bottleneck | 126,886,696 | 22,753,050,624 |
| resnet18d        | 2, 2, 2, 2       | basic      |  11,708,744 |  2,053,713,920 |
| resnet26d        | 2, 2, 2, 2       | bottleneck |  16,014,408 |  2,581,897,216 |
| resnet34d        | 3, 4, 6, 3       | basic      |  21,816,904 |  3,903,401,984 |
| resnet50d        | 3, 4, 6, 3       | bottleneck |  25,576,264 |  4,328,824,832 |
| resnet101d       | 3, 4, 23, 3      | bottleneck |  44,568,392 |  8,041,046,016 |
| resnet152d       | 3, 8, 36, 3      | bottleneck |  60,212,040 | 11,753,267,200 |
| resnet200d       | 3, 24, 36, 3     | bottleneck |  64,693,064 | 15,247,122,432 |
| resnet10t        | 1, 1, 1, 1       | basic      |   5,435,488 |  1,097,259,008 |
| resnet14t        | 1, 1, 1, 1       | bottleneck |  10,081,632 |  1,676,822,528 |
| resnet26t        | 2, 2, 2, 2       | bottleneck |  16,011,872 |  2,550,286,336 |
| resnet50t        | 3, 4, 6, 3       | bottleneck |  25,573,728 |  4,297,213,952 |
| resnet50c        | 3, 4, 6, 3       | bottleneck |  25,576,264 |  4,328,824,832 |
| resnet101c       | 3, 4, 23, 3      | bottleneck |  44,568,392 |  8,041,046,016 |
| resnet152c       | 3, 8, 36, 3      | bottleneck |  60,212,040 | 11,753,267,200 |
| resnet50s        | 3, 4, 6, 3       | bottleneck |  25,680,808 |  5,444,337,664 |
| resnet101s       | 3, 4, 23, 3      | bottleneck |  44,672,936 |  9,156,558,848 |
| resnet152s       | 3, 8, 36, 3      | bottleneck |  60,316,584 | 12,868,780,032 |
| test_resnet      | 1, 1, 1, 1       | both       |     469,688 |    200,900,352 |

Bottlenecks have their stride in the 3x3 convolution (v1.5, as in torchvision and timm).
`resnet50_v1` has it in the first 1x1, as in the paper: 3,857,973,248 MACs.

A letter after the depth stands for another stem or shortcut (c and d: "Bag of Tricks for Image
Classification with CNNs", arXiv:1812.01187, figure 2; s: GluonCV's v1s; t: timm):

| letter | stem                              | shortcut if the shape changes     |
|--------|-----------------------------------|-----------------------------------|
|        | a 7x7 convolution, 64             | projection                        |
| c      | three 3x3 convolutions, 32-32-64  | projection                        |
| s      | three 3x3 convolutions, 64-64-128 | projection                        |
| d      | three 3x3 convolutions, 32-32-64  | average over 2x2, then projection |
| t      | three 3x3 convolutions, 24-32-64  | average over 2x2, then projection |

`resnet50_gn` has group normalization ("Group Normalization", arXiv:1803.08494), 32 groups.

The wide networks double the inner width of the bottleneck ("Wide Residual Networks",
arXiv:1605.07146). The depths 10, 14, 26 and 200 are timm's, as is `test_resnet`, a tiny network for
tests. A deep stem adds two layers to the number in the name.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import (
    BASIC,
    BOTTLENECK,
    PAPER,
    PLAIN,
    R18,
    R26,
    R34,
    R50,
    R101,
    R152,
    R200,
    TRICKS,
    V15,
    D,
    Style,
    T,
    member,
    stages,
)

_spec = partial(member, family="resnet")

_R10 = {"depths": (1, 1, 1, 1), "blocks": BASIC}
_R14 = {"depths": (1, 1, 1, 1), "blocks": BOTTLENECK}
_TINY = {
    "depths": (1, 1, 1, 1),
    "blocks": (("basic", 32), ("basic", 48), ("bottleneck", 48), ("basic", 96)),
}

_DEPTHS = Style("", f"{PAPER}; depths of timm, stride in the 3x3 (v1.5)", {})
_V1 = Style(
    "stride in the 1x1, as in the paper",
    PAPER,
    {"blocks": stages("bottleneck_v1")},
    in_timm=False,
)
_WIDE = Style(
    "inner width doubled",
    "Zagoruyko and Komodakis 2016, arXiv:1605.07146; as timm and torchvision build it",
    {"base_width": 128},
)
_GN = Style(
    "group normalization",
    "Wu and He 2018, arXiv:1803.08494; stride in the 3x3 (v1.5)",
    {"norm": "group"},
)
_C = Style("deep stem", f"{TRICKS} (ResNet-C)", {"stem": ("deep", (32, 32, 64))})
_S = Style(
    "wide deep stem",
    f"{TRICKS} (ResNet-C); stem widths of GluonCV's v1s",
    {"stem": ("deep", (64, 64, 128))},
)
_TEST = Style(
    "tiny, for tests",
    f"timm, with the parts of {TRICKS} (ResNet-D)",
    {"stem": ("deep", (16, 16, 32)), "shortcut": "pooled"},
)

resnet18 = _spec("resnet18", R18, PLAIN, layers=18, params=11_689_512, macs=1_814_073_344)
resnet34 = _spec("resnet34", R34, PLAIN, layers=34, params=21_797_672, macs=3_663_761_408)
resnet50 = _spec("resnet50", R50, V15, layers=50, params=25_557_032, macs=4_089_184_256)
resnet101 = _spec("resnet101", R101, V15, layers=101, params=44_549_160, macs=7_801_405_440)
resnet152 = _spec("resnet152", R152, V15, layers=152, params=60_192_808, macs=11_513_626_624)
resnet50_v1 = _spec("resnet50_v1", R50, _V1, layers=50, params=25_557_032, macs=3_857_973_248)
resnet26 = _spec("resnet26", R26, _DEPTHS, layers=26, params=15_995_176, macs=2_342_256_640)
resnet50_gn = _spec("resnet50_gn", R50, _GN, layers=50, params=25_557_032, macs=4_089_184_256)
resnet200 = _spec("resnet200", R200, _DEPTHS, layers=200, params=64_673_832, macs=15_007_481_856)
wide_resnet50_2 = _spec(
    "wide_resnet50_2", R50, _WIDE, layers=50, params=68_883_240, macs=11_398_021_120
)
wide_resnet101_2 = _spec(
    "wide_resnet101_2", R101, _WIDE, layers=101, params=126_886_696, macs=22_753_050_624
)
resnet18d = _spec("resnet18d", R18, D, layers=20, params=11_708_744, macs=2_053_713_920)
resnet26d = _spec("resnet26d", R26, D, layers=28, params=16_014_408, macs=2_581_897_216)
resnet34d = _spec("resnet34d", R34, D, layers=36, params=21_816_904, macs=3_903_401_984)
resnet50d = _spec("resnet50d", R50, D, layers=52, params=25_576_264, macs=4_328_824_832)
resnet101d = _spec(
    "resnet101d", R101, D, layers=103, params=44_568_392, macs=10_501_963_776, image_size=256
)
resnet152d = _spec(
    "resnet152d", R152, D, layers=154, params=60_212_040, macs=15_350_579_200, image_size=256
)
resnet200d = _spec(
    "resnet200d", R200, D, layers=202, params=64_693_064, macs=19_913_981_952, image_size=256
)
resnet10t = _spec(
    "resnet10t", _R10, T, layers=12, params=5_435_488, macs=698_688_000, image_size=176
)
resnet14t = _spec(
    "resnet14t", _R14, T, layers=16, params=10_081_632, macs=1_067_618_816, image_size=176
)
resnet26t = _spec(
    "resnet26t", R26, T, layers=28, params=16_011_872, macs=3_330_359_296, image_size=256
)
resnet50t = _spec("resnet50t", R50, T, layers=52, params=25_573_728, macs=4_297_213_952)
resnet50c = _spec("resnet50c", R50, _C, layers=52, params=25_576_264, macs=4_328_824_832)
resnet101c = _spec("resnet101c", R101, _C, layers=103, params=44_568_392, macs=8_041_046_016)
resnet152c = _spec("resnet152c", R152, _C, layers=154, params=60_212_040, macs=11_753_267_200)
resnet50s = _spec("resnet50s", R50, _S, layers=52, params=25_680_808, macs=5_444_337_664)
resnet101s = _spec("resnet101s", R101, _S, layers=103, params=44_672_936, macs=9_156_558_848)
resnet152s = _spec("resnet152s", R152, _S, layers=154, params=60_316_584, macs=12_868_780_032)
test_resnet = _spec(
    "test_resnet", _TINY, _TEST, layers=13, params=469_688, macs=102_547_200, image_size=160
)
