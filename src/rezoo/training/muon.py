"""Muon: the momentum of each convolution, orthogonalized. SGD trains all else.

"Muon: An optimizer for hidden layers in neural networks" (Jordan et al. 2024,
kellerjordan.github.io/posts/muon), with kernels of constant norm, as the same authors' record runs
on CIFAR-10 have it (airbench94_muon).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from rezoo.errors import IncompatibleError
from rezoo.training.rule import norm
from rezoo.training.sgd import SGD

# Of the quintic whose iteration moves singular values to about 1, and the number of iterations.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3
_KERNEL = 4  # axes of a convolution's kernel


@keras.saving.register_keras_serializable(package="rezoo")
class Muon(SGD):
    """Muon for kernels `(h, w, C, F)` of convolutions, and SGD for all other variables.

    b ← m b + g; w ← w sqrt(F) / |w| - r O(g + m b), where O replaces the singular values of the
    `(h w C, F)` matrix with about 1. A kernel keeps its norm, so it needs no weight decay, and a
    batch normalization must follow it.

    SGD has Nesterov's momentum and decoupled decay. Its learning rate is `sgd_scale` r, and
    `vector_scale` times that for scales, shifts and biases.
    """

    arguments = (*SGD.arguments, "sgd_scale", "vector_scale")

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.6,
        *,
        sgd_scale: float = 1.0,
        vector_scale: float = 1.0,
        nesterov: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, momentum, nesterov=nesterov, **shared)
        self.sgd_scale = sgd_scale
        self.vector_scale = vector_scale

    def rate_of(self, variable: Any, learning_rate: Any) -> Any:
        """Return a variable's own learning rate."""
        rate, rank = super().rate_of(variable, learning_rate), len(variable.shape)
        if rank == _KERNEL:
            return rate
        return rate * (self.sgd_scale if rank > 1 else self.sgd_scale * self.vector_scale)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its momentum."""
        if len(variable.shape) != _KERNEL:
            super().update_step(gradient, variable, learning_rate)
            return
        (kept,) = self.slots_of(variable)
        buffer = self.momentum * kept + gradient
        self.assign(kept, buffer)
        filters = variable.shape[-1]
        ahead = ops.reshape(gradient + self.momentum * buffer, (-1, filters))
        step = ops.reshape(orthogonalized(ahead), variable.shape)
        factor = math.sqrt(filters) / ops.maximum(norm(variable), 1e-12)
        self.assign(variable, factor * variable - self.rate_of(variable, learning_rate) * step)


def orthogonalized(matrix: Any) -> Any:
    """Move the singular values of a float32 matrix to about 1, by Newton-Schulz iterations.

    The largest are between 0.7 and 1.2 afterwards. The smallest are further from 1.
    """
    first, second, third = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = ops.matmul(x, ops.transpose(x))
        x = first * x + ops.matmul(second * gram + third * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def require_normalization(model: keras.Model) -> None:
    """Check that Muon can train a network: no convolution that it trains has a bias.

    Raises:
        IncompatibleError: One has, so that no batch normalization follows it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.trainable and layer.use_bias:
            raise IncompatibleError(
                f"optimizer muon: convolution {layer.name} of {model.name} has a bias, so no batch "
                "normalization follows; muon keeps the norm of each kernel",
                hint="use a network with batch normalization, or --set optimizer=sgd.",
            )
