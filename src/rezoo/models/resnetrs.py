"""ResNet-RS: "Revisiting ResNets: Improved Training and Scaling Strategies", arXiv:2103.07579.

ResNet-D with squeeze and excitation, whose inner width is a quarter of the channels (section 4.1).
As in timm, a 3x3 convolution of stride 2 takes the place of the max pooling. Deeper members are for
larger images.

| name        | pixels |  parameters |           MACs |
|-------------|--------|-------------|----------------|
| resnetrs50  |    160 |  35,691,912 |  2,278,629,376 |
| resnetrs101 |    192 |  63,618,696 |  6,012,157,952 |
| resnetrs152 |    256 |  86,621,576 | 15,527,886,848 |
| resnetrs200 |    256 |  93,209,992 | 20,093,386,752 |
| resnetrs270 |    256 | 129,861,448 | 26,950,189,056 |
| resnetrs350 |    288 | 163,956,168 | 43,493,793,792 |
| resnetrs420 |    320 | 191,891,656 | 63,942,344,704 |

Pixels are those for training in the table of published weights.
"""

from __future__ import annotations

from functools import partial

from rezoo.models.residual import BOTTLENECK, R50, R101, R152, R200, TRICKS, Style, member

_spec = partial(member, family="resnetrs")

_R270 = {"depths": (4, 29, 53, 4), "blocks": BOTTLENECK}
_R350 = {"depths": (4, 36, 72, 4), "blocks": BOTTLENECK}
_R420 = {"depths": (4, 44, 87, 4), "blocks": BOTTLENECK}
_RS = Style(
    "deep stem, pooled shortcuts, squeeze and excitation",
    f"Bello et al. 2021, arXiv:2103.07579, section 4.1; {TRICKS} (ResNet-D)",
    {
        "stem": ("deep", (32, 32, 64)),
        "pool": "convolution",
        "shortcut": "pooled",
        "attention": ("se", {"ratio": 0.25}),
    },
)

resnetrs50 = _spec(
    "resnetrs50", R50, _RS, layers=53, params=35_691_912, macs=2_278_629_376, image_size=160
)
resnetrs101 = _spec(
    "resnetrs101", R101, _RS, layers=104, params=63_618_696, macs=6_012_157_952, image_size=192
)
resnetrs152 = _spec(
    "resnetrs152", R152, _RS, layers=155, params=86_621_576, macs=15_527_886_848, image_size=256
)
resnetrs200 = _spec(
    "resnetrs200", R200, _RS, layers=203, params=93_209_992, macs=20_093_386_752, image_size=256
)
resnetrs270 = _spec(
    "resnetrs270", _R270, _RS, layers=275, params=129_861_448, macs=26_950_189_056, image_size=256
)
resnetrs350 = _spec(
    "resnetrs350", _R350, _RS, layers=353, params=163_956_168, macs=43_493_793_792, image_size=288
)
resnetrs420 = _spec(
    "resnetrs420", _R420, _RS, layers=422, params=191_891_656, macs=63_942_344_704, image_size=320
)
