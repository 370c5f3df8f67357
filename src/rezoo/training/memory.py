"""How much memory a training run takes, predicted; how much there is; which batch fits.

What a step keeps until its gradients are computed grows with the batch: the outputs of convolutions
(batch normalization needs them), of activations and pooling (the next convolution needs them), and
padded copies. All else grows with the network. The constants were measured on a CPU with
TensorFlow 2.21 (ResNet-18 and 50, 8 to 32 images, float32 and bfloat16: within 8 %); on a GPU the
rule is the same and not measured yet.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rezoo.models.profile import Profile
from rezoo.recipes.recipe import Recipe

_KEPT = ("Conv2D", "ReLU", "Activation", "MaxPooling2D", "AveragePooling2D", "ZeroPadding2D")
_KEPT_FACTOR = 1.12  # gradients of the largest layers stand beside what is kept
_WORK_FACTOR = 4.5  # of the parameters: gradients, reordered filters, updates
_WORK_BYTES = 230_000_000  # threads, compiled graphs, input batches
_SLOTS = {"sgd": 1, "lars": 1, "adamw": 2, "lamb": 2}
FREE_PART = 0.8  # of the free memory that an automatic batch may take


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a training run takes on its device, beside what the process has already.

    Attributes:
        activations: What a step keeps of one micro-batch.
        optimizer: State of the optimizer, and the average of the weights.
        work: Gradients, buffers, compiled graphs.
    """

    activations: int
    optimizer: int
    work: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.optimizer + self.work


def predict(profile: Profile, recipe: Recipe) -> Memory:
    """Predict what training takes; the weights themselves are there already.

    Args:
        profile: Of the network at the largest size of training images.
        recipe: Batch, precision, optimizer.
    """
    element = 2 if recipe.precision.startswith("mixed") else 4
    kept = sum(math.prod(x.output_shape) for x in profile.layers if x.kind in _KEPT)
    kept += math.prod(profile.input_shape)
    parameters = 4 * profile.params
    slots = _SLOTS[recipe.optimizer] + bool(recipe.ema_decay) + (recipe.accumulation > 1)
    return Memory(
        activations=round(_KEPT_FACTOR * kept * element * recipe.micro_batch_size),
        optimizer=slots * parameters,
        work=round(_WORK_FACTOR * parameters) + _WORK_BYTES,
    )


def largest_part(profile: Profile, recipe: Recipe, free: int) -> int:
    """Return the smallest `accumulation` with which a step fits into free memory.

    The batch of a step, and therefore what is learned, stays as it is; only its parts get smaller.
    Where not even one image fits, each part is one image (two, where neighbours are mixed).

    Args:
        profile: As for `predict`.
        recipe: Its `accumulation` is not looked at.
        free: Bytes.
    """
    least = 2 if recipe.mixes else 1
    parts = [
        n
        for n in range(1, recipe.batch_size // least + 1)
        if recipe.batch_size % n == 0 and (n == 1 or recipe.batch_size // n % least == 0)
    ]
    for n in parts:
        if predict(profile, dataclasses.replace(recipe, accumulation=n)).total <= FREE_PART * free:
            return n
    return parts[-1]
