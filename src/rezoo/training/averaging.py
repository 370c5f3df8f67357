"""The moving average of a network's weights, which generalizes better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops


class Average:
    """An exponential moving average of a network's variables, batch statistics included.

    a ← a + (1 - d)(w - a) after each `every` optimizer steps (Polyak averaging; the default of
    torchvision's and timm's recipes). During the warm-up, and up to the first such step, the
    average is the network itself, as in torchvision's references: what the first steps leave is
    better forgotten than averaged. Variables that are no floats (states of random generators)
    are left alone.

    Attributes:
        decay: d.
        every: Steps between two updates.
        warmup_steps: Steps of the learning rate's warm-up.
        variables: The average, float32, in the order of the network's float variables.
    """

    def __init__(
        self, model: keras.Model, *, decay: float, every: int = 1, warmup_steps: int = 0
    ) -> None:
        self.decay = decay
        self.every = every
        self.warmup_steps = warmup_steps
        self._of = [v for v in model.variables if keras.backend.is_float_dtype(v.dtype)]
        self.variables = [
            keras.Variable(_copy(v), dtype=v.dtype, trainable=False, name=f"average_{number}")
            for number, v in enumerate(self._of)
        ]

    def update(self, step: Any) -> None:
        """Take in the network's values after a step, counted from 1; a scalar on the device."""
        copy = step <= max(self.warmup_steps, self.every)
        rate = ops.where(ops.equal(step % self.every, 0), 1.0 - self.decay, 0.0)
        for average, variable in zip(self.variables, self._of, strict=True):
            moved = average + rate * (variable - average)
            average.assign(ops.where(copy, variable.value, moved))

    def restart(self) -> None:
        """Take the network's values as they are now."""
        for variable, average in zip(self._of, self.variables, strict=True):
            average.assign(_copy(variable))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the average inside the block, and afterwards the same bits as before."""
        before = [_copy(v) for v in self._of]
        try:
            for variable, average in zip(self._of, self.variables, strict=True):
                variable.assign(_copy(average))
            yield
        finally:
            for variable, value in zip(self._of, before, strict=True):
                variable.assign(value)


def _copy(variable: Any) -> np.ndarray:
    """Return a value that shares no memory with the variable."""
    return np.array(ops.convert_to_numpy(variable))
