"""Channel attention: weights between 0 and 1, one a channel, that scale the features of a block.

Each function takes and returns `(N, H, W, C)`. Weights are computed from the averages over all
positions.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from rezoo.models.layers import conv, divisible, relu
from rezoo.models.primitives import ChannelConvolution


def squeeze_excite(x: Any, *, ratio: float = 1 / 16, reduced: int | None = None, name: str) -> Any:
    """Scale each channel by two fully connected layers of the averages.

    Source: arXiv:1709.01507, sections 3.1 and 3.2. The fully connected layers are 1x1 convolutions
    with biases, as in timm.

    Args:
        x: Input tensor.
        ratio: Width between the two layers as a part of the channels; a multiple of 8 is used.
        reduced: That width; from `ratio` if None.
        name: Prefix of the names of the layers.
    """
    channels = x.shape[-1]
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    reduced = reduced or divisible(channels * ratio, 8, least=8, part=0)
    y = conv(y, reduced, 1, bias=True, name=f"{name}.fc1")
    y = relu(y, name=f"{name}.act")
    y = conv(y, channels, 1, bias=True, name=f"{name}.fc2")
    return gated(x, y, name=name)


def efficient_channel_attention(x: Any, *, name: str) -> Any:
    """Scale each channel by a convolution along the averages (arXiv:1910.03151, section 3.2).

    The kernel has the odd number of channels next to `(log2 C + 1) / 2`, at least 3.
    """
    side = int((math.log2(x.shape[-1]) + 1) / 2)
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    y = ChannelConvolution(max(side if side % 2 else side + 1, 3), name=f"{name}.conv")(y)
    return gated(x, y, name=name)


def gated(x: Any, weights: Any, *, name: str) -> Any:
    """Scale `(N, H, W, C)` by the sigmoid of weights `(N, 1, 1, C)`."""
    weights = keras.layers.Activation("sigmoid", name=f"{name}.gate")(weights)
    return keras.layers.Multiply(name=f"{name}.scale")([x, weights])
