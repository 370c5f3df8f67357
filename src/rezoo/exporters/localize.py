"""Where an export leaves its source: the first layer whose values are not the source's.

A part of the network that ends at some layer is exported like the whole and compared with the
source's values there. At layers that everything passes through, such as the ends of blocks, values
that are wrong once stay wrong: halving finds the first of these. Those before it, back to the last
right one, are then looked at in their order.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
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
    nodes = bundle.graph.nodes

    def wrong(place: int) -> bool:
        layer = nodes[place].layer
        wanted = compiled_forward(keras.Model(model.inputs, layer.output))(few.inputs)
        return _differs(kind, tensor, nodes[place].name, few, wanted, RELATIVE["none"])

    passed = _passed_by_all(nodes)
    low, high = 0, len(passed) - 1  # all before `low` are right
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wrong(passed[middle]) else (middle + 1, high)
    first = passed[low - 1] + 1 if low else 0
    return next((nodes[i].name for i in range(first, passed[low] + 1) if wrong(i)), "")


def _passed_by_all(nodes: Sequence[Node]) -> list[int]:
    """Return the places of the nodes on which all that follow depend."""
    last_use = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    reach, found = last_use.get(INPUT, 0), []
    for place, node in enumerate(nodes):
        if reach <= place:  # nothing before it is used behind it
            found.append(place)
        reach = max(reach, last_use.get(node.name, place))
    return found


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
