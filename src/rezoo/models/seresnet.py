"""SE-ResNet and SE-ResNeXt: "Squeeze-and-Excitation Networks", arXiv:1709.01507.

The branch of each block is scaled before the sum, each channel by a weight between 0 and 1. Two
fully connected layers compute the weights from the averages of all channels (section 3). The width
between them is a sixteenth of the channels.

| name                | pixels |  parameters |           MACs |
|---------------------|--------|-------------|----------------|
| seresnet18          |    224 |  11,779,624 |  1,814,161,408 |
| seresnet34          |    224 |  21,960,416 |  3,663,920,128 |
| seresnet50          |    224 |  28,088,024 |  4,091,699,200 |
| seresnet101         |    224 |  49,326,872 |  7,806,148,608 |
| seresnet152         |    224 |  66,821,848 | 11,520,204,800 |
| seresnet50t         |    224 |  28,104,720 |  4,299,728,896 |
| seresnet152d        |    256 |  66,841,080 | 15,357,157,376 |
| seresnet200d        |    256 |  71,855,096 | 19,921,084,416 |
| seresnet269d        |    256 | 113,672,760 | 26,485,366,784 |
| seresnext26d_32x4d  |    224 |  16,809,512 |  2,711,740,416 |
| seresnext26t_32x4d  |    224 |  16,806,976 |  2,680,129,536 |
| seresnext50_32x4d   |    224 |  27,559,896 |  4,232,994,816 |
| seresnext101_32x4d  |    224 |  48,955,416 |  7,974,739,968 |
| seresnext101_32x8d  |    224 |  93,569,048 | 16,418,758,656 |
| seresnext101d_32x8d |    224 |  93,588,280 | 16,658,399,232 |
| seresnext101_64x4d  |    224 |  88,232,984 | 15,465,013,248 |
| senet154            |    224 | 115,088,984 | 20,688,363,520 |

The letters d and t stand for other stems and shortcuts, see `resnet`; 32x4d for groups, see
`resnext`. The `senet154` of the paper (appendix, "Details of SENet-154") has a stem of three 3x3
convolutions, 3x3 convolutions in its projections, and half as many channels before its grouped
convolutions.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import (
    R18,
    R26,
    R34,
    R50,
    R101,
    R152,
    R200,
    R269,
    SE,
    D,
    Style,
    T,
    member,
)
from rezoo.models.resnext import X32x4, X32x8, X64x4

_spec = partial(member, family="seresnet")

_SENET = Style(
    "wide deep stem, projections of 3x3",
    "Hu et al. 2017, arXiv:1709.01507, appendix",
    {
        "stem": ("deep", (64, 64, 128)),
        "shortcut": ("projection", {"kernel": 3}),
        "reduce_first": 2,
    },
)

seresnet18 = _spec("seresnet18", R18, SE, layers=18, params=11_779_624, macs=1_814_161_408)
seresnet34 = _spec("seresnet34", R34, SE, layers=34, params=21_960_416, macs=3_663_920_128)
seresnet50 = _spec("seresnet50", R50, SE, layers=50, params=28_088_024, macs=4_091_699_200)
seresnet101 = _spec("seresnet101", R101, SE, layers=101, params=49_326_872, macs=7_806_148_608)
seresnet152 = _spec("seresnet152", R152, SE, layers=152, params=66_821_848, macs=11_520_204_800)
seresnet50t = _spec("seresnet50t", R50, SE, T, layers=52, params=28_104_720, macs=4_299_728_896)
seresnet152d = _spec(
    "seresnet152d", R152, SE, D, layers=154, params=66_841_080, macs=15_357_157_376, image_size=256
)
seresnet200d = _spec(
    "seresnet200d", R200, SE, D, layers=202, params=71_855_096, macs=19_921_084_416, image_size=256
)
seresnet269d = _spec(
    "seresnet269d", R269, SE, D, layers=271, params=113_672_760, macs=26_485_366_784, image_size=256
)
seresnext26d_32x4d = _spec(
    "seresnext26d_32x4d", R26, X32x4, SE, D, layers=28, params=16_809_512, macs=2_711_740_416
)
seresnext26t_32x4d = _spec(
    "seresnext26t_32x4d", R26, X32x4, SE, T, layers=28, params=16_806_976, macs=2_680_129_536
)
seresnext50_32x4d = _spec(
    "seresnext50_32x4d", R50, X32x4, SE, layers=50, params=27_559_896, macs=4_232_994_816
)
seresnext101_32x4d = _spec(
    "seresnext101_32x4d", R101, X32x4, SE, layers=101, params=48_955_416, macs=7_974_739_968
)
seresnext101_32x8d = _spec(
    "seresnext101_32x8d", R101, X32x8, SE, layers=101, params=93_569_048, macs=16_418_758_656
)
seresnext101d_32x8d = _spec(
    "seresnext101d_32x8d", R101, X32x8, SE, D, layers=103, params=93_588_280, macs=16_658_399_232
)
seresnext101_64x4d = _spec(
    "seresnext101_64x4d", R101, X64x4, SE, layers=101, params=88_232_984, macs=15_465_013_248
)
senet154 = _spec(
    "senet154", R152, X64x4, SE, _SENET, layers=154, params=115_088_984, macs=20_688_363_520
)
