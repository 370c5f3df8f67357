"""ResNeXt: "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431.

The 3x3 convolution of a bottleneck has groups of channels, each of which reads its own part of the
input. In the names, 32x4d stands for 32 groups of 4 channels in the first stage; the width of a
group doubles from stage to stage (section 3.1, table 1).

| name              | pixels |  parameters |           MACs |
|-------------------|--------|-------------|----------------|
| resnext50_32x4d   |    224 |  25,028,904 |  4,230,479,872 |
| resnext50d_32x4d  |    224 |  25,048,136 |  4,470,120,448 |
| resnext101_32x4d  |    224 |  44,177,704 |  7,969,996,800 |
| resnext101_32x8d  |    224 |  88,791,336 | 16,414,015,488 |
| resnext101_32x16d |    224 | 194,026,792 | 36,163,289,088 |
| resnext101_32x32d |    224 | 468,530,472 | 87,106,781,184 |
| resnext101_64x4d  |    224 |  83,455,272 | 15,460,270,080 |
| resnext29_8x64d   |     32 |  34,426,698 |  5,387,266,048 |

A d stands for the deep stem and the pooled shortcuts of ResNet-D, see `resnet`. `resnext29_8x64d`
is for images of 32 pixels and 10 classes: three stages of three blocks (section 5.3).
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import R50, R101, D, Style, grouped, member

_spec = partial(member, family="resnext")

X32x4, X32x8, X64x4 = grouped(32, 4), grouped(32, 8), grouped(64, 4)
_CIFAR = {
    "depths": (3, 3, 3),
    "blocks": tuple(("bottleneck", width) for width in (64, 128, 256)),
}
_SMALL = Style(
    "for images of 32 pixels",
    "Xie et al. 2016, arXiv:1611.05431, section 5.3",
    {"groups": 8, "base_width": 64, "stem": ("small", (64,)), "pool": "none"},
    in_timm=False,
)

resnext50_32x4d = _spec(
    "resnext50_32x4d", R50, X32x4, layers=50, params=25_028_904, macs=4_230_479_872
)
resnext50d_32x4d = _spec(
    "resnext50d_32x4d", R50, X32x4, D, layers=52, params=25_048_136, macs=4_470_120_448
)
resnext101_32x4d = _spec(
    "resnext101_32x4d", R101, X32x4, layers=101, params=44_177_704, macs=7_969_996_800
)
resnext101_32x8d = _spec(
    "resnext101_32x8d", R101, X32x8, layers=101, params=88_791_336, macs=16_414_015_488
)
resnext101_32x16d = _spec(
    "resnext101_32x16d", R101, grouped(32, 16), layers=101, params=194_026_792, macs=36_163_289_088
)
resnext101_32x32d = _spec(
    "resnext101_32x32d", R101, grouped(32, 32), layers=101, params=468_530_472, macs=87_106_781_184
)
resnext101_64x4d = _spec(
    "resnext101_64x4d", R101, X64x4, layers=101, params=83_455_272, macs=15_460_270_080
)
resnext29_8x64d = _spec(
    "resnext29_8x64d",
    _CIFAR,
    _SMALL,
    layers=29,
    params=34_426_698,
    macs=5_387_266_048,
    image_size=32,
    num_classes=10,
)
