"""Loss scaling: keeps small gradients from vanishing in float16."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

START = 2.0**15
MOST = 2.0**24  # of gradients that never overflow; NVIDIA Apex stops there as well
GROW_AFTER = 2000  # steps


class LossScale:
    """A factor on the loss that is as large as the gradients allow.

    It doubles after 2000 finite steps on end, up to 2^24, and halves at a gradient that is not
    finite, whose step is left out ("Mixed Precision Training", arXiv:1710.03740, section 3.2; the
    constants are Keras's and, but for start and end, PyTorch's). There is one for all groups.

    Attributes:
        factor: float32 scalar variable.
        good_steps: Steps since it changed, int32 scalar variable.
    """

    def __init__(self) -> None:
        self.factor = keras.Variable(START, dtype="float32", trainable=False, name="loss_scale")
        self.good_steps = keras.Variable(0, dtype="int32", trainable=False, name="good_steps")

    @property
    def variables(self) -> list[Any]:
        """The whole state."""
        return [self.factor, self.good_steps]

    def value(self) -> Any:
        """Return the factor as it is now, a tensor."""
        return 1.0 * self.factor

    def update(self, finite: Any) -> None:
        """Adapt the factor to whether the gradients were finite, a boolean on the device."""
        steps = self.good_steps + 1
        grow = ops.logical_and(finite, steps >= GROW_AFTER)
        grown = ops.minimum(2.0 * self.factor, MOST)
        kept = ops.where(grow, grown, self.value())
        keep = ops.logical_and(finite, ops.logical_not(grow))
        self.factor.assign(ops.where(finite, kept, 0.5 * self.factor))
        self.good_steps.assign(ops.where(keep, steps, 0))
