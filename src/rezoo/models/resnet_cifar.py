"""ResNets for images of 32 pixels: arXiv:1512.03385, section 4.2.

A 3x3 convolution, then three stages of n basic blocks with 16, 32 and 64 channels at 32, 16 and 8
pixels: 6n + 2 layers. Shortcuts have no parameters (option A): if the shape changes, they keep
every second pixel and pad the channels with zeros. With 10 classes:

| name       |  n | parameters | MACs at 32 px | error in the paper (CIFAR-10, table 6) |
|------------|----|------------|---------------|----------------------------------------|
| resnet20   |  3 |    269,722 |    40,551,040 |                                 8.75 % |
| resnet32   |  5 |    464,154 |    68,862,592 |                                 7.51 % |
| resnet44   |  7 |    658,586 |    97,174,144 |                                 7.17 % |
| resnet56   |  9 |    853,018 |   125,485,696 |                                 6.97 % |
| resnet110  | 18 |  1,727,962 |   252,887,680 |                                 6.43 % |
| resnet1202 | 200 | 19,421,274 | 2,829,238,912 |                                7.93 % |
"""

from __future__ import annotations

from rezoo.models.residual import build
from rezoo.specs import ModelSpec

WIDTHS = (16, 32, 64)


def _spec(depth: int, *, params: int, macs: int) -> ModelSpec:
    return ModelSpec(
        name=f"resnet{depth}",
        build=build,
        config={
            "depths": ((depth - 2) // 6,) * len(WIDTHS),
            "blocks": tuple(("basic", width) for width in WIDTHS),
            "stem": ("small", WIDTHS[:1]),
            "pool": "none",
            "shortcut": "padded",
        },
        family="resnet",
        summary=f"{depth} layers, for images of 32 pixels",
        source="He et al. 2015, arXiv:1512.03385, section 4.2, option A",
        image_size=32,
        num_classes=10,
        params=params,
        macs=macs,
    )


resnet20 = _spec(20, params=269_722, macs=40_551_040)
resnet32 = _spec(32, params=464_154, macs=68_862_592)
resnet44 = _spec(44, params=658_586, macs=97_174_144)
resnet56 = _spec(56, params=853_018, macs=125_485_696)
resnet110 = _spec(110, params=1_727_962, macs=252_887_680)
resnet1202 = _spec(1202, params=19_421_274, macs=2_829_238_912)
