"""The memory that a training step takes, predicted, and micro-batches with which it fits."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import keras

from rezoo.errors import ResourceError
from rezoo.models.devices import ONE, Devices
from rezoo.models.profile import Profile, profile
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.utils import device

FREE_PART = 0.8  # of the free memory that an automatic batch may take
# Measured on a CPU with TensorFlow 2.21: ResNet-18 and 50, 8 to 32 images, float32 and bfloat16,
# within 8 %. On a GPU, where it was not measured, batches and the kernels' workspace are added.
_KEPT = (
    *("Conv2D", "StandardizedConv2D", "ReLU", "Activation", "EvoNorm", "MaxPooling2D"),
    *("AveragePooling2D", "ZeroPadding2D", "ReflectionPadding2D"),
    *("Dense", "LayerNormalization", "LayerScale"),  # of ConvNeXt, where it was not measured
)
_KEPT_FACTOR = 1.12  # the gradients of the largest layers, held at the same time
_WORK_FACTOR = 4.5  # of the parameters: gradients, reordered filters, updates
_WORK_BYTES = 230_000_000  # threads, compiled graphs, input batches
_BATCHES_AHEAD = 2  # on a GPU, beside the one in the step
_WORKSPACE_COPIES = 2  # of the largest convolution's output: other layouts of input and output
_SLOTS = {"sgd": 1, "lars": 1, "adamw": 2, "lamb": 2, "muon": 1}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a training run adds on its device to what the process has already.

    Attributes:
        activations: What a step keeps of one micro-batch until its gradients are computed.
        optimizer: State of the optimizer, and the average of the weights.
        work: Gradients, buffers, compiled graphs.
        data: Image files that are kept once they are read; 0 on a GPU: the host has them.
    """

    activations: int
    optimizer: int
    work: int
    data: int = 0

    @property
    def total(self) -> int:
        """The sum of all."""
        return self.activations + self.optimizer + self.work + self.data


def predict_memory(counted: Profile, recipe: Recipe, *, gpu: bool = False) -> Memory:
    """Predict the memory of training; the weights themselves are not included.

    What a step keeps grows with the micro-batch: the outputs of convolutions (batch normalization
    needs them), of activations and pooling, and padded copies. The rest grows with the network.

    Args:
        counted: Profile of the network at the largest size of training images.
        recipe: Its batch, precision and optimizer are used.
        gpu: Whether the device is a GPU: its memory also has batches ahead of the step, and the
            workspace of convolutions.
    """
    element = 2 if recipe.precision.startswith("mixed") else 4
    kept = sum(math.prod(x.output_shape) for x in counted.layers if x.kind in _KEPT)
    kept += math.prod(counted.input_shape)
    parameters = 4 * counted.params
    work = _WORK_FACTOR * parameters + _WORK_BYTES
    if gpu:
        sizes = [math.prod(x.output_shape) for x in counted.layers if x.kind.endswith("Conv2D")]
        image = (_BATCHES_AHEAD + 4) * math.prod(counted.input_shape)  # uint8, float32 in the step
        work += (
            image + _WORKSPACE_COPIES * element * max(sizes, default=0)
        ) * recipe.micro_batch_size
    slots = _SLOTS[recipe.optimizer] + bool(recipe.ema_decay) + (recipe.accumulation > 1)
    return Memory(
        activations=round(_KEPT_FACTOR * kept * element * recipe.micro_batch_size),
        optimizer=slots * parameters,
        work=round(work),
    )


def smallest_accumulation(counted: Profile, recipe: Recipe, free: int, *, gpu: bool = False) -> int:
    """Return the smallest `accumulation` with which a step fits into free memory.

    The batch of a step, and therefore the training, stays the same. If not even one image fits,
    a micro-batch has one image, or two if the recipe mixes images.

    Args:
        counted: As for `predict_memory`.
        recipe: Its `accumulation` is not used.
        free: Bytes.
        gpu: As for `predict_memory`.
    """
    least = 2 if recipe.mixes else 1
    divisors = [
        n
        for n in range(1, recipe.batch_size // least + 1)
        if recipe.batch_size % n == 0 and (n == 1 or recipe.batch_size // n % least == 0)
    ]
    for n in divisors:
        memory = predict_memory(counted, dataclasses.replace(recipe, accumulation=n), gpu=gpu)
        if memory.total <= FREE_PART * free:
            return n
    return divisors[-1]


def fit_batch_to_memory(
    network: keras.Model, config: ModelConfig, recipe: Recipe, devices: Devices = ONE
) -> tuple[Recipe, str]:
    """Divide the batch into the largest micro-batches that fit into free memory.

    Each of several devices has its part of a micro-batch.

    Returns:
        The recipe with its `accumulation`, and a note.

    Raises:
        ResourceError: Free memory cannot be determined on this platform.
    """
    free = device.free_bytes()
    if free is None:
        raise ResourceError(
            "batch_size auto: free memory cannot be determined on this platform",
            hint="set a number, and --set accumulation=N to divide it into N micro-batches.",
        )
    size = recipe.train_size or config.preprocessing.size[0]
    counted = profile(network, input_shape=(size, size, config.preprocessing.channels))
    of_device = dataclasses.replace(recipe, batch_size=recipe.batch_size // devices.count)
    count = smallest_accumulation(counted, of_device, free, gpu=device.on_gpu())
    fitted = dataclasses.replace(recipe, accumulation=count)
    return fitted, (
        f"batch {fitted.batch_size} in {count} micro-batches of {fitted.micro_batch_size}: "
        f"{free / 1e9:.1f} GB are free"
    )
