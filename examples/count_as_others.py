"""Count networks with other tools: `python examples/count_as_others.py`.

Prints the table of docs/guides/benchmark.md: the count of each tool for one image of 224 pixels and
1000 classes, in billions. PyTorch's tools count the networks of torchvision, TensorFlow's profiler
those of rezoo. Tools that are not installed are left out; all of them come with
`pip install torch torchvision fvcore ptflops thop`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from rezoo import registry
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.profile import profile

NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
SHAPE = (224, 224, 3)


@dataclass(frozen=True)
class Tool:
    """One row of the table.

    Attributes:
        name: Name of the tool.
        unit: `MACs` if it counts a multiply-add as one, `FLOPs` if as two.
        count: Returns the count of a network, or raises ImportError.
        counted: What it counts.
    """

    name: str
    unit: str
    count: Callable[[str], int]
    counted: str


def torch_network(name: str) -> Any:
    """Return the network of torchvision, for inference."""
    import torchvision

    return torchvision.models.get_model(name).eval()


def images() -> Any:
    """Return a batch of one image for PyTorch."""
    import torch

    return torch.zeros(1, SHAPE[2], *SHAPE[:2])


def rezoo_macs(name: str) -> int:
    """Count with rezoo."""
    model = start_from_zeros(partial(create_model, name, input_shape=SHAPE))
    return profile(model, input_shape=SHAPE).macs


def paper_macs(name: str) -> int:
    """Count the network of the paper: option A up to 34 layers, v1 strides from 50 layers on."""
    config = dict(registry.architectures.get(name).config)
    if config["blocks"][0][0] == "basic":
        config["shortcut"] = "padded"
    else:
        config["blocks"] = tuple(("bottleneck_v1", width) for _, width in config["blocks"])
    build = partial(
        registry.architectures.get(name).build,
        name=name,
        input_shape=SHAPE,
        num_classes=1000,
        classifier_activation=None,
        **config,
    )
    return profile(start_from_zeros(build), input_shape=SHAPE).macs


def torchvision_macs(name: str) -> int:
    """Return the figure that torchvision publishes with its weights, in steps of a million."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    return round(weights.meta["_ops"] * 1e9)


def torch_flops(name: str) -> int:
    """Count with `FlopCounterMode` of PyTorch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        torch_network(name)(images())
    return counter.get_total_flops()


def fvcore_macs(name: str) -> int:
    """Count with fvcore, as timm does."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(torch_network(name), images())
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


def ptflops_macs(name: str, *, backend: str) -> int:
    """Count with one of the backends of ptflops."""
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        torch_network(name),
        (SHAPE[2], *SHAPE[:2]),
        as_strings=False,
        print_per_layer_stat=False,
        backend=backend,
    )
    return macs


def thop_macs(name: str) -> int:
    """Count with THOP."""
    import thop

    macs, _ = thop.profile(torch_network(name), inputs=(images(),), verbose=False)
    return round(macs)


def tensorflow_flops(name: str) -> int:
    """Count the network of rezoo with TensorFlow's profiler."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    if keras.config.backend() != "tensorflow":
        raise ImportError("Keras's backend is not TensorFlow")
    model = start_from_zeros(partial(create_model, name, input_shape=SHAPE))
    forward = tf.function(lambda x: model(x, training=False))
    traced = forward.get_concrete_function(tf.TensorSpec((1, *SHAPE)))
    frozen = convert_to_constants.convert_variables_to_constants_v2(traced)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        found = tf.compat.v1.profiler.profile(graph, options={**options, "output": "none"})
    return found.total_float_ops


TOOLS = (
    Tool("rezoo", "MACs", rezoo_macs, "convolutions and fully connected layers"),
    Tool("torchvision", "MACs", torchvision_macs, "the same"),
    Tool("torch's `FlopCounterMode`", "FLOPs", torch_flops, "the same; a multiply-add is two"),
    Tool(
        "fvcore, timm",
        "MACs",
        fvcore_macs,
        "also two per output of batch normalization and one per input of the last pooling",
    ),
    Tool("ptflops, aten", "MACs", partial(ptflops_macs, backend="aten"), "also one per bias"),
    Tool(
        "ptflops, pytorch",
        "MACs",
        partial(ptflops_macs, backend="pytorch"),
        "also biases, two per output of batch normalization, and ReLUs and pooling twice: the "
        "layer, and the function that it calls",
    ),
    Tool(
        "THOP",
        "MACs",
        thop_macs,
        "also four per output of batch normalization, and average pooling",
    ),
    Tool(
        "TensorFlow's profiler",
        "FLOPs",
        tensorflow_flops,
        "a multiply-add is two; also biases, shortcuts and pooling, but not batch normalization "
        "and ReLUs",
    ),
    Tool(
        "He et al. 2015, table 1",
        "MACs",
        paper_macs,
        "shortcuts of option A up to 34 layers, stride in the first 1×1 from 50 layers on",
    ),
)


def main() -> None:
    """Print the table."""
    print("| tool | unit | ResNet-18 | 34 | 50 | 101 | 152 | counted |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    for tool in TOOLS:
        try:
            counts = [f"{tool.count(name) / 1e9:.3f}" for name in NETWORKS]
        except ImportError as error:
            print(f"{tool.name} is left out: {error}", file=sys.stderr)
            continue
        print("|", " | ".join((tool.name, tool.unit, *counts, tool.counted)), "|")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
