"""Keras layers as nodes of a graph: kind, weights and options; see `rezoo.exporters.graph`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rezoo.models.channel_parts import ChannelSlice, PartsSoftmax, PartsSum
from rezoo.models.norms import EvoNorm
from rezoo.models.primitives import (
    ChannelConvolution,
    Conv2D,
    LayerScale,
    PaddedShortcut,
    ReflectionPadding2D,
)

Known = tuple[str, dict[str, Any], dict[str, Any]] | None


def read_layer(layer: Any) -> Known:
    """Return kind, weights and options of a layer; None if only Keras can run it."""
    return next((read(layer) for kind, read in _READERS if isinstance(layer, kind)), None)


def _read_conv(layer: Any) -> Known:
    if layer.data_format != "channels_last":
        return None
    odd = all(k % 2 for k in layer.kernel_size)
    if layer.padding == "same" and (layer.strides != (1, 1) or not odd):
        return None  # the padding depends on the size of the image
    if layer.activation is not keras.activations.linear:
        return None
    pairs = zip(layer.dilation_rate, layer.kernel_size, strict=True)
    above, beside = (d * (k // 2) if layer.padding == "same" else 0 for d, k in pairs)
    options = {
        "stride": tuple(layer.strides),
        "padding": (above, above, beside, beside),
        "groups": layer.groups,
        "dilation": tuple(layer.dilation_rate),
    }
    return "conv", _kernel_and_bias(layer), options


def _read_norm(layer: Any) -> Known:
    if layer.axis not in (-1, 3):
        return None
    scale = 1.0 / np.sqrt(_value(layer.moving_variance).astype(np.float64) + layer.epsilon)
    if layer.scale:
        scale = scale * _value(layer.gamma)
    offset = -_value(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _value(layer.beta)
    return "affine", {"scale": scale, "offset": offset}, {}


def _read_dense(layer: Any) -> Known:
    if layer.activation is not keras.activations.linear:
        return None
    weights = _kernel_and_bias(layer)
    if len(layer.output.shape) != 4:
        return "dense", weights, {}
    weights["kernel"] = weights["kernel"][None, None]  # at each position: a 1x1 convolution
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "groups": 1, "dilation": (1, 1)}
    return "conv", weights, options


def _read_layer_norm(layer: Any) -> Known:
    last = layer.axis in (-1, len(layer.output.shape) - 1, [-1])
    if not last or not layer.scale or not layer.center or getattr(layer, "rms_scaling", False):
        return None
    weights = {"scale": _value(layer.gamma), "offset": _value(layer.beta)}
    return "layer_norm", weights, {"epsilon": layer.epsilon}


def _read_layer_scale(layer: Any) -> Known:
    scale = _value(layer.layer_scale)
    return "affine", {"scale": scale, "offset": np.zeros_like(scale)}, {}


def _read_relu(layer: Any) -> Known:
    if layer.negative_slope or layer.threshold or layer.max_value is not None:
        return None
    return "relu", {}, {}


def _read_activation(layer: Any) -> Known:
    known = ("softmax", "sigmoid", "gelu")
    names = {"relu": "relu"} | dict.fromkeys(known, "activation")
    name = getattr(layer.activation, "__name__", "")
    return (names[name], {}, {"function": name}) if name in names else None


def _read_max_pool(layer: Any) -> Known:
    if layer.padding != "valid":
        return None
    pool, stride = tuple(layer.pool_size), tuple(layer.strides)
    return "max_pool", {}, {"pool": pool, "stride": stride, "padding": (0, 0, 0, 0)}


def _read_average_pool(layer: Any) -> Known:
    pool, stride = tuple(layer.pool_size), tuple(layer.strides)
    same = layer.padding == "same"
    if same and pool != stride:
        return None  # else "same" pads at the end of odd sides only
    return "average_pool", {}, {"pool": pool, "stride": stride, "ceil": same}


def _read_padding(layer: Any) -> Known:
    (top, bottom), (left, right) = layer.padding
    return "pad", {}, {"padding": (top, bottom, left, right)}


def _read_channel_conv(layer: Any) -> Known:
    return "channel_conv", {"kernel": _value(layer.kernel)}, {}


def _read_group_norm(layer: Any) -> Known:
    if layer.axis not in (-1, 3) or not layer.scale or not layer.center:
        return None
    weights = {"scale": _value(layer.gamma), "offset": _value(layer.beta)}
    return "group_norm", weights, {"groups": layer.groups, "epsilon": layer.epsilon}


def _read_evo_norm(layer: Any) -> Known:
    weights = {"scale": layer.gamma, "offset": layer.beta, "gate": layer.v}
    options = {"groups": layer.groups, "epsilon": layer.epsilon}
    return "evo_norm", {name: _value(variable) for name, variable in weights.items()}, options


# The first match is used. A reader returns None if only Keras can run the layer.
_READERS: tuple[tuple[type, Any], ...] = (
    (keras.layers.DepthwiseConv2D, lambda layer: None),
    (keras.layers.Conv2D, _read_conv),
    (ChannelConvolution, _read_channel_conv),
    (keras.layers.BatchNormalization, _read_norm),
    (keras.layers.GroupNormalization, _read_group_norm),
    (keras.layers.LayerNormalization, _read_layer_norm),
    (LayerScale, _read_layer_scale),
    (EvoNorm, _read_evo_norm),
    (keras.layers.Dense, _read_dense),
    (keras.layers.ReLU, _read_relu),
    (keras.layers.Activation, _read_activation),
    (keras.layers.Add, lambda layer: ("add", {}, {})),
    (keras.layers.Multiply, lambda layer: ("multiply", {}, {})),
    (
        keras.layers.Concatenate,
        lambda layer: ("concatenate", {}, {}) if layer.axis in (-1, 3) else None,
    ),
    (ChannelSlice, lambda layer: ("slice", {}, {"start": layer.start, "size": layer.size})),
    (PartsSum, lambda layer: ("sum_parts", {}, {"parts": layer.parts})),
    (
        PartsSoftmax,
        lambda layer: ("softmax_parts", {}, {"parts": layer.parts, "groups": layer.groups}),
    ),
    (keras.layers.MaxPooling2D, _read_max_pool),
    (keras.layers.AveragePooling2D, _read_average_pool),
    (
        keras.layers.GlobalAveragePooling2D,
        lambda layer: ("global_average_pool", {}, {"keepdims": layer.keepdims}),
    ),
    (keras.layers.ZeroPadding2D, _read_padding),
    (ReflectionPadding2D, lambda layer: ("reflect", {}, {})),
    (
        PaddedShortcut,
        lambda layer: ("pad_channels", {}, {"filters": layer.filters, "stride": layer.stride}),
    ),
)


def _kernel_and_bias(layer: Any) -> dict[str, np.ndarray]:
    own = isinstance(layer, Conv2D)  # its filters can differ from its variable
    kernel = _value(layer.convolution_kernel() if own else layer.kernel)
    bias = _value(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
    return {"kernel": kernel, "bias": bias}


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
