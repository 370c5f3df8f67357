"""Pre-activation ResNets for images of 32 pixels: arXiv:1603.05027, table 2.

As `resnet_cifar`, with normalization and ReLU before each convolution. The ReLU behind the first
convolution comes before its output takes two ways (appendix, "Implementation Details"); so do those
of blocks that change the shape. The 164 layers are bottlenecks with the stride in the first 1x1 and
projections, as in the authors' code. With 10 classes:

| name             | blocks     | parameters | MACs at 32 px | error in table 2 (CIFAR-10) |
|------------------|------------|------------|---------------|-----------------------------|
| preact_resnet110 | basic      |  1,727,962 |   252,887,680 |                      6.37 % |
| preact_resnet164 | bottleneck |  1,703,258 |   244,500,992 |                      5.46 % |
| wide_resnet28_10 | basic      | 36,479,194 | 5,243,328,768 |         4.00 % (1605.07146) |

`wide_resnet28_10` has few layers with ten times the channels ("Wide Residual Networks",
arXiv:1605.07146, table 1), without dropout; its error is that of table 5 there. Its name counts 28
convolutions, those of the three shortcuts among them.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import Style, member
from rezoo.models.resnetv2 import build

_BASIC = {"depths": (18, 18, 18), "block": "basic", "widths": (16, 32, 64), "shortcut": "padded"}
_BOTTLENECK = {"depths": (18, 18, 18), "block": "bottleneck_v1", "widths": (64, 128, 256)}
_WIDE_BASIC = {"depths": (4, 4, 4), "block": "basic", "widths": (160, 320, 640)}

_SMALL = Style(
    "pre-activation, for images of 32 pixels",
    "He et al. 2016, arXiv:1603.05027, table 2",
    {"stem": ("small", (16,)), "pool": "none"},
    in_timm=False,
)
_WIDE = Style("ten times as wide", "Zagoruyko and Komodakis 2016, arXiv:1605.07146, table 1", {})
_spec = partial(member, family="resnetv2", build=build, image_size=32, num_classes=10)

preact_resnet110 = _spec(
    "preact_resnet110", _BASIC, _SMALL, layers=110, params=1_727_962, macs=252_887_680
)
preact_resnet164 = _spec(
    "preact_resnet164", _BOTTLENECK, _SMALL, layers=164, params=1_703_258, macs=244_500_992
)
wide_resnet28_10 = _spec(
    "wide_resnet28_10", _WIDE_BASIC, _WIDE, _SMALL, layers=26, params=36_479_194, macs=5_243_328_768
)
