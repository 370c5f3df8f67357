"""Where an export leaves its source: the first layer whose values are not the source's.

A part of the network that ends at some layer is exported like the whole and compared with the
source's values there. Once values are wrong they stay wrong, so halving finds the first.
"""

from __future__ import annotations

import dataclasses
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo.evaluation.forward import compiled_forward
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import RELATIVE, outputs_of
from rezoo.exporters.formats import INPUT, Format
from rezoo.exporters.graph import Graph, Node
from rezoo.exporters.samples import Samples

PREPROCESSING = "preprocessing"
_IMAGES = 4
_TWO_LEVELS = 0.015  # grey levels of 255, as a part of the largest input


def first_difference(kind: Format, bundle: Bundle, model: keras.Model, samples: Samples) -> str:
    """Return the name of the first layer that differs, or `preprocessing`; empty for none.

    Args:
        kind: The format.
        bundle: What was exported; not quantized.
        model: The source's network.
        samples: Some images.
    """
    few = dataclasses.replace(
        samples, pictures=samples.pictures[:_IMAGES], inputs=samples.inputs[:_IMAGES]
    )
    tensor = dataclasses.replace(bundle, takes="tensor")
    if bundle.takes == "raw" and _differs(kind, bundle, None, few, few.inputs, _TWO_LEVELS):
        return PREPROCESSING
    nodes = [node for node in bundle.graph.nodes if node.layer is not None]
    low, high = 0, len(nodes)  # all before `low` are right
    while low < high:
        middle = (low + high) // 2
        layer = nodes[middle].layer
        wanted = compiled_forward(keras.Model(model.inputs, layer.output))(few.inputs)
        if _differs(kind, tensor, nodes[middle].name, few, wanted, RELATIVE["none"]):
            high = middle
        else:
            low = middle + 1
    return nodes[low].name if low < len(nodes) else ""


def _differs(
    kind: Format,
    bundle: Bundle,
    name: str | None,
    samples: Samples,
    wanted: np.ndarray,
    tolerance: float,
) -> bool:
    graph = _nothing(bundle.graph) if name is None else bundle.graph.until(name)
    module: Any = import_module(kind.module)
    with tempfile.TemporaryDirectory() as folder:
        module.write(dataclasses.replace(bundle, graph=graph, gives="logits"), Path(folder))
        found = outputs_of(module.open_runner(Path(folder)), samples)
    most = float(np.abs(wanted).max()) or 1.0
    return not float(np.abs(found - wanted).max()) <= tolerance * most


def _nothing(graph: Graph) -> Graph:
    """Return a graph that gives back its input."""
    ones = np.ones(graph.shape[-1], np.float32)
    weights = {"scale": ones, "offset": 0 * ones}
    same = Node(name=PREPROCESSING, kind="affine", inputs=(INPUT,), weights=weights)
    return dataclasses.replace(graph, nodes=(same,))
