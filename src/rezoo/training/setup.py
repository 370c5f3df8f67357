"""Everything that a run computes with, built from what was asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import keras
import numpy as np

from rezoo.artifacts import HEAD
from rezoo.data import reading, splits
from rezoo.data.caching import in_memory
from rezoo.data.checks import Faults
from rezoo.data.loading import Dataset
from rezoo.data.options import DataOptions
from rezoo.errors import ResourceError, SpecError
from rezoo.loading import fill
from rezoo.models.depth import stochastic_depth
from rezoo.models.factory import create_model
from rezoo.profiling import profile
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import has_one_size
from rezoo.references import Source
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import MULTI_LABEL, Task, task_of
from rezoo.training import losses, memory, optimizers
from rezoo.training.request import Request
from rezoo.training.settling import settle

_AT_ONCE = 64  # images whose features are computed together
_START_IMAGES = 10_000  # of which features are computed at most, where training follows


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that a run computes with.

    Attributes:
        network: With the weights that the run starts from.
        config: What its `config.json` will say.
        data: The opened dataset.
        train: Its training split, and what turned out to be unreadable in it.
        val: The same of what validates.
        recipe: With every key set, and nothing left open.
        starts_with_probe: Whether the head is fitted to the features before the first epoch.
        notes: What was done that the user should know.
    """

    network: keras.Model
    config: ModelConfig
    data: Dataset
    train: Faults
    val: Faults
    recipe: Recipe
    starts_with_probe: bool
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        request: Request,
        data: Dataset,
        options: DataOptions,
        *,
        before: Recipe | None = None,
    ) -> Self:
        """Build the network and fill it; raises as `rezoo.train` does.

        Args:
            request: What is asked for.
            data: The opened dataset.
            options: Of the data.
            before: The recipe of the run that is resumed.
        """
        _check_data(data)
        count = len(data.examples("train"))
        recipe, settled = settle(request.recipe, count=count, chosen=request.chosen, before=before)
        config = _config(request, data)
        keras.utils.set_random_seed(recipe.seed)
        network = _network(config, recipe)
        if request.fit_memory and before is None:
            recipe, note = _fitting(network, config, recipe)
            settled.append(note)
        start = _start_from(request.source, network, config)
        config = dataclasses.replace(config, base=start.origin)
        train, val, held = _splits(data, config.preprocessing.channels, options)
        setup = cls(
            network=network,
            config=config,
            data=data,
            train=train,
            val=val,
            recipe=recipe,
            starts_with_probe=recipe.head_start == "probe"
            and (start.new_head or not recipe.epochs),
            notes=(*settled, *start.notes, *held),
        )
        _ = setup.class_weights  # a loss that does not suit is refused before anything is written
        return setup

    def with_recipe(self, recipe: Recipe, note: str) -> Self:
        """Return the same network and data under another recipe of the same network."""
        return dataclasses.replace(self, recipe=recipe, notes=(*self.notes, note))

    @cached_property
    def groups(self) -> list[optimizers.Group]:
        """The optimizers, each with its variables."""
        return optimizers.groups(self.network, self.recipe, self.steps_per_epoch, head=HEAD)

    @property
    def steps_per_epoch(self) -> int:
        """Of the training split."""
        return len(self.train.examples) // self.recipe.batch_size

    @property
    def signature(self) -> str:
        """What must be equal for a checkpoint to be continued."""
        count = len(self.train.examples)
        identity = [
            self.recipe.to_dict(),
            self.config.architecture,
            self.config.class_names,
            count,
            *([MULTI_LABEL.name] if self.config.multi_label else []),
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @cached_property
    def class_weights(self) -> np.ndarray | None:
        """Of the loss, float32 `(num_classes,)`; None where the recipe has none."""
        return losses.class_weights(
            self.recipe, self.task, self.train.examples, self.config.num_classes
        )

    @property
    def task(self) -> Task:
        """What the network is asked."""
        return task_of(self.config.multi_label)

    @property
    def objective(self) -> losses.Objective:
        """What a step minimizes, and which answers it counts as hits."""
        return losses.objective(self.recipe, self.task, self.class_weights)

    def train_batches(self, epoch: int, step: int) -> Any:
        """Return the training micro-batches from a step to the end of the run."""
        return reading.training(
            self.train,
            self.config.preprocessing,
            self.recipe,
            classes=self.config.num_classes,
            epoch=epoch,
            step=step,
            convert=_as_backend,
        )

    @property
    def head_images(self) -> int:
        """Of how many training images the head is fitted to features.

        A recipe that trains afterwards needs a start only.
        """
        count = len(self.train.examples)
        return min(count, _START_IMAGES) if self.recipe.epochs else count

    def unaugmented_batches(self) -> Any:
        """Return the images that the head is fitted to once, as the test transform shows them."""
        train = self.train
        if self.head_images < len(train.examples):
            order = splits.epoch_order(len(train.examples), seed=self.recipe.seed, epoch=0)
            some = train.examples.select(np.sort(order[: self.head_images]))
            train = Faults(some, train.options, train.what)
        return reading.in_order(
            train,
            self.config.preprocessing,
            batch_size=min(self.recipe.micro_batch_size, _AT_ONCE),
            convert=_as_backend,
        )

    def validation_batches(self) -> Any:
        """Return the validation split once, in order."""
        return reading.in_order(
            self.val,
            self.config.preprocessing,
            batch_size=self.recipe.micro_batch_size,
            convert=_as_backend,
        )


def _config(request: Request, data: Dataset) -> ModelConfig:
    return ModelConfig(
        architecture=request.source.config.architecture,
        num_classes=len(data.class_names),
        preprocessing=request.preprocessing,
        class_names=data.class_names,
        class_descriptions=data.splits.class_descriptions,
        multi_label=data.splits.multi_label,
        licence=request.source.licence,
    )


def _fitting(network: keras.Model, config: ModelConfig, recipe: Recipe) -> tuple[Recipe, str]:
    """Divide the batch into the largest parts that fit into the memory that is free."""
    free = memory.free_bytes()
    if free is None:
        raise ResourceError(
            "batch_size auto: this machine does not tell how much memory is free",
            hint="set a number, and --set accumulation=N to divide the batch into N parts.",
        )
    size = recipe.train_size or config.preprocessing.size[0]
    counted = profile(network, input_shape=(size, size, config.preprocessing.channels))
    fitted = dataclasses.replace(recipe, accumulation=memory.largest_part(counted, recipe, free))
    return fitted, (
        f"batch {fitted.batch_size} in {fitted.accumulation} parts of {fitted.micro_batch_size}: "
        f"{free / 1e9:.1f} GB are free"
    )


def _network(config: ModelConfig, recipe: Recipe) -> keras.Model:
    """Build the network with random weights, for one size of images or for any."""
    preprocessing = config.preprocessing
    size = preprocessing.size if has_one_size(recipe) else (None, None)
    with (
        _dtype_policy(recipe.precision),
        stochastic_depth(recipe.stochastic_depth, seed=recipe.seed),
    ):
        return create_model(
            config.architecture,
            num_classes=config.num_classes,
            input_shape=(*size, preprocessing.channels),
        )


def _splits(data: Dataset, channels: int, options: DataOptions) -> tuple[Faults, Faults, list[str]]:
    """Return the splits for training and validation, in memory where they fit, and notes."""
    parts, notes = {}, []
    for split in ("train", "val"):
        examples, done = data.examples(split), ""
        if options.cache == "auto":
            examples, done = in_memory(examples, channels=channels)
        if done:
            notes.append(f"{split}: {done}")
        parts[split] = Faults(examples, options, f"{data.reference} ({split})")
    return parts["train"], parts["val"], notes


class _Start(NamedTuple):
    notes: tuple[str, ...]
    origin: Origin | None
    new_head: bool


def _start_from(source: Source, network: keras.Model, config: ModelConfig) -> _Start:
    """Fill the network from the source's weights, if any; say what happened to the head."""
    if not source.has_weights:
        return _Start((), None, new_head=True)
    ours, theirs = task_of(config.multi_label), task_of(source.config.multi_label)
    same = bool(config.class_names) and source.config.class_names == config.class_names
    keep_head = same and ours is theirs
    origin = source.origin(fill(network, source, new_head="" if keep_head else HEAD))
    head = f"new head for {config.num_classes} classes; all else from {source.reference}"
    if ours is not theirs:
        head += f", which is {theirs.name}; the data are {ours.name}"
    notes = ["the weights' head is kept: the classes are the same" if keep_head else head]
    if source.address:
        notes.append(f"weights {origin}, licence {source.licence or 'not stated'}")
    return _Start(tuple(notes), origin, new_head=not keep_head)


def _as_backend(batches: Any) -> Any:
    """Return tf.data batches as what the backend takes: TensorFlow's tensors, or NumPy's arrays."""
    return batches if keras.config.backend() == "tensorflow" else batches.as_numpy_iterator()


def _check_data(data: Dataset) -> None:
    if len(data.class_names) < 2 and not data.splits.multi_label:
        raise SpecError(
            f"{data.reference} has one class only, {data.class_names[0]!r}; it takes two or more",
            hint="a folder of photographs has one folder for each class.",
        )
    if "val" not in data.splits.parts:
        raise SpecError(
            f"{data.reference} has no image to validate with",
            hint="each class needs at least two training images.",
        )
    known = data.examples("val").labels()
    if data.splits.multi_label and known is not None and not known.any():
        raise SpecError(
            f"no image that validates has a label: of {data.reference}, val has {len(known)}",
            hint="say in the column split which images are val.",
        )


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Build layers under a precision and leave the user's own setting as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
