"""The linear head of a network: global average pooling and one dense layer, also nested."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.models.factory import deep_graphs
from rezoo.specs import ModelConfig

_IDENTITIES = (  # at inference
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
)
_ACTIVATIONS = ("linear", "softmax", "sigmoid")  # after the logits


@dataclass(frozen=True, eq=False)
class LinearHead:
    """The end of a network: `logits = mean of the feature map · kernel + bias`.

    Attributes:
        features: Model from images to the last feature map, `(N, h, w, C)`.
        dense: The layer that follows the pooling, from C features to K logits.
    """

    features: keras.Model
    dense: keras.layers.Dense

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the kernel, float32 `(C, K)`, and the bias, float32 `(K,)`."""
        kernel = np.asarray(keras.ops.convert_to_numpy(self.dense.kernel), np.float32)
        if self.dense.bias is None:
            return kernel, np.zeros(kernel.shape[1], np.float32)
        return kernel, np.asarray(keras.ops.convert_to_numpy(self.dense.bias), np.float32)


def linear_head(model: keras.Model) -> LinearHead:
    """Find the linear head of a functional model, which may be nested in others.

    Layers that do nothing at inference may stand between pooling and dense layer, and a softmax or
    a sigmoid after it.

    Raises:
        IncompatibleError: The model ends otherwise.
    """
    calls = _calls_from_the_end(model)
    call = next(calls, None)
    while call and (_is_identity(call.layer) or _is_activation(call.layer)):
        call = next(calls, None)
    dense = call.layer if call else None
    if not isinstance(dense, keras.layers.Dense) or _activation(dense) not in _ACTIVATIONS:
        raise _other_end(model, dense, "a dense layer without activation, softmax or sigmoid")
    call = next(calls, None)
    while call and _is_identity(call.layer):
        call = next(calls, None)
    if call is None or not _is_pooling(call.layer):
        what = f"global average pooling before {dense.name!r}"
        raise _other_end(model, call.layer if call else None, what)
    return LinearHead(_joined([*call.parts, (call.model, call.input)]), dense)


def nested_config(model: Any) -> ModelConfig | None:
    """Return the configuration of a model, or of the network of rezoo that its images enter first.

    Class names are those of the network only if its outputs are the model's outputs.
    """
    config = getattr(model, "rezoo_config", None)
    if isinstance(config, ModelConfig):
        return config
    if not _is_functional(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    for layer in model.layers:
        nodes = getattr(layer, "_inbound_nodes", ())
        entered = any(model.inputs[0] is tensor for node in nodes for tensor in node.input_tensors)
        if not entered or (config := nested_config(layer)) is None:
            continue
        if model.outputs[0]._keras_history.operation is layer:
            return config
        return dataclasses.replace(
            config,
            num_classes=model.output_shape[-1],
            class_names=(),
            class_descriptions=(),
            multi_label=False,
        )
    return None


_Parts = tuple[tuple[keras.Model, Any], ...]  # models, and the tensors where they are left


class _Call(NamedTuple):
    """One call of a layer in the graph of a model.

    Attributes:
        layer: The layer.
        input: Its symbolic input.
        model: The functional model that calls it.
        parts: The models around that model, and their tensors that enter the next one.
    """

    layer: keras.layers.Layer
    input: Any
    model: keras.Model
    parts: _Parts


def _calls_from_the_end(model: keras.Model, parts: _Parts = ()) -> Iterator[_Call]:
    """Yield the calls from the output on, up to the first layer with several inputs.

    In place of a functional model that is called as a layer, yield its calls.
    """
    tensor = model.outputs[0] if _is_functional(model) and len(model.outputs) == 1 else None
    while tensor is not None:
        layer, place, _ = tensor._keras_history
        inputs = layer._inbound_nodes[place].input_tensors
        if isinstance(layer, keras.layers.InputLayer):
            return
        tensor = inputs[0] if len(inputs) == 1 else None
        if tensor is not None and _is_functional(layer):
            yield from _calls_from_the_end(layer, (*parts, (model, tensor)))
        else:
            yield _Call(layer, tensor, model, parts)


def _joined(parts: Sequence[tuple[keras.Model, Any]]) -> keras.Model:
    """Return one model from the first input to the last tensor, with the layers of `parts`."""
    with deep_graphs():
        steps = [keras.Model(m.inputs, t) for m, t in parts if t is not m.inputs[0]]
        if len(steps) == 1:
            return steps[0]
        first = parts[0][0].inputs[0]
        images = tensor = keras.Input(batch_shape=first.shape, dtype=first.dtype)
        for step in steps:
            tensor = step(tensor)
        return keras.Model(images, tensor)


def _is_functional(layer: Any) -> bool:
    return isinstance(layer, keras.Model) and bool(getattr(layer, "outputs", None))


def _is_identity(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, _IDENTITIES)


def _is_activation(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Softmax):
        return True
    return isinstance(layer, keras.layers.Activation) and _activation(layer) in _ACTIVATIONS


def _activation(layer: keras.layers.Layer) -> str:
    return getattr(layer.activation, "__name__", "")


def _is_pooling(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.GlobalAveragePooling2D)
        and layer.data_format == "channels_last"
        and not layer.keepdims
    )


def _other_end(
    model: keras.Model, layer: keras.layers.Layer | None, expected: str
) -> IncompatibleError:
    found = f"{layer.name!r}, a {type(layer).__name__}" if layer is not None else "nothing"
    return IncompatibleError(
        f"{model.name} has no linear head: expected is {expected}, found is {found}",
        hint="class activation maps are exact only for networks that end in global average "
        "pooling and one dense layer; those of rezoo do.",
    )
