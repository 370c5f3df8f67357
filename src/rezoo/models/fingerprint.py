"""The fingerprint of a network: equal for equal computations, independent of layer names.

Networks with tensors of the same names and shapes can compute different functions: the stride of
a ResNet-50 in the 1x1 or in the 3x3, another activation, another epsilon. The weights file does not
show the difference, so `config.json` holds the fingerprint.

It is the SHA-256 of the layers in graph order: their kind, the settings that matter at inference,
the shapes of their weights, and the layers that they read. It does not include the head, which is
replaced for other classes, and settings that only matter in training.
"""

from __future__ import annotations

from typing import Any

import keras

from rezoo.models.naming import HEADS
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
    "parts",
    "pool_size",
    "size",
    "start",
    "strides",
    "threshold",
    "units",
    "use_bias",
)


def fingerprint(model: keras.Model) -> str:
    """Return the fingerprint of a functional model as `"version:hexadecimal digits"`.

    The head, named as in `naming.HEADS`, and all layers after it are not included.

    Args:
        model: A functional model with an input of any size.
    """
    places: dict[str, int] = {}
    described: list[list[Any]] = []
    for layer in model.layers:
        read = [places.get(source, -1) for source in _sources(layer)]
        if layer.name in HEADS or (read and min(read) < 0):
            continue  # the head, or after it
        places[layer.name] = len(places)
        config = layer.get_config()
        settings = {k: _plain(config[k]) for k in _SETTINGS if k in config}
        shapes = [list(w.shape) for w in layer.weights]
        described.append([type(layer).__name__, settings, shapes, read])
    return f"{VERSION}:{canonical_digest(described)}"


def comparable(one: str, other: str) -> bool:
    """Return whether two fingerprints have the same version."""
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
