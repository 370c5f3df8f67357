"""From gradients to new variables: what follows each backward pass, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from rezoo.training.rule import Rule
from rezoo.utils import device

Gradients = Sequence[Any]  # one for each of the optimizer's variables


class Average:
    """An exponential moving average of a network's variables, batch statistics included.

    a ← a + (1 - d)(w - a) after each `every` optimizer steps (Polyak averaging; the default of
    torchvision's and timm's recipes). During the warm-up, and up to the first such step, the
    average is a copy of the network, as in torchvision's references. Variables that are not
    floats (states of random generators) are left out.

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
        """Include the network's values after `step`, an integer scalar tensor counted from 1."""
        copy = step <= max(self.warmup_steps, self.every)

        def move() -> None:
            for average, variable in zip(self.variables, self._of, strict=True):
                moved = average + (1.0 - self.decay) * (variable - average)
                average.assign(ops.where(copy, variable.value, moved))

        if self.every == 1:
            move()
        else:
            moves = ops.logical_or(copy, ops.equal(step % self.every, 0))
            _only_if(moves, move, self.variables)

    def restart(self) -> None:
        """Set the average to the network's current values."""
        for variable, average in zip(self._of, self.variables, strict=True):
            average.assign(_copy(variable))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the average inside the block; restore the same bits afterwards."""
        before = [_copy(v) for v in self._of]
        try:
            for variable, average in zip(self._of, self.variables, strict=True):
                variable.assign(_copy(average))
            yield
        finally:
            for variable, value in zip(self._of, before, strict=True):
                variable.assign(value)


class LossScale:
    """Loss scaling, which keeps small gradients from vanishing in float16.

    The factor doubles after 2000 consecutive finite steps, up to 2^24, and halves at a gradient
    that is not finite, whose step is left out ("Mixed Precision Training", arXiv:1710.03740,
    section 3.2). The constants are Keras's and, except for start and maximum, PyTorch's; NVIDIA
    Apex has the same maximum.

    Attributes:
        factor: float32 scalar variable.
        good_steps: Steps since it changed, int32 scalar variable.
    """

    start = 2.0**15
    maximum = 2.0**24
    grow_after = 2000

    def __init__(self) -> None:
        self.factor = keras.Variable(
            self.start, dtype="float32", trainable=False, name="loss_scale"
        )
        self.good_steps = keras.Variable(0, dtype="int32", trainable=False, name="good_steps")

    @property
    def variables(self) -> list[Any]:
        """The whole state."""
        return [self.factor, self.good_steps]

    def value(self) -> Any:
        """Return the current factor as a tensor."""
        return 1.0 * self.factor

    def update(self, finite: Any) -> None:
        """Adapt the factor; `finite`, a boolean tensor, is whether the gradients were finite."""
        steps = self.good_steps + 1
        grow = ops.logical_and(finite, steps >= self.grow_after)
        grown = ops.minimum(2.0 * self.factor, self.maximum)
        kept = ops.where(grow, grown, self.value())
        keep = ops.logical_and(finite, ops.logical_not(grow))
        self.factor.assign(ops.where(finite, kept, 0.5 * self.factor))
        self.good_steps.assign(ops.where(keep, steps, 0))


@dataclass(frozen=True, eq=False)
class Update:
    """Divides, clips and applies gradients, and moves the average.

    It reads and assigns Keras variables only. TensorFlow traces it as it is, JAX in a
    `keras.StatelessScope`.

    Attributes:
        optimizer: Built for the variables that are trained.
        clip_norm: Bound on the norm of all gradients together; 0 for none.
        average: Of the weights, or None.
        scale: Of the loss in float16, or None.
    """

    optimizer: Rule
    clip_norm: float
    average: Average | None
    scale: LossScale | None

    def state(self) -> Iterator[tuple[str, Any]]:
        """Yield every variable of the update, each with a name that does not change."""
        for name, part in (
            ("optimizer", self.optimizer),
            ("average", self.average),
            ("loss_scale", self.scale),
        ):
            for number, variable in enumerate(part.variables if part else ()):
                yield f"{name}.{number:05d}", variable

    def loss_factor(self) -> Any:
        """Return the factor to multiply the loss with before it is differentiated."""
        return self.scale.value() if self.scale else 1.0

    def __call__(self, gradients: Gradients, micro_batches: int) -> tuple[Any, Any]:
        """Do one optimizer step.

        Args:
            gradients: Of the multiplied loss, summed over the micro-batches.
            micro_batches: Their number.

        Returns:
            Two float32 scalar tensors. The first is the L2 norm of all gradients of the batch's
            mean loss together, before clipping. The second is the loss factor after this step.
        """
        divisor = micro_batches * self.loss_factor()
        if self.scale or micro_batches > 1:
            gradients = [g / divisor for g in gradients]
        norm = global_norm(gradients)
        if self.clip_norm:
            gradients = clipped(gradients, norm, self.clip_norm)
        if not self.scale:
            self._apply(gradients)
            return norm, ops.ones_like(norm)
        finite = ops.isfinite(norm)
        touched = list(self.optimizer.trained)
        touched += [v for name, v in self.state() if not name.startswith("loss_scale")]
        _only_if(finite, lambda: self._apply(gradients), touched)
        self.scale.update(finite)
        return norm, self.loss_factor()

    def _apply(self, gradients: Gradients) -> None:
        self.optimizer.apply(gradients)
        if self.average:
            self.average.update(self.optimizer.iterations)


def _only_if(condition: Any, change: Callable[[], None], touched: Sequence[Any]) -> None:
    """Change variables if a condition holds; else leave every bit of them unchanged.

    On TensorFlow's CPU nothing is computed otherwise. A GPU would have to wait until the host has
    read the condition, so there, and on JAX, the old values are chosen afterwards.
    """
    if keras.config.backend() == "tensorflow" and not device.on_gpu():
        import tensorflow as tf

        def changed() -> bool:
            change()
            return True

        tf.cond(condition, changed, lambda: False)
        return
    before = [ops.copy(v.value) for v in touched]
    change()
    for variable, old in zip(touched, before, strict=True):
        variable.assign(ops.where(condition, variable.value, old))


def global_norm(gradients: Gradients) -> Any:
    """Return the L2 norm of all gradients as one vector, a float32 scalar tensor."""
    return ops.sqrt(ops.sum(ops.stack([_square_sum(g) for g in gradients])))


def _square_sum(x: Any) -> Any:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)  # in one pass: the squares are not kept
    return ops.sum(ops.square(x))


def clipped(gradients: Gradients, norm: Any, bound: float) -> list[Any]:
    """Return the gradients, shortened together if their norm is above the bound.

    The factor is bound / (norm + 1e-6), at most 1, as `torch.nn.utils.clip_grad_norm_` has it
    (arXiv:1211.5063, algorithm 1).
    """
    factor = ops.minimum(bound / (norm + 1e-6), 1.0)
    return [g * factor for g in gradients]


def _copy(variable: Any) -> np.ndarray:
    """Return a value that shares no memory with the variable."""
    return np.array(ops.convert_to_numpy(variable))
