"""SKNet: "Selective Kernel Networks", arXiv:1903.06586.

A 3x3 convolution has a second path with a 5x5, which is a 3x3 with gaps. Weights that depend on the
image and add up to 1 choose between the two for each channel ("Selective Kernel Convolution").

| name              | pixels | parameters |          MACs |
|-------------------|--------|------------|---------------|
| skresnet18        |    224 | 11,958,056 | 1,814,337,536 |
| skresnet34        |    224 | 22,282,376 | 3,664,237,568 |
| skresnet50        |    224 | 25,803,160 | 4,089,422,336 |
| skresnet50d       |    224 | 25,822,392 | 4,329,062,912 |
| skresnext50_32x4d |    224 | 27,479,784 | 4,462,710,784 |

`skresnext50_32x4d` is SKNet-50 of the paper, but for its attention of timm's width. The
others are timm's. They divide the channels between the two paths, so they have fewer parameters. A
d stands for the deep stem and the pooled shortcuts of ResNet-D, see `resnet`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rezoo.models.residual import D, Style, grouped, member, stages

if TYPE_CHECKING:
    from rezoo.models.drop_path import DropPath


def selective_basic_block(
    x: Any,
    width: int,
    *,
    stride: int,
    ratio: float = 1 / 16,
    divisor: int = 8,
    split: bool = True,
    shortcut: Callable[..., Any],
    norm: Callable[..., Any],
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply a selective and a 3x3 convolution, and a shortcut; see `selective_bottleneck_block`."""
    from rezoo.models.blocks import join
    from rezoo.models.layers import conv_norm

    options: dict[str, Any] = {"ratio": ratio, "divisor": divisor, "split": split}
    y = _selective(x, width, stride=stride, norm=norm, name=f"{name}.conv1", **options)
    y = conv_norm(y, width, 3, activate=False, norm=norm, name=f"{name}.conv2")
    identity = shortcut(x, width, stride=stride, norm=norm, name=name)
    return join(y, identity, drop_path=drop_path, name=name)


def selective_bottleneck_block(
    x: Any,
    width: int,
    *,
    stride: int,
    ratio: float = 1 / 16,
    divisor: int = 8,
    split: bool = True,
    groups: int = 1,
    base_width: int = 64,
    shortcut: Callable[..., Any],
    norm: Callable[..., Any],
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply a 1x1, a selective and a 1x1 convolution, and a shortcut.

    Args:
        x: Input tensor.
        width: A quarter of the number of output channels.
        stride: Stride of the block.
        ratio: Width of the attention as a part of the channels.
        divisor: Of that width.
        split: Whether each path reads its own half of the channels.
        groups: Groups of channels of each path.
        base_width: Inner width of a group in a block of width 64.
        shortcut: One of the functions of `shortcuts`.
        norm: The normalization.
        drop_path: Stochastic depth of this block; None for none.
        name: Prefix of the names of the layers.
    """
    from rezoo.models.blocks import join
    from rezoo.models.layers import conv_norm

    inner = width * base_width // 64 * groups
    options: dict[str, Any] = {"ratio": ratio, "divisor": divisor, "split": split}
    y = conv_norm(x, inner, 1, norm=norm, name=f"{name}.conv1")
    options |= {"groups": groups, "norm": norm}
    y = _selective(y, inner, stride=stride, name=f"{name}.conv2", **options)
    y = conv_norm(y, 4 * width, 1, activate=False, norm=norm, name=f"{name}.conv3")
    identity = shortcut(x, 4 * width, stride=stride, norm=norm, name=name)
    return join(y, identity, drop_path=drop_path, name=name)


def _selective(
    x: Any,
    filters: int,
    *,
    stride: int,
    ratio: float,
    divisor: int,
    split: bool,
    groups: int = 1,
    norm: Callable[..., Any],
    name: str,
) -> Any:
    """Convolve with two kernels and weigh the results: the paper's split, fuse and select."""
    import keras

    from rezoo.models.channel_parts import ChannelSlice, PartsSoftmax, PartsSum
    from rezoo.models.layers import conv, conv_norm, divisible, relu

    near = far = x
    if split:
        half = x.shape[-1] // 2
        near, far = (ChannelSlice(i * half, half, name=f"{name}.part{i}")(x) for i in (0, 1))
    if stride > 1:
        # with gaps of 2 and a stride of 2, the 3x3 reads every second pixel only
        far = keras.layers.MaxPooling2D(1, strides=stride, name=f"{name}.every_second")(far)
    options: dict[str, Any] = {"groups": min(filters, groups), "norm": norm}
    near = conv_norm(near, filters, 3, stride=stride, name=f"{name}.paths.0", **options)
    gaps = 1 if stride > 1 else 2
    far = conv_norm(far, filters, 3, dilation=gaps, name=f"{name}.paths.1", **options)
    y = keras.layers.Concatenate(name=f"{name}.paths")([near, far])
    z = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(y)
    z = PartsSum(2, name=f"{name}.all")(z)
    reduced = divisible(filters * ratio, divisor, least=divisor)
    z = conv(z, reduced, 1, name=f"{name}.attn.fc_reduce")
    z = relu(norm(z, name=f"{name}.attn.bn"), name=f"{name}.attn.act")
    z = conv(z, 2 * filters, 1, name=f"{name}.attn.fc_select")
    z = PartsSoftmax(2, name=f"{name}.attn.softmax")(z)
    y = keras.layers.Multiply(name=f"{name}.scale")([y, z])
    return PartsSum(2, name=f"{name}.sum")(y)


_spec = partial(member, family="sknet")

_R18 = {"depths": (2, 2, 2, 2), "blocks": stages("selective_basic")}
_R34 = {**_R18, "depths": (3, 4, 6, 3)}
_R50 = {"depths": (3, 4, 6, 3), "blocks": stages("selective_bottleneck")}
_PAPER = "Li et al. 2019, arXiv:1903.06586"
_HALVES = Style("selective kernels of halves", f"{_PAPER}; halves of timm", {})
_NARROW = Style("", _PAPER, {"ratio": 1 / 8, "divisor": 16})
_WHOLE = Style("selective kernels", f"{_PAPER}, SKNet-50", {"divisor": 32, "split": False})

skresnet18 = _spec(
    "skresnet18", _R18, _HALVES, _NARROW, layers=18, params=11_958_056, macs=1_814_337_536
)
skresnet34 = _spec(
    "skresnet34", _R34, _HALVES, _NARROW, layers=34, params=22_282_376, macs=3_664_237_568
)
skresnet50 = _spec("skresnet50", _R50, _HALVES, layers=50, params=25_803_160, macs=4_089_422_336)
skresnet50d = _spec(
    "skresnet50d", _R50, _HALVES, D, layers=52, params=25_822_392, macs=4_329_062_912
)
skresnext50_32x4d = _spec(
    "skresnext50_32x4d",
    _R50,
    _WHOLE,
    grouped(32, 4),
    layers=50,
    params=27_479_784,
    macs=4_462_710_784,
)
