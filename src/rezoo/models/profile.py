"""Parameters, multiply-adds and activations of a Keras model.

One MAC is one multiply-add or two FLOPs; He et al. call a MAC a FLOP. As in torchvision and the
paper, MACs are those of convolutions and fully connected layers, without biases, normalization and
pooling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import keras

from rezoo.models.factory import deep_graphs, start_from_zeros
from rezoo.models.naming import block_of, stage_of
from rezoo.models.primitives import ChannelConvolution
from rezoo.models.settings import keras_settings


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of one layer for one image.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        output_shape: Shape of its output without the batch axis.
        params: Trainable parameters.
        statistics: Parameters that are not trained (running means and variances).
        macs: Multiply-adds.
        text: Notation of the paper, such as `3×3, 64`; empty for minor layers.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    statistics: int
    macs: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The cost of a network for one image.

    Attributes:
        input_shape: `(height, width, channels)`.
        layers: The layers in graph order, without inputs.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[LayerCost, ...]

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def statistics(self) -> int:
        """Running means and variances."""
        return sum(layer.statistics for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and fully connected layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations: two per multiply-add."""
        return 2 * self.macs

    @property
    def activations(self) -> int:
        """Output elements of convolutions and fully connected layers."""
        return sum(math.prod(layer.output_shape) for layer in self.layers if layer.macs)

    @property
    def weighted_layers(self) -> int:
        """The number in the name of a network: layers with weights on the way to the logits."""
        return sum(stage.weighted_layers for stage in self.stages())

    def stages(self) -> list[Stage]:
        """Return the rows of the layer table of the paper."""
        rows = []
        for name, group in groupby(self.layers, key=lambda layer: _stage_of(layer.name)):
            stage = Stage.of(name, list(group))
            if stage.contents:
                rows.append(stage)
        return rows


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A row of the layer table: consecutive layers with a common prefix.

    Attributes:
        name: The prefix, such as `layer1`.
        contents: The blocks in the notation of the paper: `[3×3, 64 · 3×3, 64] ×2`.
        output_shape: Output shape of the last layer without the batch axis.
        weighted_layers: Convolutions and fully connected layers outside projection shortcuts and
            channel attention. Those of the parts of Res2Net or the paths of SKNet are one layer.
        params: Trainable parameters.
        macs: Multiply-adds for one image.
    """

    name: str
    contents: str
    output_shape: tuple[int, ...]
    weighted_layers: int
    params: int
    macs: int

    @classmethod
    def of(cls, name: str, layers: list[LayerCost]) -> Stage:
        """Summarize consecutive layers."""
        counted = [x for x in layers if x.macs and not _beside(x.name)]
        blocks = [
            " · ".join(layer.text for layer in block)
            for _, block in groupby(counted, key=lambda layer: _block_of(layer.name))
        ]
        runs = [(text, len(list(run))) for text, run in groupby(blocks)]
        contents = " ".join(
            f"[{text}] ×{count}" if count > 1 or "·" in text else text for text, count in runs
        )
        return cls(
            name=name,
            contents=contents or layers[-1].text,
            output_shape=layers[-1].output_shape,
            weighted_layers=sum(not _is_further_part(x.name) for x in counted),
            params=sum(layer.params for layer in layers),
            macs=sum(layer.macs for layer in layers),
        )


def profile(model: keras.Model, *, input_shape: tuple[int, int, int]) -> Profile:
    """Return the cost of a functional model for one image.

    A model with another input shape is cloned at this one, without its weights. It is neither
    changed nor run.

    Args:
        model: A functional model.
        input_shape: `(height, width, channels)`.
    """
    if model.input_shape[1:] != tuple(input_shape):
        source = model
        with deep_graphs(), keras_settings():
            model = start_from_zeros(
                lambda: keras.models.clone_model(source, input_tensors=keras.Input(input_shape))
            )
    return Profile(input_shape=input_shape, layers=tuple(_costs(model)))


def _costs(model: keras.Model) -> Iterator[LayerCost]:
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        yield LayerCost(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=tuple(layer.output.shape[1:]),
            params=sum(math.prod(w.shape) for w in layer.trainable_weights),
            statistics=sum(math.prod(w.shape) for w in layer.non_trainable_weights),
            macs=_macs(layer),
            text=_text(layer),
        )


def _macs(layer: Any) -> int:
    """Return kernel elements × output positions: one MAC per kernel element and position."""
    if isinstance(layer, ChannelConvolution):
        return math.prod(layer.kernel.shape) * int(layer.output.shape[-1])
    kinds = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    if not isinstance(layer, kinds):
        return 0
    return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])


def _text(layer: Any) -> str:
    if isinstance(layer, keras.layers.Dense):
        return f"fc, {layer.units}"
    if isinstance(layer, keras.layers.Conv2D):
        height, width = layer.kernel_size
        groups = f", C={layer.groups}" if layer.groups > 1 else ""  # arXiv:1611.05431, table 1
        return f"{height}×{width}, {layer.filters}{groups}"
    if isinstance(layer, keras.layers.MaxPooling2D):
        height, width = layer.pool_size
        return f"{height}×{width} max pool"
    return "average pool" if isinstance(layer, keras.layers.GlobalAveragePooling2D) else ""


def _block_of(name: str) -> str:
    """Return the block of a layer; for one outside blocks, such as `conv1.0`, its prefix."""
    return block_of(name) or name.rpartition(".")[0]


def _stage_of(name: str) -> str:
    """Return the stage of a layer: `layer1` for `layer1.0.conv1`, `conv1` for `bn1`."""
    first = stage_of(name) or name.split(".", 1)[0]
    joined = {"bn1": "conv1", "act1": "conv1", "norm": "global_pool"}  # a norm after all stages
    return joined.get(first, first)


def _beside(name: str) -> bool:
    """Return whether a layer is on a shortcut or computes channel attention."""
    attention = {"se", "attn"}.intersection(name.split(".")) or ".conv2.fc" in name
    return bool(attention) or "downsample" in name.split(".")


def _is_further_part(name: str) -> bool:
    """Return whether a convolution is a further one of Res2Net's parts or SKNet's paths."""
    return re.search(r"\.(convs|paths)\.[1-9]", name) is not None
