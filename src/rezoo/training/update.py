"""From gradients to new variables: what happens after each backward pass, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from rezoo.training.averaging import Average
from rezoo.training.loss_scale import LossScale
from rezoo.training.optimizers import Group

Gradients = Sequence[Sequence[Any]]  # of the variables of each group


class Update:
    """Divides, clips and applies gradients, and moves the average.

    It reads and assigns Keras variables only, so it can be traced by TensorFlow as it is, and by
    JAX in a `keras.StatelessScope`.

    Attributes:
        groups: The optimizers.
        clip_norm: Bound on the norm of all gradients together; 0 for none.
        average: Of the weights, if any.
        scale: Of the loss, in float16.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        clip_norm: float = 0.0,
        average: Average | None = None,
        scale: LossScale | None = None,
    ) -> None:
        self.groups = list(groups)
        self.clip_norm = clip_norm
        self.average = average
        self.scale = scale

    def state(self) -> Iterator[tuple[str, Any]]:
        """Yield every variable that belongs to the update under a name that stays."""
        for place, group in enumerate(self.groups):
            for number, variable in enumerate(group.optimizer.variables):
                yield f"optimizer{place}.{number:05d}", variable
        for name, part in (("average", self.average), ("loss_scale", self.scale)):
            for number, variable in enumerate(part.variables if part else ()):
                yield f"{name}.{number:05d}", variable

    def loss_factor(self) -> Any:
        """Return what the loss must be multiplied with before it is differentiated."""
        return self.scale.value() if self.scale else 1.0

    def __call__(self, gradients: Gradients, parts: int) -> tuple[Any, Any]:
        """Do one optimizer step.

        Args:
            gradients: Sums over the parts of the batch, of the multiplied loss.
            parts: Number of parts.

        Returns:
            The L2 norm of all gradients together, of the batch's mean loss and before clipping,
            and the loss factor after this step: float32 scalars on the device.
        """
        divisor = parts * self.loss_factor()
        if self.scale or parts > 1:
            gradients = [[g / divisor for g in of_group] for of_group in gradients]
        norm = global_norm(gradients)
        if self.clip_norm:
            gradients = clipped(gradients, norm, self.clip_norm)
        if not self.scale:
            self._apply(gradients)
            return norm, ops.ones_like(norm)
        finite = ops.isfinite(norm)
        self._only_if(finite, lambda: self._apply(gradients))
        self.scale.update(finite)
        return norm, self.loss_factor()

    def _apply(self, gradients: Gradients) -> None:
        for group, of_group in zip(self.groups, gradients, strict=True):
            group.optimizer.apply(of_group, group.variables)
        if self.average:
            self.average.update(self.groups[0].optimizer.iterations)

    def _only_if(self, condition: Any, change: Callable[[], None]) -> None:
        """Change variables, or leave every bit of them as it is."""
        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            def changed() -> bool:
                change()
                return True

            tf.cond(condition, changed, lambda: False)
            return
        touched = [v for group in self.groups for v in group.variables]
        touched += [v for name, v in self.state() if not name.startswith("loss_scale")]
        before = [v.value for v in touched]
        change()
        for variable, old in zip(touched, before, strict=True):
            variable.assign(ops.where(condition, variable.value, old))


def global_norm(gradients: Gradients) -> Any:
    """Return the L2 norm of all gradients as one vector, a float32 scalar."""
    squares = [_square_sum(g) for of_group in gradients for g in of_group]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def _square_sum(x: Any) -> Any:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)  # in one go: no squares are kept
    return ops.sum(ops.square(x))


def clipped(gradients: Gradients, norm: Any, bound: float) -> list[list[Any]]:
    """Return the gradients, shortened together where their norm is above the bound.

    The factor is bound / (norm + 1e-6), at most 1, as `torch.nn.utils.clip_grad_norm_` has it
    (arXiv:1211.5063, algorithm 1).
    """
    factor = ops.minimum(bound / (norm + 1e-6), 1.0)
    return [[g * factor for g in of_group] for of_group in gradients]
