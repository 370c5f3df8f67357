"""The feature maps of a network: the ends of its stages, and any other layer by its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from rezoo.errors import IncompatibleError, UnknownNameError
from rezoo.models.configured import with_config
from rezoo.models.factory import deep_graphs
from rezoo.models.naming import head_of, stage_of
from rezoo.utils.names import near, suggest

POOLED = "global_pool"  # the layer whose output is the pooled vector
_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True)
class FeatureInfo:
    """What is known of one feature map.

    Attributes:
        module: timm's name of the module that ends in it: `layer1`, `stages.0`, `features.9`.
        channels: Number of channels.
        stride: Pixels of the image for each of its positions, in both directions.
    """

    module: str
    channels: int
    stride: int


def feature_info(model: keras.Model) -> tuple[FeatureInfo, ...]:
    """Return the feature maps of a functional model at the end of its stages, in their order."""
    return tuple(
        FeatureInfo(name, int(tensor.shape[-1]), _stride(tensor))
        for name, tensor in stage_outputs(model).items()
    )


def stage_outputs(model: keras.Model) -> dict[str, Any]:
    """Return the name of each stage and the tensor at its end, `(N, h, w, C)`.

    Stages are those of `rezoo.models.naming`. In a network without such names, as VGG, a stage ends
    before or, if it is the last, with a pooling.
    """
    ends = {stage: layer.output for layer in model.layers if (stage := stage_of(layer.name))}
    if ends:
        return ends
    pools = [layer for layer in model.layers if isinstance(layer, _POOLINGS)]
    ends = {x.input._keras_history.operation.name: x.input for x in pools}
    if pools:
        ends[pools[-1].name] = pools[-1].output
    return {name: tensor for name, tensor in ends.items() if _stride(tensor) > 1}


def features_only(model: keras.Model) -> keras.Model:
    """Return a model that gives a list of the feature maps at the end of the stages.

    It has the layers, the weights and the attributes of `model`, and no head.

    Raises:
        IncompatibleError: The network has no stages.
    """
    maps = list(stage_outputs(model).values())
    if not maps:
        raise IncompatibleError(
            f"{model.name} has no stages that are named as in rezoo.models.naming",
            hint="name layers for rezoo.features.",
        )
    return _part(model, maps)


def pooled(model: keras.Model) -> keras.Model:
    """Return a model that gives the input of the head, the pooled vector `(N, D)`.

    Raises:
        IncompatibleError: The network has no head with a name of `naming.HEADS`.
    """
    head = head_of(model)
    if head is None:
        raise IncompatibleError(f"{model.name} has no head, whose input would be the features")
    return _part(model, head.input)


def tensors_of(model: keras.Model, names: Sequence[str]) -> list[Any]:
    """Return the outputs of layers and stages by their names.

    Raises:
        UnknownNameError: There is no such layer or stage; the hint has similar names.
    """
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    stages = stage_outputs(model)
    known = {layer.name: layer.output for layer in layers} | stages
    for name in names:
        if name not in known:
            close = near(name, known) or [*stages, *known.keys() & {POOLED}]
            raise UnknownNameError(
                f"{model.name} has no layer or stage {name!r}",
                hint=suggest(name, close, "the stages and the pooled vector are"),
            )
    return [known[name] for name in names]


def _part(model: keras.Model, outputs: Any) -> keras.Model:
    """Return the model up to some tensors, with its configuration and origin."""
    with deep_graphs():
        part = keras.Model(model.input, outputs, name=model.name)
        part = with_config(part, getattr(model, "rezoo_config", None))
    part.rezoo_origin = getattr(model, "rezoo_origin", None)
    return part


def _stride(tensor: Any) -> int:
    """Return the product of the strides of the layers between the image and a tensor."""
    strides = []
    while not isinstance(layer := tensor._keras_history.operation, keras.layers.InputLayer):
        strides.append(max(getattr(layer, "strides", None) or (1,)))
        tensor = layer._inbound_nodes[tensor._keras_history.node_index].input_tensors[0]
    return math.prod(strides)
