"""Everything that a run computes with, built from its request."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import keras
import numpy as np

from rezoo.data import batches, splits
from rezoo.data.datasets import DataOptions, Dataset, load_dataset
from rezoo.data.labels import class_counts
from rezoo.data.unreadable import Faults
from rezoo.models.devices import ONE, Devices
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.tasks import MULTI_LABEL, Task, task_of
from rezoo.training import losses, whitening
from rezoo.training.network import agreed, build_network, check_batch, start_from
from rezoo.training.opened_data import check_data, opened_splits
from rezoo.training.reporters import Plan
from rezoo.training.request import Request, settle
from rezoo.training.step import TrainingStep, training_step
from rezoo.training.step_memory import fit_batch_to_memory
from rezoo.training.to_device import as_backend
from rezoo.utils.memory import memory_errors

_FEATURES_BATCH = 64  # images
_START_IMAGES = 10_000  # at most for the features of a new head, if training follows


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that a run computes with.

    Attributes:
        network: With the weights that the run starts from.
        config: The content of its `config.json`.
        data: The opened dataset.
        train: The training split, and which of its images turned out to be unreadable.
        val: The same for the validation split.
        recipe: With every key set, and nothing left to the data or the machine.
        starts_with_probe: Whether the head is fitted to the features before the first epoch.
        notes: For the user: what was decided.
        before: The recipe of the run that is resumed; None for a new run.
        changed_from: The signature of the run that is resumed, if more than its recipe changes.
        devices: On which the network was built.
    """

    network: keras.Model
    config: ModelConfig
    data: Dataset
    train: Faults
    val: Faults
    recipe: Recipe
    starts_with_probe: bool
    notes: tuple[str, ...]
    before: Recipe | None = None
    changed_from: str = ""
    devices: Devices = ONE

    @classmethod
    def of(
        cls,
        request: Request,
        options: DataOptions,
        *,
        before: Recipe | None = None,
        devices: Devices = ONE,
    ) -> Self:
        """Open the dataset, build the network and fill it. Errors are those of `rezoo.train`.

        Args:
            request: The run's inputs.
            options: Of the data.
            before: The recipe of the run that is resumed.
            devices: That compute together.
        """
        data = request.opened or load_dataset(
            request.dataset, options, val_fraction=request.recipe.val_fraction
        )
        count = len(data.examples("train"))
        check_data(data)
        recipe, settled = settle(
            request.recipe, count=count, chosen=request.chosen, own=request.own, before=before
        )
        recipe = agreed(recipe, devices)
        config = _config(request, data)
        network = build_network(config, recipe)
        if request.fit_memory and before is None:
            check_batch(dataclasses.replace(recipe, accumulation=1), devices)
            recipe, note = fit_batch_to_memory(network, config, recipe, devices)
            recipe = agreed(recipe, devices)
            settled.append(note)
        check_batch(recipe, devices)
        if devices.count > 1:
            settled.append(str(devices))
        start = start_from(request.source, network, config)
        config = dataclasses.replace(config, base=start.origin)
        train, val, held = opened_splits(data, config.preprocessing.channels, options)
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
            before=before,
            devices=devices,
        )
        if recipe.stem_start == "whitened":
            images = setup.unaugmented_batches(whitening.IMAGES)
            whitening.whiten(network, images, config.preprocessing, devices)
        return setup

    def with_recipe(self, recipe: Recipe, note: str) -> Self:
        """Return the same network and data under another recipe of the same network."""
        return dataclasses.replace(self, recipe=recipe, notes=(*self.notes, note))

    def in_place_of(self, signature: str) -> Self:
        """Return the same setup, to go on with the checkpoint of a run with that signature."""
        return dataclasses.replace(self, changed_from=signature)

    def on_one_device(self, values: Sequence[np.ndarray]) -> Self:
        """Return the same setup with a network of its own, which has these values."""
        network = build_network(self.config, self.recipe)
        for variable, value in zip(network.variables, values, strict=True):
            variable.assign(value)
        return dataclasses.replace(self, network=network, devices=ONE)

    @property
    def class_counts(self) -> dict[str, tuple[int, ...]]:
        """Split → images of each class; a split is missing if its labels are not known yet."""
        known = {split: part.labels() for split, part in self.data.splits.parts.items()}
        classes = self.config.num_classes
        return {
            split: tuple(class_counts(labels, classes).tolist())
            for split, labels in known.items()
            if labels is not None
        }

    def plan(self, request: Request, *notes: str) -> Plan:
        """Return what is about to be trained, with more notes."""
        config = self.config
        return Plan(
            model=request.source.reference,
            dataset=request.dataset,
            recipe=self.recipe,
            recipe_reason=request.recipe_reason,
            folder=str(request.folder),
            steps_per_epoch=self.steps_per_epoch,
            sizes={split: len(part) for split, part in self.data.splits.parts.items()},
            classes=tuple(config.label(i) for i in range(config.num_classes)),
            class_counts=self.class_counts,
            notes=(*self.data.splits.notes, *request.notes, *self.notes, *notes),
            task=self.task,
        )

    def memory_errors(self) -> AbstractContextManager[None]:
        """Report exhausted memory inside the block, with what decides how much a step takes."""
        recipe = self.recipe
        parts = f" in {recipe.accumulation} micro-batches of {recipe.micro_batch_size}"
        batch = f"batch size {recipe.batch_size}{parts if recipe.accumulation > 1 else ''}"
        size = recipe.train_size or self.config.preprocessing.size[0]
        return memory_errors(
            f"training with {batch}, images of {size}×{size}",
            hint="use a smaller --batch-size or --image-size, or --set accumulation=N, which "
            "divides the batch into N micro-batches; --batch-size auto chooses N.",
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training split."""
        return len(self.train.examples) // self.recipe.batch_size

    @property
    def signature(self) -> str:
        """What must be equal for a checkpoint to be resumed."""
        return self._signature(self.recipe)

    @property
    def signature_before(self) -> str:
        """That of the run that is resumed, which may have fewer epochs; else `signature`."""
        return self.changed_from or self._signature(self.before or self.recipe)

    def _signature(self, recipe: Recipe) -> str:
        count = len(self.train.examples)
        identity = [
            recipe.to_dict(),
            self.config.architecture,
            self.config.class_names,
            count,
            *([MULTI_LABEL.name] if self.config.multi_label else []),
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @cached_property
    def class_weights(self) -> np.ndarray | None:
        """Of the loss, float32 `(num_classes,)`; None if the recipe has none."""
        return losses.class_weights(
            self.recipe, self.task, self.train.examples, self.config.num_classes
        )

    @property
    def task(self) -> Task:
        """Single-label or multi-label."""
        return task_of(self.config.multi_label)

    @property
    def objective(self) -> losses.Objective:
        """Returns loss and hits from logits and labels."""
        return losses.objective(self.recipe, self.task, self.class_weights)

    def new_step(self) -> TrainingStep:
        """Return the training step, to be compiled at its first call."""
        return training_step(
            self.network,
            self.recipe,
            self.task,
            steps_per_epoch=self.steps_per_epoch,
            objective=self.objective,
            devices=self.devices,
            preprocessing=self.config.preprocessing,
        )

    def train_batches(self, epoch: int, step: int) -> Iterator[Any]:
        """Return this host's part of the micro-batches from a step to the end of the run."""
        return batches.training(
            self.train,
            self.config.preprocessing,
            self.recipe,
            classes=self.config.num_classes,
            epoch=epoch,
            step=step,
            convert=partial(as_backend, devices=self.devices),
            host=self.devices.host,
            hosts=self.devices.hosts,
        )

    @property
    def head_images(self) -> int:
        """Number of training images whose features a new head is fitted to.

        It is smaller if epochs follow, because then the fit is only a start.
        """
        count = len(self.train.examples)
        return min(count, _START_IMAGES) if self.recipe.epochs else count

    def unaugmented_batches(self, most: int, devices: Devices = ONE) -> Iterable[Any]:
        """Return one host's part of `most` training images, with the test transform."""
        order = splits.epoch_order(len(self.train.examples), seed=self.recipe.seed, epoch=0)
        chosen = np.sort(order[:most])
        mine = self.train.of_some(chosen[devices.share(len(chosen))])
        return self._in_order(mine, min(self.recipe.micro_batch_size, _FEATURES_BATCH))

    @cached_property
    def validation_batches(self) -> Iterable[Any]:
        """The validation split in order, at each iteration anew."""
        return self._in_order(self.val, self.recipe.micro_batch_size)

    @cached_property
    def validation_share(self) -> Iterable[Any]:
        """This host's part of it."""
        if self.devices.hosts == 1:
            return self.validation_batches
        mine = self.val.of_some(self.devices.share(len(self.val.examples)))
        return self._in_order(mine, self.recipe.micro_batch_size)

    def _in_order(self, faults: Faults, batch_size: int) -> Iterable[Any]:
        preprocessing = self.config.preprocessing
        return batches.InOrder(faults, preprocessing, batch_size=batch_size, convert=as_backend)


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
