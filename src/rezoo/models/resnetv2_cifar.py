"""Pre-activation ResNets for images of 32 pixels: arXiv:1603.05027, tables 2 and 4.

As `resnet_cifar`, with normalization and ReLU before each convolution. The ReLU behind the first
convolution comes before its output takes two ways (appendix, "Implementation Details"); so do those
of blocks that change the shape. The 164 layers are bottlenecks with the stride in the first 1x1 and
projections, as in the authors' code. With 10 classes:

| name             | blocks     | parameters | MACs at 32 px | error in the paper (CIFAR-10) |
|------------------|------------|------------|---------------|-------------------------------|
| preact_resnet110 | basic      |  1,727,962 |   252,887,680 |              6.37 % (table 2) |
| preact_resnet164 | bottleneck |  1,703,258 |   244,500,992 |              5.46 % (table 4) |
"""

from __future__ import annotations

from rezoo.models.resnetv2 import build
from rezoo.specs import ModelSpec

BASIC = {"depths": (18, 18, 18), "block": "basic", "widths": (16, 32, 64), "shortcut": "padded"}
BOTTLENECK = {"depths": (18, 18, 18), "block": "bottleneck_v1", "widths": (64, 128, 256)}


def _spec(layers: int, body: dict[str, object], *, params: int, macs: int) -> ModelSpec:
    return ModelSpec(
        name=f"preact_resnet{layers}",
        build=build,
        config={**body, "stem": ("small", (16,)), "pool": "none"},
        family="resnetv2",
        summary=f"{layers} layers, pre-activation, for images of 32 pixels",
        source="He et al. 2016, arXiv:1603.05027, tables 2 and 4",
        image_size=32,
        num_classes=10,
        params=params,
        macs=macs,
    )


preact_resnet110 = _spec(110, BASIC, params=1_727_962, macs=252_887_680)
preact_resnet164 = _spec(164, BOTTLENECK, params=1_703_258, macs=244_500_992)
