"""What other tools print for a network, by their rules, and why they differ.

All agree on convolutions and fully connected layers. They differ in what they add (batch
normalization, activations, pooling, biases) and in whether a multiply-add counts as one or as two.
Each rule was read in the tool's source and is compared with the tool by the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from rezoo.models.counts import as_in_paper
from rezoo.models.factory import deep_graphs
from rezoo.specs import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Elements:
    """What the rules add up; numbers of elements for one image.

    Attributes:
        macs: Multiply-adds of convolutions and fully connected layers.
        biases: Additions of biases, one for each output of such a layer.
        norms: Outputs of batch normalization.
        relus: Outputs of ReLUs.
        additions: Sums of a block and its shortcut.
        max_pool_inputs: Of max pooling, without padding.
        max_pool_windows: Its outputs times the pixels of a window.
        mean_pool_inputs: Of average pooling inside the network.
        mean_pool_outputs: Likewise.
        mean_pool_windows: Likewise, its outputs times the pixels of a window.
        features: Outputs of the average over all positions.
        feature_inputs: Its inputs.
    """

    macs: int = 0
    biases: int = 0
    norms: int = 0
    relus: int = 0
    additions: int = 0
    max_pool_inputs: int = 0
    max_pool_windows: int = 0
    mean_pool_inputs: int = 0
    mean_pool_outputs: int = 0
    mean_pool_windows: int = 0
    features: int = 0
    feature_inputs: int = 0


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to count.

    Attributes:
        tool: Who counts so.
        unit: What a multiply-add is in it: `MACs` where it is one, `FLOPs` where it is two.
        rule: The count, from the elements of a network.
        why: What it counts, in a sentence.
    """

    tool: str
    unit: str
    rule: Callable[[Elements], int]
    why: str


CONVENTIONS = (
    Convention(
        tool="rezoo",
        unit="MACs",
        rule=lambda e: e.macs,
        why="convolutions and fully connected layers; a multiply-add is one",
    ),
    Convention(
        tool="rezoo",
        unit="FLOPs",
        rule=lambda e: 2 * e.macs,
        why="the same; a multiply-add is two",
    ),
    Convention(
        tool="torchvision",
        unit="MACs",
        rule=lambda e: e.macs,
        why="as rezoo; its weights call the figure GFLOPS (_ops), and a multiply-add is one",
    ),
    Convention(
        tool="torch FlopCounterMode",
        unit="FLOPs",
        rule=lambda e: 2 * e.macs,
        why="convolutions and matrix products; a multiply-add is two",
    ),
    Convention(
        tool="timm, fvcore",
        unit="MACs",
        rule=lambda e: e.macs + 2 * e.norms + e.feature_inputs,
        why="adds two for each output of batch normalization, and the inputs of the last pooling",
    ),
    Convention(
        tool="ptflops, aten",
        unit="MACs",
        rule=lambda e: e.macs + e.biases,
        why="adds one for each bias",
    ),
    Convention(
        tool="ptflops, pytorch",
        unit="MACs",
        rule=lambda e: (
            e.macs
            + e.biases
            + 2 * e.norms
            + 2 * (e.relus + e.max_pool_inputs + e.mean_pool_inputs + e.feature_inputs)
        ),
        why="adds biases, two for each output of batch normalization, and ReLUs and pooling, which "
        "it counts twice: the layer, and the function that the layer calls",
    ),
    Convention(
        tool="THOP",
        unit="MACs",
        rule=lambda e: e.macs + 4 * e.norms + e.mean_pool_outputs + e.feature_inputs + e.features,
        why="adds four for each output of batch normalization, and average pooling",
    ),
    Convention(
        tool="TensorFlow profiler",
        unit="FLOPs",
        rule=lambda e: (
            2 * e.macs
            + e.biases
            + e.additions
            + e.max_pool_windows
            + e.mean_pool_windows
            + e.feature_inputs
        ),
        why="a multiply-add is two; adds biases, shortcuts and pooling, and leaves out the fused "
        "batch normalization and ReLUs, which it has no rule for",
    ),
)
_PAPER = "He et al., table 1"
_PAPER_WHY = (
    "as rezoo, and calls a multiply-add a FLOP; its shortcuts have no parameters below 50 layers "
    "(option A), and from 50 on the first 1x1 takes the step (v1)"
)


def elements(model: keras.Model, *, input_shape: tuple[int, int, int]) -> Elements:
    """Count a functional model's elements for one image of `input_shape` (height, width, channels).

    The model is rebuilt at that size without its weights; it is not changed or run.
    """
    if model.input_shape[1:] != tuple(input_shape):
        with deep_graphs():
            model = keras.models.clone_model(model, input_tensors=keras.Input(input_shape))
    totals: dict[str, int] = dict.fromkeys(Elements.__dataclass_fields__, 0)
    for layer in model.layers:
        for key, number in _of_layer(layer).items():
            totals[key] += number
    return Elements(**totals)


def table(spec: ModelSpec, counted: Elements, *, usual: bool) -> list[dict[str, Any]]:
    """Return what each tool prints: its name, its unit, the count and why.

    Args:
        spec: The architecture.
        counted: Of its network.
        usual: Whether image size and classes are the spec's, so that the paper's table applies.
    """
    rows = [
        {"tool": c.tool, "unit": c.unit, "count": c.rule(counted), "why": c.why}
        for c in CONVENTIONS
    ]
    paper = as_in_paper(spec) if usual else None
    count = paper.macs if paper else None
    return [*rows, {"tool": _PAPER, "unit": "MACs", "count": count, "why": _PAPER_WHY}]


def _of_layer(layer: Any) -> dict[str, int]:
    kinds = keras.layers
    if isinstance(layer, (kinds.Dense, kinds.Conv2D, kinds.DepthwiseConv2D)):
        outputs = _size(layer.output)
        positions = math.prod(layer.output.shape[1:-1])
        bias = outputs if layer.use_bias else 0
        return {"macs": math.prod(layer.kernel.shape) * positions, "biases": bias}
    if isinstance(layer, kinds.BatchNormalization):
        return {"norms": _size(layer.output)}
    if isinstance(layer, kinds.ReLU):
        return {"relus": _size(layer.output)}
    if isinstance(layer, kinds.Add):
        return {"additions": _size(layer.output)}
    if isinstance(layer, kinds.GlobalAveragePooling2D):
        return {"features": _size(layer.output), "feature_inputs": _size(layer.input)}
    if isinstance(layer, (kinds.MaxPooling2D, kinds.AveragePooling2D)):
        inputs, outputs = _size(_unpadded(layer.input)), _size(layer.output)
        windows = math.prod(layer.pool_size) * outputs
        if isinstance(layer, kinds.MaxPooling2D):
            return {"max_pool_inputs": inputs, "max_pool_windows": windows}
        return {
            "mean_pool_inputs": inputs,
            "mean_pool_outputs": outputs,
            "mean_pool_windows": windows,
        }
    return {}


def _unpadded(tensor: Any) -> Any:
    """Return what a layer of zeros before a pooling was given: elsewhere the pooling pads."""
    before = tensor._keras_history.operation
    return before.input if isinstance(before, keras.layers.ZeroPadding2D) else tensor


def _size(tensor: Any) -> int:
    return math.prod(tensor.shape[1:])
