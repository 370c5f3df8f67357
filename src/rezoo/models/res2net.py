"""Res2Net: "Res2Net: A New Multi-scale Backbone Architecture", arXiv:1904.01169.

A block divides its channels into parts. Each part but the last is convolved, and its result is
added to the next part before the next convolution, so the parts see areas of different sizes
(section 3.1, figure 2). In the names, 26w_4s stands for 4 parts of 26 channels in the first stage.

| name              | pixels | parameters |          MACs |
|-------------------|--------|------------|---------------|
| res2net50_14w_8s  |    224 | 25,059,816 | 4,178,898,944 |
| res2net50_26w_4s  |    224 | 25,699,120 | 4,255,166,464 |
| res2net50_26w_6s  |    224 | 37,051,448 | 6,295,523,328 |
| res2net50_26w_8s  |    224 | 48,403,776 | 8,335,880,192 |
| res2net50_48w_2s  |    224 | 25,287,304 | 4,159,832,064 |
| res2net50d        |    224 | 25,718,352 | 4,494,807,040 |
| res2net101_26w_4s |    224 | 45,206,688 | 8,066,974,464 |
| res2net101d       |    224 | 45,225,920 | 8,306,615,040 |
| res2next50        |    224 | 24,671,464 | 4,172,677,120 |

`res2next50` has 8 groups in its convolutions, as a ResNeXt (section 3.2). A d stands for the deep
stem and the pooled shortcuts of ResNet-D, see `resnet`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rezoo.models.residual import D, Style, member, stages

if TYPE_CHECKING:
    from rezoo.models.drop_path import DropPath


def res2net_block(
    x: Any,
    width: int,
    *,
    stride: int,
    scale: int,
    groups: int = 1,
    base_width: int = 26,
    shortcut: Callable[..., Any],
    norm: Callable[..., Any],
    attention: Callable[..., Any] | None = None,
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply a 1x1 convolution, one 3x3 for each part but the last, and a 1x1.

    A block that changes the shape convolves its parts on their own, and averages the last one with
    a padding that counts, as the authors' code does.

    Args:
        x: Input tensor.
        width: A quarter of the number of output channels.
        stride: Stride of the block.
        scale: Number of parts.
        groups: Groups of channels of the 3x3 convolutions.
        base_width: Width of a group of a part in a block of width 64.
        shortcut: One of the functions of `shortcuts`.
        norm: The normalization.
        attention: One of the functions of `attention`; None for none.
        drop_path: Stochastic depth of this block; None for none.
        name: Prefix of the names of the layers.
    """
    import keras

    from rezoo.models.blocks import join
    from rezoo.models.channel_parts import ChannelSlice
    from rezoo.models.layers import average_pool, conv, relu

    alone = stride > 1 or x.shape[-1] != 4 * width
    inner = width * base_width // 64 * groups
    y = conv(x, inner * scale, 1, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.relu1")
    *parts, last = (ChannelSlice(i * inner, inner, name=f"{name}.part{i}")(y) for i in range(scale))
    done: list[Any] = []
    for i, part in enumerate(parts):
        if done and not alone:
            part = keras.layers.Add(name=f"{name}.sum{i}")([done[-1], part])
        part = conv(part, inner, 3, stride=stride, groups=groups, name=f"{name}.convs.{i}")
        done.append(relu(norm(part, name=f"{name}.bns.{i}"), name=f"{name}.relus.{i}"))
    done.append(average_pool(last, stride=stride, name=f"{name}.pool") if alone else last)
    y = keras.layers.Concatenate(name=f"{name}.parts")(done)
    y = conv(y, 4 * width, 1, name=f"{name}.conv3")
    y = norm(y, zero_gamma=True, name=f"{name}.bn3")
    identity = shortcut(x, 4 * width, stride=stride, norm=norm, name=name)
    return join(y, identity, attention=attention, drop_path=drop_path, name=name)


_spec = partial(member, family="res2net")

_BODY50 = {"depths": (3, 4, 6, 3), "blocks": stages("res2net")}
_BODY101 = {**_BODY50, "depths": (3, 4, 23, 3)}
_PAPER = "Gao et al. 2019, arXiv:1904.01169, section 3"


def _parts(width: int, scale: int, groups: int = 1) -> Style:
    """Return the style of blocks of `scale` parts of `groups` times `width` channels."""
    in_groups = f", {groups} groups" if groups > 1 else ""
    config = {"base_width": width, "scale": scale, "groups": groups}
    return Style(f"{scale} parts of {groups * width}{in_groups}", _PAPER, config)


res2net50_14w_8s = _spec(
    "res2net50_14w_8s", _BODY50, _parts(14, 8), layers=50, params=25_059_816, macs=4_178_898_944
)
res2net50_26w_4s = _spec(
    "res2net50_26w_4s", _BODY50, _parts(26, 4), layers=50, params=25_699_120, macs=4_255_166_464
)
res2net50_26w_6s = _spec(
    "res2net50_26w_6s", _BODY50, _parts(26, 6), layers=50, params=37_051_448, macs=6_295_523_328
)
res2net50_26w_8s = _spec(
    "res2net50_26w_8s", _BODY50, _parts(26, 8), layers=50, params=48_403_776, macs=8_335_880_192
)
res2net50_48w_2s = _spec(
    "res2net50_48w_2s", _BODY50, _parts(48, 2), layers=50, params=25_287_304, macs=4_159_832_064
)
res2net50d = _spec(
    "res2net50d", _BODY50, _parts(26, 4), D, layers=52, params=25_718_352, macs=4_494_807_040
)
res2net101_26w_4s = _spec(
    "res2net101_26w_4s", _BODY101, _parts(26, 4), layers=101, params=45_206_688, macs=8_066_974_464
)
res2net101d = _spec(
    "res2net101d", _BODY101, _parts(26, 4), D, layers=103, params=45_225_920, macs=8_306_615_040
)
res2next50 = _spec(
    "res2next50", _BODY50, _parts(4, 4, 8), layers=50, params=24_671_464, macs=4_172_677_120
)
