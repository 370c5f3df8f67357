"""`Bundle`: a network and everything that a writer of a format needs."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from rezoo.confidence import Calibration
from rezoo.evaluation.calibrating.unknown import Refusal
from rezoo.exporters.formats import LABELS, METADATA, UNKNOWN
from rezoo.exporters.graph import Graph, Node
from rezoo.sources.references import Source
from rezoo.specs import Origin, Preprocessing
from rezoo.tasks import task_of

RANKED_ON = 32  # images on which a quantizer measures the error of each layer


class Quantizer(Protocol):
    """A network whose activations have been calibrated, to be quantized once or several times."""

    def content(self, bundle: Bundle) -> bytes:
        """Return the int8 model, serialized; the nodes in `bundle.keep` stay in float32."""

    def rank(self) -> list[str]:
        """Return the nodes that may stay in float32, in descending order of the error they add."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A network and how to write it.

    Attributes:
        source: Where the network comes from.
        origin: The origin of its weights, with commit and SHA-256.
        network: The network itself, from prepared images to logits.
        graph: The same, folded.
        preprocessing: From images to prepared images.
        takes: tensor (float32 `(N, H, W, C)`, prepared) or raw (uint8, any height and width).
        gives: logits, probabilities or features.
        quantize: none, float16, dynamic or int8.
        quantizer: For int8: made by the format's `calibrate(bundle, images)`.
        keep: For int8: names of the nodes that stay in float32.
        refusal: The rule by which an image is unknown; None without one.
    """

    source: Source
    origin: Origin | None
    network: keras.Model
    graph: Graph
    preprocessing: Preprocessing
    takes: str = "tensor"
    gives: str = "logits"
    quantize: str = "none"
    quantizer: Quantizer | None = None
    keep: tuple[str, ...] = ()
    refusal: Refusal | None = None

    @property
    def function(self) -> str:
        """The function after the logits: softmax, sigmoid, or empty for none."""
        if self.gives != "probabilities":
            return ""
        return "sigmoid" if self.source.config.multi_label else "softmax"

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that is part of the export: none if it gives logits."""
        return self.source.config.calibration if self.function else None

    @property
    def whole(self) -> Graph:
        """The graph with the calibration and the function after the logits."""
        if not self.function:
            return self.graph
        graph, refusals = self.graph, []
        if self.calibration:
            graph = graph.divided(self.calibration.temperature, self.source.config.num_classes)
        if self.calibration and self.refusal:
            refusals = [_unknown(self.refusal, graph)]
        node = Node(
            name="probabilities",
            kind="activation",
            inputs=(graph.output,),
            options={"function": self.function},
        )
        return dataclasses.replace(graph, nodes=(*graph.nodes, *refusals, node))

    def labels(self) -> list[str]:
        """Return the label of each class, in the order of the output."""
        config = self.source.config
        return [config.label(i) for i in range(config.num_classes)]

    def metadata(self) -> dict[str, Any]:
        """Return the description of the file, as JSON values."""
        config = self.source.config
        return {
            "rezoo": version("rezoo"),
            "architecture": config.architecture,
            "task": task_of(config.multi_label).name,
            "input": self.takes,
            "input_shape": list(self.graph.shape),
            "input_layout": "NHWC",
            "output": self.gives,
            "quantization": self.quantize,
            "kept_in_float32": list(self.keep),
            "preprocessing": {
                "inside": self.takes == "raw",
                **dataclasses.asdict(self.preprocessing),
            },
            **self._calibrated(),
            "num_classes": config.num_classes,
            "class_names": list(config.class_names),
            "labels": self.labels(),
            "licence": self.source.licence,
            "origin": dataclasses.asdict(self.origin) if self.origin else None,
        }

    def _calibrated(self) -> dict[str, Any]:
        """Return the part of the description that only calibrated exports have."""
        if self.calibration is None:
            return {}
        found: dict[str, Any] = {"calibration": self.calibration.to_json()}
        if self.refusal:
            meaning = "threshold - score: an image is unknown if it is above 0"
            found["second_output"] = {"name": UNKNOWN, "meaning": meaning}
        return found

    def describe(self, folder: Path) -> None:
        """Write `rezoo.json` and `labels.txt` into a folder."""
        for name, text in self._texts().items():
            (folder / name).write_text(text, "utf-8")

    def describe_archive(self, path: Path) -> None:
        """Add `rezoo.json` and `labels.txt` to a zip archive.

        A file of another kind gets an archive at its end. TensorFlow Lite's metadata carry
        labels in the same way; interpreters ignore what follows the model.
        """
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in self._texts().items():
                archive.writestr(name, text)

    def _texts(self) -> dict[str, str]:
        lines = (" ".join(label.split()) for label in self.labels())
        return {
            METADATA: json.dumps(self.metadata(), indent=1, ensure_ascii=False),
            LABELS: "".join(f"{line}\n" for line in lines),
        }


def without_classes(source: Source) -> Source:
    """Return the source of a network that gives features."""
    bare = dataclasses.replace(
        source.config, num_classes=0, class_names=(), class_descriptions=(), calibration=None
    )
    return dataclasses.replace(source, config=bare)


def _unknown(refusal: Refusal, graph: Graph) -> Node:
    """Return the node of the second output: the threshold minus the score, `(N,)`.

    The last layer of the graph gives logits that are divided by the temperature.
    """
    options = {"threshold": refusal.threshold, "temperature": refusal.temperature}
    if refusal.means is None:
        return Node(name=UNKNOWN, kind="energy", inputs=(graph.output,), options=options)
    means = np.ascontiguousarray(refusal.means.T)
    features = graph.nodes[-1].inputs
    return Node(
        name=UNKNOWN,
        kind="similarity",
        inputs=features,
        weights={"means": means},
        options=options,
    )
