"""Count the networks of the ResNet paper's table 1: `python examples/paper/table1.py`.

Prints, for each network, the billions of multiply-adds that the paper prints and those of rezoo's
graph, to the same digit. The exit code is 1 if a digit differs.

The paper has option A up to 34 layers, and strides in the first 1x1 convolution from 50 layers on.
Its figures are rounded, with two exceptions: ResNet-50's 3.858 is cut to 3.8, and VGG-16's is that
of its convolutions alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras

from rezoo import registry
from rezoo.models.factory import deep_graphs
from rezoo.models.profile import LayerCost, profile

SHAPE = (224, 224, 3)
CLASSES = 1000
OPTION_A = {"shortcut": "padded"}
V1 = {"blocks": tuple(("bottleneck_v1", width) for width in (64, 128, 256, 512))}


def rounded(billions: float) -> str:
    """Round to one decimal."""
    return f"{billions:.1f}"


def cut(billions: float) -> str:
    """Cut after the first decimal."""
    return f"{math.floor(10 * billions) / 10:.1f}"


def every(layer: LayerCost) -> bool:
    """Count convolutions and fully connected layers."""
    return True


def convolution(layer: LayerCost) -> bool:
    """Count no fully connected layer: in rezoo's VGG, the first two are convolutions, too."""
    return layer.name.startswith("features.")


@dataclass(frozen=True)
class Row:
    """A network of table 1.

    Attributes:
        network: Its name in the paper.
        printed: Billions of multiply-adds as printed.
        architecture: Its name in rezoo.
        changes: How the configuration of the paper's network differs from it.
        digits: How the paper's digits come from the exact count.
        counted: Which layers the paper counts.
    """

    network: str
    printed: str
    architecture: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    digits: Callable[[float], str] = rounded
    counted: Callable[[LayerCost], bool] = every

    @property
    def how(self) -> str:
        """How the digits come about, in words."""
        return self.digits.__name__ + (", without fc" if self.counted is convolution else "")

    def macs(self) -> int:
        """Return the multiply-adds of rezoo's graph."""
        spec = registry.architectures.get(self.architecture)
        config = {**spec.config, **self.changes}
        with deep_graphs(), keras.StatelessScope(initialize_variables=False):  # no values
            model = spec.build(
                name=spec.name,
                input_shape=SHAPE,
                num_classes=CLASSES,
                classifier_activation=None,
                **config,
            )
        keras.utils.clear_session()  # or the next model gives these variables values
        layers = profile(model, input_shape=SHAPE).layers
        return sum(layer.macs for layer in layers if self.counted(layer))


Counted: TypeAlias = list[tuple[Row, int, str]]

# figures: the last row of table 1, section 3.3 (plain-34, VGG-19) and table 1's text (VGG-16)
TABLE = (
    Row("plain-34", "3.6", "plain34"),
    Row("ResNet-18", "1.8", "resnet18", OPTION_A),
    Row("ResNet-34", "3.6", "resnet34", OPTION_A),
    Row("ResNet-50", "3.8", "resnet50", V1, digits=cut),
    Row("ResNet-101", "7.6", "resnet101", V1),
    Row("ResNet-152", "11.3", "resnet152", V1),
    Row("VGG-16", "15.3", "vgg16", counted=convolution),
    Row("VGG-19", "19.6", "vgg19"),
)


def measured() -> Counted:
    """Return each network with its exact multiply-adds, and their digits in the paper's way."""
    counts = [(row, row.macs()) for row in TABLE]
    return [(row, macs, row.digits(macs / 1e9)) for row, macs in counts]


def main() -> int:
    """Print the table; return 1 if a printed digit differs."""
    line = "{:<11} {:>5} {:>5} {:>10}  {:>15}  {}"
    print(line.format("billions", "paper", "ours", "difference", "exact", "digits"))
    wrong = 0
    for row, macs, digits in measured():
        wrong += digits != row.printed
        difference = f"{float(digits) - float(row.printed):.1f}"
        print(line.format(row.network, row.printed, digits, difference, f"{macs:,}", row.how))
    print(f"{len(TABLE) - wrong} of {len(TABLE)} as printed", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
