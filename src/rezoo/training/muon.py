"""Muon: the momentum of each convolution, orthogonalized. AdamW trains all else.

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
from rezoo.training.adaptive import AdamW

# Of the quintic whose iteration moves singular values to about 1, and the number of iterations.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3


@keras.saving.register_keras_serializable(package="rezoo")
class Muon(AdamW):
    """Muon for kernels `(h, w, C, F)` of convolutions, and AdamW for all other variables.

    b ← m b + g; w ← w sqrt(F) / |w| - r O(g + m b), where O replaces the singular values of the
    `(h w C, F)` matrix with about 1. A kernel keeps its norm, so it needs no weight decay, and a
    batch normalization must follow it. AdamW's learning rate is `adamw_scale` r.
    """

    arguments = ("momentum", "adamw_scale", *AdamW.arguments)

    def __init__(
        self, learning_rate: Any, momentum: float = 0.6, *, adamw_scale: float = 0.05, **shared: Any
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.momentum = momentum
        self.adamw_scale = adamw_scale

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable and its averages."""
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, self.adamw_scale * learning_rate)
            return
        kept, _ = self.slots_of(variable)
        buffer = self.momentum * kept + gradient
        self.assign(kept, buffer)
        filters = variable.shape[-1]
        ahead = ops.reshape(gradient + self.momentum * buffer, (-1, filters))
        step = ops.reshape(orthogonalized(ahead), variable.shape)
        norm = ops.sqrt(ops.sum(ops.square(variable)))
        factor = math.sqrt(filters) / ops.maximum(norm, 1e-12)
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
