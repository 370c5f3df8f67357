"""Parameters and multiply-adds of an architecture by arithmetic: no network is built.

The shapes of all convolutions follow from a spec's `config`. `rezoo.models.profile` counts the same
from the built graph; a test holds the two, the tables of the papers and the counters of TensorFlow
and PyTorch equal. One MAC is one multiply-add; one MAC is two FLOPs. Loads without Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rezoo import registry
from rezoo.models import resnet, vgg
from rezoo.specs import ModelSpec

_EXPANSION = {"basic": 1, "bottleneck": 4, "bottleneck_v1": 4, "bottleneck_2x": 4}
_WIDEN = {"bottleneck_2x": 2}
_PROJECTS = {"projection": True, "pooled": True, "padded": False, "none": False}
_PAPER_DEPTHS = {  # arXiv:1512.03385, table 1
    "basic": ((2, 2, 2, 2), (3, 4, 6, 3)),
    "bottleneck": ((3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)),
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a network costs for one image.

    Attributes:
        params: Trainable parameters.
        statistics: Running means and variances of batch normalization.
        macs: Multiply-adds of convolutions and fully connected layers, without biases.
        activations: Output elements of the same layers.
    """

    params: int
    statistics: int
    macs: int
    activations: int

    @property
    def flops(self) -> int:
        """Floating-point operations: two for each multiply-add."""
        return 2 * self.macs


class _Layer(NamedTuple):
    """A convolution or fully connected layer; `positions` are those of its output."""

    kernel: int
    inputs: int
    outputs: int
    positions: int
    norm: bool = True
    bias: bool = False


def count(
    architecture: str | ModelSpec,
    *,
    image_size: int | None = None,
    num_classes: int | None = None,
    channels: int = 3,
) -> Counts | None:
    """Count an architecture's costs for one square image.

    Args:
        architecture: A registered name, or a spec.
        image_size: Height and width in pixels; the spec's where not given.
        num_classes: Width of the head, 0 for none; the spec's where not given.
        channels: Of the image.

    Returns:
        The counts; None for an architecture of a plugin whose parts are not rezoo's own.

    Raises:
        UnknownNameError: No such architecture.
    """
    spec = _spec(architecture)
    size = spec.image_size if image_size is None else image_size
    classes = spec.num_classes if num_classes is None else num_classes
    families = {resnet.build: _resnet, vgg.build: _vgg}
    if spec.build not in families:
        return None
    try:
        layers = list(families[spec.build](spec.config, size, channels))
    except KeyError:  # a block, stem or shortcut that a plugin brought
        return None
    if classes:
        layers.append(_Layer(1, layers[-1].outputs, classes, 1, norm=False, bias=True))
    kernels = [x.kernel**2 * x.inputs * x.outputs for x in layers]
    scales = sum(2 * x.outputs for x in layers if x.norm)
    return Counts(
        params=sum(kernels) + scales + sum(x.outputs for x in layers if x.bias),
        statistics=scales,
        macs=sum(k * x.positions for k, x in zip(kernels, layers, strict=True)),
        activations=sum(x.outputs * x.positions for x in layers),
    )


def macs(
    architecture: str | ModelSpec, *, image_size: int | None = None, num_classes: int | None = None
) -> int | None:
    """Return multiply-adds for one image, without building: counted, or as the spec says.

    Returns:
        None where neither knows it for this size and this head.
    """
    spec = _spec(architecture)
    counted = count(spec, image_size=image_size, num_classes=num_classes)
    if counted:
        return counted.macs
    usual = image_size in (None, spec.image_size) and num_classes in (None, spec.num_classes)
    return spec.macs if usual else None


def as_in_paper(architecture: str | ModelSpec) -> Counts | None:
    """Count the network that table 1 of arXiv:1512.03385 has under this depth.

    Its shortcuts have no parameters below 50 layers (option A), and from 50 on the first 1x1
    of a bottleneck takes the step (v1).

    Returns:
        None where the table has no such network.
    """
    spec = _spec(architecture)
    config = spec.config
    if spec.build is not resnet.build or {"stem", "pool"} & set(config):
        return None
    kinds = {kind.removesuffix("_v1") for kind, _ in config["blocks"]}
    widths = [width for _, width in config["blocks"]]
    kind = kinds.pop()
    if (
        kinds
        or widths != [64, 128, 256, 512]
        or tuple(config["depths"]) not in _PAPER_DEPTHS.get(kind, ())
    ):
        return None
    changed: dict[str, Any] = {"blocks": tuple((f"{kind}_v1", width) for width in widths)}
    if kind == "basic":
        changed = {"shortcut": "padded"}
    return count(dataclasses.replace(spec, config={**config, **changed}))


def _spec(architecture: str | ModelSpec) -> ModelSpec:
    if isinstance(architecture, ModelSpec):
        return architecture
    return registry.architectures.get(architecture)


def _resnet(config: Mapping[str, Any], side: int, channels: int) -> Iterator[_Layer]:
    kind, widths = config.get("stem", ("plain", (64,)))
    step, kernel = {"plain": (2, 7), "deep": (2, 3), "small": (1, 3)}[kind]
    side = _ceil(side, step)
    for inputs, outputs in zip((channels, *widths), widths, strict=False):
        yield _Layer(kernel, inputs, outputs, side**2)
    side = _ceil(side, 2) if config.get("pool", True) else side
    projects = _PROJECTS[config.get("shortcut", "projection")]
    inputs = widths[-1]
    for stage, ((block, width), depth) in enumerate(
        zip(config["blocks"], config["depths"], strict=True)
    ):
        for index in range(depth):
            before, side = side, _ceil(side, 2) if stage and index == 0 else side
            outputs = _EXPANSION[block] * width
            yield from _block(block, width, inputs, before, side)
            if projects and (inputs != outputs or before != side):
                yield _Layer(1, inputs, outputs, side**2)
            inputs = outputs


def _block(block: str, width: int, inputs: int, before: int, after: int) -> Iterator[_Layer]:
    if block == "basic":
        yield _Layer(3, inputs, width, after**2)
        yield _Layer(3, width, width, after**2)
        return
    inner = _WIDEN.get(block, 1) * width
    yield _Layer(1, inputs, inner, (after if block == "bottleneck_v1" else before) ** 2)
    yield _Layer(3, inner, inner, after**2)
    yield _Layer(1, inner, _EXPANSION[block] * width, after**2)


def _vgg(config: Mapping[str, Any], side: int, channels: int) -> Iterator[_Layer]:
    inputs = channels
    for depth, width in zip(config["depths"], vgg.WIDTHS, strict=True):
        for _ in range(depth):
            yield _Layer(3, inputs, width, side**2, norm=config["batch_norm"], bias=True)
            inputs = width
        side //= 2
    for kernel in (vgg.POSITIONS, 1):  # the first fully connected layers, as convolutions
        side -= kernel - 1
        yield _Layer(kernel, inputs, vgg.FEATURES, side**2, norm=False, bias=True)
        inputs = vgg.FEATURES


def _ceil(side: int, step: int) -> int:
    return -(-side // step)
