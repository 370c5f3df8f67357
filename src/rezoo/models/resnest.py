"""ResNeSt: "ResNeSt: Split-Attention Networks", arXiv:2004.08955.

The 3x3 convolution of a bottleneck gives several maps for each group of channels, the splits.
Weights that depend on the image and add up to 1 choose among them for each channel (section 3,
"Split-Attention Networks"). Where the sides halve, an average over 3x3 does it instead of the
convolution ("Average Downsampling").

| name               | pixels |  parameters |           MACs |
|--------------------|--------|-------------|----------------|
| resnest14d         |    224 |  10,611,688 |  2,749,405,184 |
| resnest26d         |    224 |  17,069,448 |  3,623,391,232 |
| resnest50d         |    224 |  27,483,240 |  5,371,160,576 |
| resnest50d_1s4x24d |    224 |  25,677,000 |  4,399,827,456 |
| resnest50d_4s2x40d |    224 |  30,417,592 |  4,369,060,736 |
| resnest101e        |    256 |  48,275,016 | 13,321,472,000 |
| resnest200e        |    320 |  70,201,544 | 35,519,694,848 |
| resnest269e        |    416 | 110,929,480 | 77,348,702,208 |

A d stands for the deep stem and the pooled shortcuts of ResNet-D, see `resnet`; e for a stem of
twice the width. 4s2x40d is 4 splits and 2 groups of 40 channels; there, the average comes before
the convolution, as in the ablations of the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rezoo.models.residual import D, Style, member, stages

if TYPE_CHECKING:
    from rezoo.models.drop_path import DropPath


def split_attention_block(
    x: Any,
    width: int,
    *,
    stride: int,
    splits: int = 2,
    average_first: bool = False,
    groups: int = 1,
    base_width: int = 64,
    shortcut: Callable[..., Any],
    norm: Callable[..., Any],
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply a 1x1 convolution, a 3x3 with split attention, and a 1x1.

    Args:
        x: Input tensor.
        width: A quarter of the number of output channels.
        stride: Stride of the block.
        splits: Maps for each group of channels, the radix.
        average_first: Whether the average of a block with a stride precedes the 3x3.
        groups: Groups of channels, the cardinality.
        base_width: Inner width of a group in a block of width 64.
        shortcut: One of the functions of `shortcuts`.
        norm: The normalization.
        drop_path: Stochastic depth of this block; None for none.
        name: Prefix of the names of the layers.
    """
    from rezoo.models.blocks import join
    from rezoo.models.layers import average_pool, conv, relu

    inner = width * base_width // 64 * groups
    y = conv(x, inner, 1, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    if stride > 1 and average_first:
        y = average_pool(y, stride=stride, name=f"{name}.avd_first")
    y = _split_attention(y, splits=splits, groups=groups, norm=norm, name=f"{name}.conv2")
    if stride > 1 and not average_first:
        y = average_pool(y, stride=stride, name=f"{name}.avd_last")
    y = conv(y, 4 * width, 1, name=f"{name}.conv3")
    y = norm(y, zero_gamma=True, name=f"{name}.bn3")
    identity = shortcut(x, 4 * width, stride=stride, norm=norm, name=name)
    return join(y, identity, drop_path=drop_path, name=name)


def _split_attention(
    x: Any, *, splits: int, groups: int, norm: Callable[..., Any], name: str
) -> Any:
    """Convolve 3x3 and weigh the splits (section 3, equations 1 to 3): `(N, H, W, C)`."""
    import keras

    from rezoo.models.attention import gated
    from rezoo.models.channel_parts import PartsSoftmax, PartsSum
    from rezoo.models.layers import conv, divisible, relu

    channels = x.shape[-1]
    y = conv(x, channels * splits, 3, groups=groups * splits, name=f"{name}.conv")
    y = relu(norm(y, name=f"{name}.bn0"), name=f"{name}.act0")
    z = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(y)
    if splits > 1:
        z = PartsSum(splits, name=f"{name}.all")(z)
    reduced = divisible(channels * splits / 4, 8, least=32)
    z = conv(z, reduced, 1, groups=groups, bias=True, name=f"{name}.fc1")
    z = relu(norm(z, name=f"{name}.bn1"), name=f"{name}.act1")
    z = conv(z, channels * splits, 1, groups=groups, bias=True, name=f"{name}.fc2")
    if splits == 1:
        return gated(y, z, name=name)
    z = PartsSoftmax(splits, groups, name=f"{name}.rsoftmax")(z)
    y = keras.layers.Multiply(name=f"{name}.scale")([y, z])
    return PartsSum(splits, name=f"{name}.sum")(y)


_spec = partial(member, family="resnest")

_BLOCKS = stages("split_attention")
_PAPER = "Zhang et al. 2020, arXiv:2004.08955, section 3"
_S2 = Style("2 splits", _PAPER, {"splits": 2})
_E = Style(
    "wide deep stem, pooled shortcuts", _PAPER, {**D.config, "stem": ("deep", (64, 64, 128))}
)


def _body(*depths: int) -> dict[str, Any]:
    return {"depths": depths, "blocks": _BLOCKS}


def _splits(splits: int, groups: int, width: int) -> Style:
    """Return the style of an ablation: the average of a block comes before its convolution."""
    config = {"splits": splits, "groups": groups, "base_width": width, "average_first": True}
    words = f"{splits} splits, {groups} groups of {width}"
    return Style(words, f"{_PAPER}; ablations of the authors' code", config)


resnest14d = _spec(
    "resnest14d", _body(1, 1, 1, 1), _S2, D, layers=16, params=10_611_688, macs=2_749_405_184
)
resnest26d = _spec(
    "resnest26d", _body(2, 2, 2, 2), _S2, D, layers=28, params=17_069_448, macs=3_623_391_232
)
resnest50d = _spec(
    "resnest50d", _body(3, 4, 6, 3), _S2, D, layers=52, params=27_483_240, macs=5_371_160_576
)
resnest50d_1s4x24d = _spec(
    "resnest50d_1s4x24d",
    _body(3, 4, 6, 3),
    _splits(1, 4, 24),
    D,
    layers=52,
    params=25_677_000,
    macs=4_399_827_456,
)
resnest50d_4s2x40d = _spec(
    "resnest50d_4s2x40d",
    _body(3, 4, 6, 3),
    _splits(4, 2, 40),
    D,
    layers=52,
    params=30_417_592,
    macs=4_369_060_736,
)
resnest101e = _spec(
    "resnest101e",
    _body(3, 4, 23, 3),
    _S2,
    _E,
    layers=103,
    params=48_275_016,
    macs=13_321_472_000,
    image_size=256,
)
resnest200e = _spec(
    "resnest200e",
    _body(3, 24, 36, 3),
    _S2,
    _E,
    layers=202,
    params=70_201_544,
    macs=35_519_694_848,
    image_size=320,
)
resnest269e = _spec(
    "resnest269e",
    _body(3, 30, 48, 8),
    _S2,
    _E,
    layers=271,
    params=110_929_480,
    macs=77_348_702_208,
    image_size=416,
)
