"""int8 that keeps its accuracy: which layers must stay in float32.

Where int8 loses more than half a point of top-1 (or, without labels, changes one answer in
twenty), the layers are ranked by how much error each adds: the error of its output, relative to
the output's size, beyond that of its inputs. The worst 1, 2, 4, 8, … stay in float32 until the
accuracy is back or half of the layers are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import AGREEMENT, DROP, Comparison, compare, in_batches
from rezoo.exporters.formats import INPUT
from rezoo.exporters.samples import Samples

_RANKED_ON = 32  # images
_BATCH = 16

Trade = tuple[dict[str, Any], ...]
Run = Callable[[bytes], Callable[[np.ndarray], np.ndarray]]


def keep_accuracy(
    bundle: Bundle, samples: Samples, wanted: np.ndarray, run: Run
) -> tuple[Bundle, Trade]:
    """Choose the layers that stay in float32, for ONNX and what is made from it.

    Args:
        bundle: What is to be quantized, with calibration images.
        samples: What accuracy is measured on.
        wanted: The source's outputs for them.
        run: Runs an ONNX model, in the runtime that will run the export.

    Returns:
        The bundle with `keep`, and what each attempt gave.
    """
    from rezoo.exporters.onnx_quantization import Int8

    tensor = dataclasses.replace(bundle, takes="tensor")
    int8 = Int8(tensor)
    trade: list[dict[str, Any]] = []
    ranking: list[str] = []
    keep: tuple[str, ...] = ()
    best: tuple[float, tuple[str, ...]] | None = None
    while True:
        content = int8.model(keep).SerializeToString()
        found = compare(wanted, in_batches(run(content), samples.inputs), samples, quantize="int8")
        trade.append(_row(keep, found, len(content)))
        score = found.accuracy.drop if found.accuracy else 1 - found.agreement
        if best is None or score < best[0]:
            best = (score, keep)
        if _is_kept(found):
            break
        ranking = ranking or rank(tensor, int8)
        count = 2 * len(keep) or 1
        if count > len(ranking) // 2:
            break
        keep = tuple(ranking[:count])
    return dataclasses.replace(bundle, keep=best[1], ranges=int8.ranges), tuple(trade)


def rank(bundle: Bundle, int8: Any) -> list[str]:
    """Return the convolutions and fully connected layers, those that add most error first."""
    from rezoo.exporters.onnx_graph import to_onnx

    nodes = [n for n in bundle.graph.nodes if n.kind in ("conv", "dense")]
    names = [n.name for n in nodes if n.name != bundle.graph.output]
    images = bundle.training_images[:_RANKED_ON]
    exact = _values(to_onnx(bundle), names, images)
    rough = _values(int8.model(), names, images)
    errors = {name: _relative(rough[name], exact[name]) for name in names}
    before = {n.name: _error_before(n.inputs[0], bundle, errors) for n in nodes}
    added = {name: errors[name] - before[name] for name in names}
    return sorted(names, key=lambda name: -added[name])


def _error_before(name: str, bundle: Bundle, errors: dict[str, float]) -> float:
    """Return the error of the last layer before, through whatever has no weights."""
    by_name = {n.name: n for n in bundle.graph.nodes}
    while name not in errors:
        if name == INPUT or name not in by_name:
            return 0.0
        name = by_name[name].inputs[0]
    return errors[name]


def _values(model: Any, names: list[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what nodes give; quantization renames tensors, but not nodes."""
    from onnx import TensorProto, helper

    from rezoo.exporters.onnx_file import session

    tensors = {node.name: node.output[0] for node in model.graph.node}
    for name in names:
        kind = helper.make_tensor_value_info(tensors[name], TensorProto.FLOAT, None)
        model.graph.output.append(kind)
    opened = session(model.SerializeToString())
    parts = [
        opened.run([tensors[n] for n in names], {INPUT: images[i : i + _BATCH]})
        for i in range(0, len(images), _BATCH)
    ]
    return {name: np.concatenate(values) for name, *values in zip(names, *parts, strict=True)}


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(((found - wanted) ** 2).mean() / max((wanted**2).mean(), 1e-30)))


def _is_kept(found: Comparison) -> bool:
    if found.accuracy is not None:
        return found.accuracy.drop <= DROP
    return found.agreement >= AGREEMENT


def _row(keep: tuple[str, ...], found: Comparison, size: int) -> dict[str, Any]:
    return {
        "kept_in_float32": list(keep),
        "top1": found.accuracy.after if found.accuracy else None,
        "drop": found.accuracy.drop if found.accuracy else None,
        "agreement": found.agreement,
        "rms_relative": found.rms_relative,
        "bytes": size,
    }
