"""Format stablehlo: what `jax.export` serializes, for CPU and CUDA, with any batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from rezoo.errors import IncompatibleError
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import FORMATS, INPUT, UNKNOWN
from rezoo.exporters.graph import SHORTEST, Graph, Node

_PLATFORMS = ("cpu", "cuda")
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.stablehlo`, and the description in files of its own."""
    [batch] = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((batch, *bundle.graph.shape), jnp.float32)
    run = jax.jit(to_jax(bundle.whole))
    exported = jax.export.export(run, platforms=_PLATFORMS)(images)
    (folder / FORMATS["stablehlo"].file).write_bytes(exported.serialize())
    bundle.describe(folder)


def to_jax(graph: Graph) -> Callable[[Any], Any]:
    """Return a graph as `run(images) -> outputs`: float32 `(N, H, W, C)` to `(N, K)`.

    With a second output, it returns both in a tuple.
    """
    for node in graph.nodes:
        if node.kind not in _OPERATIONS:
            raise IncompatibleError(
                f"layer {node.name} ({type(node.layer).__name__}) has no counterpart in JAX here",
                hint="export to keras, saved_model or litert.",
            )

    def run(images: Any) -> Any:
        values = {INPUT: images}
        for node in graph.nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = _OPERATIONS[node.kind](node, *inputs)
        whole = values[graph.output]
        return (whole, values[UNKNOWN]) if graph.has_unknown else whole

    return run


def _conv(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    y = jax.lax.conv_general_dilated(
        x,
        jnp.asarray(node.weights["kernel"]),
        node.options["stride"],
        [(top, bottom), (left, right)],
        dimension_numbers=_LAYOUT,
        rhs_dilation=node.options["dilation"],
        feature_group_count=node.options["groups"],
        precision=jax.lax.Precision.HIGHEST,
    )
    return y + node.weights["bias"]


def _dense(node: Node, x: Any) -> Any:
    kernel = jnp.asarray(node.weights["kernel"])
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST) + node.weights["bias"]


def _window(x: Any, node: Node, start: float, join: Any, padding: Any) -> Any:
    pool = node.options["pool"]
    stride = node.options.get("stride", pool)
    sides = (1, *pool, 1), (1, *stride, 1)
    return jax.lax.reduce_window(x, start, join, *sides, padding)


def _max_pool(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    padding = [(0, 0), (top, bottom), (left, right), (0, 0)]
    return _window(x, node, -jnp.inf, jax.lax.max, padding)


def _average_pool(node: Node, x: Any) -> Any:
    padding = "SAME" if node.options["ceil"] else "VALID"
    total = _window(x, node, 0.0, jax.lax.add, padding)
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return total / _window(ones, node, 0.0, jax.lax.add, padding)


def _channel_conv(node: Node, x: Any) -> Any:
    kernel = node.weights["kernel"].ravel()
    half, channels = len(kernel) // 2, x.shape[-1]
    wide = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (half, half)))
    return sum(wide[..., i : i + channels] * weight for i, weight in enumerate(kernel))


def _group_norm(node: Node, x: Any) -> Any:
    apart = x.reshape(*x.shape[:3], node.options["groups"], -1)
    mean, variance = apart.mean((1, 2, 4), keepdims=True), apart.var((1, 2, 4), keepdims=True)
    normed = (apart - mean) / jnp.sqrt(variance + node.options["epsilon"])
    return normed.reshape(x.shape) * node.weights["scale"] + node.weights["offset"]


def _layer_norm(node: Node, x: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    normed = (x - mean) / jnp.sqrt(variance + node.options["epsilon"])
    return normed * node.weights["scale"] + node.weights["offset"]


def _activation(node: Node, x: Any) -> Any:
    if node.options["function"] == "gelu":
        return jax.nn.gelu(x, approximate=False)
    return getattr(jax.nn, node.options["function"])(x)


def _slice(node: Node, x: Any) -> Any:
    start = node.options["start"]
    return x[..., start : start + node.options["size"]]


def _softmax_parts(node: Node, x: Any) -> Any:
    apart = x.reshape(x.shape[0], node.options["groups"], node.options["parts"], -1)
    return jax.nn.softmax(apart.transpose(0, 2, 1, 3), axis=1).reshape(x.shape)


def _evo_norm(node: Node, x: Any) -> Any:
    active = x * jax.nn.sigmoid(x * node.weights["gate"])
    apart = x.reshape(*x.shape[:3], node.options["groups"], -1)
    variance = apart.var((1, 2, 4), keepdims=True)
    normed = active.reshape(apart.shape) / jnp.sqrt(variance + node.options["epsilon"])
    return normed.reshape(x.shape) * node.weights["scale"] + node.weights["offset"]


def _pad(node: Node, x: Any) -> Any:
    top, bottom, left, right = node.options["padding"]
    return jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _pad_channels(node: Node, x: Any) -> Any:
    stride, more = node.options["stride"], node.options["filters"] - x.shape[-1]
    sides = ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2))
    return jnp.pad(x[:, ::stride, ::stride], sides)


def _energy(node: Node, x: Any) -> Any:
    score = node.options["temperature"] * jax.nn.logsumexp(x, axis=-1)
    return node.options["threshold"] - score


def _similarity(node: Node, x: Any) -> Any:
    length = jnp.maximum(jnp.linalg.norm(x, axis=-1), SHORTEST)
    means = jnp.asarray(node.weights["means"])
    nearest = jnp.matmul(x, means, precision=jax.lax.Precision.HIGHEST).max(-1)
    return node.options["threshold"] - nearest / length


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv": _conv,
    "channel_conv": _channel_conv,
    "dense": _dense,
    "affine": lambda node, x: x * node.weights["scale"] + node.weights["offset"],
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "evo_norm": _evo_norm,
    "relu": lambda node, x: jnp.maximum(x, 0),
    "add": lambda node, *x: sum(x[1:], x[0]),
    "multiply": lambda node, x, y: x * y,
    "concatenate": lambda node, *x: jnp.concatenate(x, axis=-1),
    "slice": _slice,
    "sum_parts": lambda node, x: sum(jnp.split(x, node.options["parts"], axis=-1)),
    "softmax_parts": _softmax_parts,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": lambda node, x: x.mean((1, 2), keepdims=node.options["keepdims"]),
    "pad": _pad,
    "reflect": lambda node, x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
    "pad_channels": _pad_channels,
    "energy": _energy,
    "similarity": _similarity,
    "activation": _activation,
}
