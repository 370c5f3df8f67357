"""The counts of a target, as rezoo and as other tools print them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rezoo import registry
from rezoo.benchmarking import conventions
from rezoo.benchmarking.targets import Options, Target
from rezoo.errors import IncompatibleError
from rezoo.models.factory import create_model
from rezoo.models.profile import profile


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one network costs for one image, by everybody's rules.

    Attributes:
        target: As it was given.
        architecture: The registered name.
        input_shape: `(height, width, channels)`.
        num_classes: Width of the head.
        params: Trainable parameters.
        statistics: Running means and variances; Keras counts them as parameters, too.
        macs: Multiply-adds of convolutions and fully connected layers.
        flops: Two for each.
        activations: Output elements of the same layers.
        tools: What each tool prints: tool, unit, count, why.
    """

    target: str
    architecture: str
    input_shape: tuple[int, int, int]
    num_classes: int
    params: int
    statistics: int
    macs: int
    flops: int
    activations: int
    tools: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def counted(target: Target, *, image_size: int | None = None) -> Counted:
    """Count a target from its built graph; no weights are read.

    Args:
        target: An architecture or weights.
        image_size: Height and width in pixels; what the target says where not given.

    Raises:
        IncompatibleError: An exported file: its graph is another runtime's.
    """
    if target.source is None:
        raise IncompatibleError(
            f"{target.reference} is an exported file, which has no layers to count",
            hint="count the network that it was made from.",
        )
    config = target.source.config
    shape = target.input_shape(Options(image_size=image_size))
    assert shape is not None
    model = create_model(config.architecture, num_classes=config.num_classes, input_shape=shape)
    costs = profile(model, input_shape=shape)
    spec = registry.architectures.get(config.architecture)
    usual = (spec.image_size, spec.image_size, 3) == shape
    usual = usual and config.num_classes == spec.num_classes
    elements = conventions.elements(model, input_shape=shape)
    return Counted(
        target=target.reference,
        architecture=config.architecture,
        input_shape=shape,
        num_classes=config.num_classes,
        params=costs.params,
        statistics=costs.statistics,
        macs=costs.macs,
        flops=costs.flops,
        activations=costs.activations,
        tools=tuple(conventions.table(spec, elements, usual=usual)),
    )
