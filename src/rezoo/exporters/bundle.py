"""`Bundle`: what a writer of a format gets, and what is written beside the network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.errors import SpecError
from rezoo.exporters.graph import Graph, Node
from rezoo.sources.references import Source
from rezoo.specs import Origin, Preprocessing
from rezoo.tasks import task_of


def no_training_images() -> SpecError:
    """Return what to raise where int8 has nothing to calibrate with."""
    return SpecError(
        "int8 needs training images to calibrate with",
        hint="name them by --calibrate, for example --calibrate folder:photos.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A network that is to be written in a format.

    Attributes:
        source: Where it comes from.
        origin: Its weights, to the commit and the SHA-256.
        graph: From prepared images to logits.
        preprocessing: What prepares images.
        takes: tensor (float32 `(N, H, W, C)`, prepared) or raw (uint8, any height and width).
        gives: logits or probabilities.
        quantize: none, float16, dynamic or int8.
        calibration: float32 `(N, H, W, C)`, prepared training images, for int8.
        quantizer: For int8: what has looked at the calibration images, so that it is done once.
        keep: Nodes that stay in float32, for int8.
    """

    source: Source
    origin: Origin | None
    graph: Graph
    preprocessing: Preprocessing
    takes: str = "tensor"
    gives: str = "logits"
    quantize: str = "none"
    calibration: np.ndarray | None = None
    quantizer: Any = None
    keep: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """What follows the logits: softmax, sigmoid, or nothing."""
        if self.gives == "logits":
            return ""
        return "sigmoid" if self.source.config.multi_label else "softmax"

    @property
    def whole(self) -> Graph:
        """The graph with what follows the logits."""
        if not self.function:
            return self.graph
        node = Node(
            name="probabilities",
            kind="activation",
            inputs=(self.graph.output,),
            options={"function": self.function},
        )
        return dataclasses.replace(self.graph, nodes=(*self.graph.nodes, node))

    @property
    def training_images(self) -> np.ndarray:
        """The calibration images, which int8 cannot do without.

        Raises:
            SpecError: There are none.
        """
        if self.calibration is None or not len(self.calibration):
            raise no_training_images()
        return self.calibration

    def labels(self) -> list[str]:
        """Return what to call each class, in the order of the output."""
        config = self.source.config
        return [config.label(i) for i in range(config.num_classes)]

    def metadata(self) -> dict[str, Any]:
        """Return what a user of the file must know, as JSON values."""
        from importlib.metadata import version

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
            "num_classes": config.num_classes,
            "class_names": list(config.class_names),
            "labels": self.labels(),
            "licence": self.source.licence,
            "origin": dataclasses.asdict(self.origin) if self.origin else None,
        }
