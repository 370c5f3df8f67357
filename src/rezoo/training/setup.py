"""Everything that a run computes with, built from what was asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import keras
import numpy as np

from rezoo.artifacts.weights import HEAD
from rezoo.data import batches, splits
from rezoo.data.cache import in_memory
from rezoo.data.datasets import DataOptions, Dataset
from rezoo.data.unreadable import Faults
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.tasks import MULTI_LABEL, Task, task_of
from rezoo.training import losses, optimizers
from rezoo.training.network import build_network, in_parts_that_fit, start_from
from rezoo.training.request import Request
from rezoo.training.settling import settle
from rezoo.training.step import TrainingStep, training_step

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
        count = len(data.examples("train"))
        _check_data(data)
        recipe, settled = settle(request.recipe, count=count, chosen=request.chosen, before=before)
        config = _config(request, data)
        keras.utils.set_random_seed(recipe.seed)
        network = build_network(config, recipe)
        if request.fit_memory and before is None:
            recipe, note = in_parts_that_fit(network, config, recipe)
            settled.append(note)
        start = start_from(request.source, network, config)
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

    def new_step(self) -> TrainingStep:
        """Return the training step, to be compiled at its first call."""
        return training_step(
            self.network,
            self.groups,
            self.recipe,
            self.task,
            steps_per_epoch=self.steps_per_epoch,
            objective=self.objective,
        )

    def train_batches(self, epoch: int, step: int) -> Any:
        """Return the training micro-batches from a step to the end of the run."""
        return batches.training(
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
        return batches.in_order(
            train,
            self.config.preprocessing,
            batch_size=min(self.recipe.micro_batch_size, _AT_ONCE),
            convert=_as_backend,
        )

    def validation_batches(self) -> Any:
        """Return the validation split once, in order."""
        return batches.in_order(
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
