"""Find the first layer of an export whose values differ from the source's.

A part of the network that ends at some layer is exported like the whole, and compared with the
source's values there. All values pass through some layers, such as the ends of blocks: once an
output of those is wrong, all later ones are. So a binary search finds the first of them, and then
each layer after the last right one is compared in order.
"""

from __future__ import annotations

import dataclasses
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import keras
import numpy as np

from rezoo.evaluation.forward import compiled_forward
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.comparing import RELATIVE, both_of
from rezoo.exporters.formats import INPUT, Format
from rezoo.exporters.graph import Graph, Node
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import Samples

PREPROCESSING = "preprocessing"
_IMAGES = 4
_TWO_LEVELS = 0.015  # two grey levels of 255, relative to the largest input


def first_difference(kind: Format, bundle: Bundle, samples: Samples) -> str:
    """Return the name of the first layer that differs, or `preprocessing`; empty if none does.

    The bundle must not be quantized.
    """
    few = dataclasses.replace(
        samples, pictures=samples.pictures[:_IMAGES], inputs=samples.inputs[:_IMAGES]
    )
    bundle = dataclasses.replace(bundle, gives="logits")
    if bundle.takes == "raw":
        alone = dataclasses.replace(bundle, graph=_identity(bundle.graph))
        if _differs(kind, alone, few, few.inputs, _TWO_LEVELS):
            return PREPROCESSING
    nodes = bundle.graph.nodes

    def wrong(place: int) -> bool:
        graph, output = bundle.graph.until(nodes[place].name), nodes[place].layer.output
        wanted = compiled_forward(keras.Model(bundle.network.inputs, output))(few.inputs)
        part = dataclasses.replace(bundle, takes="tensor", graph=graph)
        return _differs(kind, part, few, wanted, RELATIVE["none"])

    passed = _passed_by_all(nodes)
    end = bisect_left(passed, True, hi=len(passed) - 1, key=wrong)
    first = passed[end - 1] + 1 if end else 0
    return next((nodes[i].name for i in range(first, passed[end] + 1) if wrong(i)), "")


def _passed_by_all(nodes: Sequence[Node]) -> list[int]:
    """Return the places of the nodes through which all values pass."""
    last_use = {name: place for place, node in enumerate(nodes) for name in node.inputs}
    reach, found = last_use.get(INPUT, 0), []
    for place, node in enumerate(nodes):
        if reach <= place:  # no node before it has a user after it
            found.append(place)
        reach = max(reach, last_use.get(node.name, place))
    return found


def _differs(
    kind: Format, part: Bundle, samples: Samples, wanted: np.ndarray, tolerance: float
) -> bool:
    """Whether the export of a part of the network is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        import_module(kind.writer).write(part, Path(folder))
        found, _ = both_of(open_exported(Path(folder)), samples)
    most = float(np.abs(wanted).max()) or 1.0
    return not float(np.abs(found - wanted).max()) <= tolerance * most


def _identity(graph: Graph) -> Graph:
    """Return a graph whose output is its input."""
    ones = np.ones(graph.shape[-1], np.float32)
    weights = {"scale": ones, "offset": 0 * ones}
    same = Node(name=PREPROCESSING, kind="affine", inputs=(INPUT,), weights=weights)
    return dataclasses.replace(graph, nodes=(same,))
