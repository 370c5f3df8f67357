"""ECA-ResNet: "ECA-Net: Efficient Channel Attention", arXiv:1910.03151.

The branch of each block is scaled before the sum, each channel by a weight between 0 and 1. A
convolution along the channels computes the weights from their averages, with 3 to 7 parameters a
block (section 3.2).

| name                | pixels |  parameters |           MACs |
|---------------------|--------|-------------|----------------|
| ecaresnet26t        |    256 |  16,011,916 |  3,330,405,888 |
| ecaresnet50d        |    224 |  25,576,350 |  4,328,912,640 |
| ecaresnet50t        |    256 |  25,573,814 |  5,612,148,480 |
| ecaresnetlight      |    224 |  30,162,046 |  4,089,287,424 |
| ecaresnet101d       |    224 |  44,568,563 |  8,041,220,864 |
| ecaresnet200d       |    256 |  64,693,400 | 19,914,274,560 |
| ecaresnet269d       |    320 | 102,093,077 | 41,364,716,288 |
| ecaresnext26t_32x4d |    224 |  15,406,220 |  2,678,783,488 |
| ecaresnext50t_32x4d |    224 |  25,045,686 |  4,438,597,376 |

The letters d and t stand for other stems and shortcuts, see `resnet`; 32x4d for groups, see
`resnext`. `ecaresnetlight` is timm's, with more blocks in the third stage and fewer in the others.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import BOTTLENECK, R26, R50, R101, R200, R269, D, Style, T, member
from rezoo.models.resnext import X32x4

_spec = partial(member, family="ecaresnet")

_LIGHT = {"depths": (1, 1, 11, 3), "blocks": BOTTLENECK}
_ECA = Style(
    "efficient channel attention",
    "Wang et al. 2019, arXiv:1910.03151, section 3.2",
    {"attention": "eca"},
)
_POOLED = Style("pooled shortcuts", "depths of timm", {"shortcut": "pooled"})

ecaresnet26t = _spec(
    "ecaresnet26t", R26, _ECA, T, layers=28, params=16_011_916, macs=3_330_405_888, image_size=256
)
ecaresnet50d = _spec("ecaresnet50d", R50, _ECA, D, layers=52, params=25_576_350, macs=4_328_912_640)
ecaresnet50t = _spec(
    "ecaresnet50t", R50, _ECA, T, layers=52, params=25_573_814, macs=5_612_148_480, image_size=256
)
ecaresnetlight = _spec(
    "ecaresnetlight", _LIGHT, _ECA, _POOLED, layers=50, params=30_162_046, macs=4_089_287_424
)
ecaresnet101d = _spec(
    "ecaresnet101d", R101, _ECA, D, layers=103, params=44_568_563, macs=8_041_220_864
)
ecaresnet200d = _spec(
    "ecaresnet200d",
    R200,
    _ECA,
    D,
    layers=202,
    params=64_693_400,
    macs=19_914_274_560,
    image_size=256,
)
ecaresnet269d = _spec(
    "ecaresnet269d",
    R269,
    _ECA,
    D,
    layers=271,
    params=102_093_077,
    macs=41_364_716_288,
    image_size=320,
)
ecaresnext26t_32x4d = _spec(
    "ecaresnext26t_32x4d", R26, X32x4, _ECA, T, layers=28, params=15_406_220, macs=2_678_783_488
)
ecaresnext50t_32x4d = _spec(
    "ecaresnext50t_32x4d", R50, X32x4, _ECA, T, layers=52, params=25_045_686, macs=4_438_597_376
)
