"""Pre-activation ResNets for images of 32 pixels: arXiv:1603.05027, table 2.

As `resnet_cifar`, with normalization and ReLU before each convolution. The ReLU behind the first
convolution comes before its output takes two ways (appendix, "Implementation Details"); so do those
of blocks that change the shape. The 164 layers are bottlenecks with the stride in the first 1x1 and
projections, as in the authors' code. With 10 classes:

| name             | blocks     | parameters | MACs at 32 px | error in table 2 (CIFAR-10) |
|------------------|------------|------------|---------------|-----------------------------|
| preact_resnet110 | basic      |  1,727,962 |   252,887,680 |                      6.37 % |
| preact_resnet164 | bottleneck |  1,703,258 |   244,500,992 |                      5.46 % |
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import Style, member
from rezoo.models.resnetv2 import build

_BASIC = {"depths": (18, 18, 18), "block": "basic", "widths": (16, 32, 64), "shortcut": "padded"}
_BOTTLENECK = {"depths": (18, 18, 18), "block": "bottleneck_v1", "widths": (64, 128, 256)}


_SMALL = Style(
    "pre-activation, for images of 32 pixels",
    "He et al. 2016, arXiv:1603.05027, table 2",
    {"stem": ("small", (16,)), "pool": "none"},
    in_timm=False,
)
_spec = partial(member, family="resnetv2", build=build, image_size=32, num_classes=10)

preact_resnet110 = _spec(
    "preact_resnet110", _BASIC, _SMALL, layers=110, params=1_727_962, macs=252_887_680
)
preact_resnet164 = _spec(
    "preact_resnet164", _BOTTLENECK, _SMALL, layers=164, params=1_703_258, macs=244_500_992
)
