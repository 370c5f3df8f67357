"""The fingerprint of a network: equal for equal computations, whatever the layers are called.

Two networks can have tensors of the same names and shapes and compute different things: a
ResNet-50 whose stride is in the 1x1 or in the 3x3, another activation, another epsilon. A
weights file cannot show it, so the fingerprint travels beside it.

It is the SHA-256 of the layers in graph order: kind, the settings that decide what is
computed at inference, shapes of the weights, and which layers each one reads. The head is
left out (it is replaced when classes change), and so is what acts in training only.
"""

from __future__ import annotations

from typing import Any

import keras

from rezoo.utils.files import canonical_digest

VERSION = "1"
_SETTINGS = (
    "activation",
    "approximate",
    "axis",
    "data_format",
    "dilation_rate",
    "epsilon",
    "filters",
    "groups",
    "keepdims",
    "kernel_size",
    "max_value",
    "negative_slope",
    "padding",
    "pool_size",
    "strides",
    "threshold",
    "units",
    "use_bias",
)


def fingerprint(model: keras.Model, *, head: str) -> str:
    """Return the fingerprint of a functional model as `"version:hexadecimal digits"`.

    Args:
        model: Any functional model; the size of its input does not matter.
        head: Name of the layer where the head begins: it and what follows are left out.
    """
    places: dict[str, int] = {}
    described: list[list[Any]] = []
    for layer in model.layers:
        read = [places.get(source, -1) for source in _sources(layer)]
        if layer.name == head or (read and min(read) < 0):
            continue  # the head, or behind it
        places[layer.name] = len(places)
        config = layer.get_config()
        settings = {k: _plain(config[k]) for k in _SETTINGS if k in config}
        shapes = [list(w.shape) for w in layer.weights]
        described.append([type(layer).__name__, settings, shapes, read])
    return f"{VERSION}:{canonical_digest(described)}"


def comparable(one: str, other: str) -> bool:
    """Whether two fingerprints were made by the same rule."""
    return one.partition(":")[0] == other.partition(":")[0]


def _sources(layer: Any) -> list[str]:
    """Return the names of the layers that a layer reads."""
    return [
        tensor._keras_history.operation.name
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
