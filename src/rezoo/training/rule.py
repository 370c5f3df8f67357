"""What all optimizers of recipes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class Rule(keras.optimizers.Optimizer):
    """Base of the optimizers: each has its own weight decay, which leaves vectors out.

    Attributes:
        weight_decay: d, of variables that decay.
        decay_vectors: Whether scales, shifts and biases (rank 1 and below) decay as well.
        multipliers: Of the learning rate, one for each variable.
        slots: Names of what is kept for each variable.
        arguments: Names of the constructor's own arguments.
    """

    slots: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float = 0.0,
        decay_vectors: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, name=name)
        self.decay_vectors = decay_vectors

    def build(self, variables: list[Any], multipliers: Sequence[float] | None = None) -> None:
        """Add the slots, zeros, for the variables that `apply` will change."""
        if self.built:
            return
        super().build(variables)
        self.multipliers = list(multipliers or [1.0] * len(variables))
        self._kept = [self.add_optimizer_variables(variables, name) for name in self.slots]

    @property
    def trained(self) -> list[Any]:
        """The variables that it was built for."""
        return list(self._trainable_variables)  # an own list would be added to the state by Keras

    def rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """Return a variable's own learning rate."""
        multiplier = self.multipliers[self._get_variable_index(variable)]
        return learning_rate if multiplier == 1 else multiplier * learning_rate

    def decay_of(self, variable: Any) -> float:
        """Return a variable's weight decay; 0 if it does not decay."""
        return self.weight_decay if self.decay_vectors or len(variable.shape) > 1 else 0.0

    def slots_of(self, variable: Any) -> list[Any]:
        """Return what is kept for a variable, in the order of `slots`."""
        index = self._get_variable_index(variable)
        return [kept[index] for kept in self._kept]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        ours = {key: config[key] for key in ("name", "learning_rate", "weight_decay")}
        return {**ours, **{key: getattr(self, key) for key in ("decay_vectors", *self.arguments)}}

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: Keras would decay here, and each rule has its own decay."""


def norm(x: Any) -> Any:
    """Return the L2 norm of a tensor, a scalar."""
    return ops.sqrt(ops.sum(ops.square(x)))


def trusted(ratio: Any, weight: Any, other: Any) -> Any:
    """Return the trust ratio, or 1 if a norm is 0."""
    return ops.where(ops.logical_and(weight > 0, other > 0), ratio, 1.0)
