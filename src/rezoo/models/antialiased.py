"""Anti-aliased ResNets: "Making Convolutional Networks Shift-Invariant Again", arXiv:1904.11486.

Blocks with a stride, and the pooling after the stem, filter the features before they subsample
them (section 3.2): the resnetaa networks by an average over 2x2, as timm builds them, the
resnetblur networks by the filter of the binomials 1, 2, 1. The 3x3 convolutions before the filters
have no stride, so they cost more.

| name                  | pixels |  parameters |            MACs |
|-----------------------|--------|-------------|-----------------|
| resnetaa34d           |    224 |  21,816,904 |   4,423,626,752 |
| resnetaa50            |    224 |  25,557,032 |   5,129,633,792 |
| resnetaa50d           |    224 |  25,576,264 |   5,369,274,368 |
| resnetaa101d          |    224 |  44,568,392 |   9,081,495,552 |
| seresnetaa50d         |    224 |  28,107,256 |   5,371,789,312 |
| seresnextaa101d_32x8d |    288 |  93,588,280 |  28,392,882,176 |
| seresnextaa201d_32x8d |    384 | 149,394,904 | 100,711,505,920 |
| resnetblur18          |    224 |  11,689,512 |   2,334,298,112 |
| resnetblur50          |    224 |  25,557,032 |   5,129,633,792 |
| resnetblur50d         |    224 |  25,576,264 |   5,369,274,368 |
| resnetblur101d        |    224 |  44,568,392 |   9,081,495,552 |

A d stands for the deep stem and the pooled shortcuts of ResNet-D, see `resnet`; se for squeeze and
excitation, see `seresnet`; 32x8d for groups, see `resnext`.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import BOTTLENECK, R18, R34, R50, R101, SE, TRICKS, D, Style, member
from rezoo.models.resnext import X32x8

_aa = partial(member, family="resnetaa")
_blur = partial(member, family="resnetblur")

_R201 = {"depths": (3, 24, 36, 4), "blocks": BOTTLENECK}
_PAPER = "Zhang 2019, arXiv:1904.11486, section 3.2"
_AA = Style(
    "anti-aliased by averages",
    f"{_PAPER} (Rect-2), as timm builds it",
    {"antialias": "average", "pool": "average"},
)
_BLUR = Style(
    "anti-aliased by blurring",
    f"{_PAPER} (Tri-3)",
    {"antialias": "blur", "pool": "blur"},
)
_WIDE_D = Style(
    "wide deep stem, pooled shortcuts",
    f"{TRICKS} (ResNet-D); stem widths of timm",
    {"stem": ("deep", (64, 64, 128)), "shortcut": "pooled"},
)

resnetaa34d = _aa("resnetaa34d", R34, _AA, D, layers=36, params=21_816_904, macs=4_423_626_752)
resnetaa50 = _aa("resnetaa50", R50, _AA, layers=50, params=25_557_032, macs=5_129_633_792)
resnetaa50d = _aa("resnetaa50d", R50, _AA, D, layers=52, params=25_576_264, macs=5_369_274_368)
resnetaa101d = _aa("resnetaa101d", R101, _AA, D, layers=103, params=44_568_392, macs=9_081_495_552)
seresnetaa50d = _aa(
    "seresnetaa50d", R50, SE, _AA, D, layers=52, params=28_107_256, macs=5_371_789_312
)
seresnextaa101d_32x8d = _aa(
    "seresnextaa101d_32x8d",
    R101,
    X32x8,
    SE,
    _AA,
    D,
    layers=103,
    params=93_588_280,
    macs=28_392_882_176,
    image_size=288,
)
seresnextaa201d_32x8d = _aa(
    "seresnextaa201d_32x8d",
    _R201,
    X32x8,
    SE,
    _AA,
    _WIDE_D,
    layers=205,
    params=149_394_904,
    macs=100_711_505_920,
    image_size=384,
)
resnetblur18 = _blur("resnetblur18", R18, _BLUR, layers=18, params=11_689_512, macs=2_334_298_112)
resnetblur50 = _blur("resnetblur50", R50, _BLUR, layers=50, params=25_557_032, macs=5_129_633_792)
resnetblur50d = _blur(
    "resnetblur50d", R50, _BLUR, D, layers=52, params=25_576_264, macs=5_369_274_368
)
resnetblur101d = _blur(
    "resnetblur101d", R101, _BLUR, D, layers=103, params=44_568_392, macs=9_081_495_552
)
