"""The network of a run: built in its precision, filled from weights, in micro-batches that fit."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np

from rezoo.errors import ResourceError, SpecError
from rezoo.evaluation.class_names import same_classes
from rezoo.models.devices import ONE, Devices
from rezoo.models.factory import create_model
from rezoo.models.profile import Profile, profile
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import has_one_size
from rezoo.sources.load import fill
from rezoo.sources.references import Source
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import task_of
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


def build_network(config: ModelConfig, recipe: Recipe) -> keras.Model:
    """Build the network with random weights, for one size of images or for any."""
    preprocessing = config.preprocessing
    size = preprocessing.size if has_one_size(recipe) else (None, None)
    with seeded(recipe.seed):
        return create_model(
            config.architecture,
            num_classes=config.num_classes,
            input_shape=(*size, preprocessing.channels),
            stochastic_depth=recipe.stochastic_depth,
            seed=recipe.seed,
            precision=recipe.precision,
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that Keras takes its seeds from; restore their states afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class Start(NamedTuple):
    """What a network starts from.

    Attributes:
        notes: For the user.
        origin: Of the weights; None if they are random.
        new_head: Whether the head has random weights.
    """

    notes: tuple[str, ...]
    origin: Origin | None
    new_head: bool


def start_from(source: Source, network: keras.Model, config: ModelConfig) -> Start:
    """Fill the network from the source's weights, if it has any."""
    if not source.has_weights:
        return Start((), None, new_head=True)
    ours, theirs = task_of(config.multi_label), task_of(source.config.multi_label)
    keep_head = same_classes(config.class_names, source.config) and ours is theirs
    origin = source.origin(fill(network, source, new_head=not keep_head))
    head = f"new head for {config.num_classes} classes; all else from {source.reference}"
    if ours is not theirs:
        head += f", which is {theirs.name}; the data are {ours.name}"
    notes = ["the weights' head is kept: the classes are the same" if keep_head else head]
    if source.address:
        notes.append(f"weights {origin}, licence {source.licence or 'not stated'}")
    return Start(tuple(notes), origin, new_head=not keep_head)


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


def agreed(recipe: Recipe, devices: Devices) -> Recipe:
    """Return the first host's recipe: other machines may measure other values."""
    if devices.hosts == 1:
        return recipe
    values = devices.from_first(recipe.to_dict())
    return Recipe.from_dict(values, origin="the first host's recipe")


def check_batch(recipe: Recipe, devices: Devices) -> None:
    """Check that each device and each micro-batch has the same number of images.

    Raises:
        SpecError: They have not, or a host has an odd number and neighbours are mixed.
    """
    unit = devices.count * recipe.accumulation
    if recipe.mixes and unit > 1:
        unit = math.lcm(unit, 2 * devices.hosts * recipe.accumulation)
    size, parts = recipe.batch_size, f"{devices.count} devices"
    if size % unit == 0:
        return
    if recipe.accumulation > 1:
        parts += f" and {recipe.accumulation} micro-batches"
    below, above = size // unit * unit, -(-size // unit) * unit
    sizes = " or ".join(str(n) for n in (below, above) if n)
    even = ", an even number on each host, since neighbours are mixed" if recipe.mixes else ""
    raise SpecError(
        f"a batch of {size} cannot be divided between {parts}{even}",
        hint=f"the next sizes that fit: --batch-size {sizes}.",
    )


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
