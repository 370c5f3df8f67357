"""Everything that a run computes with, built from what was asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import keras

from rezoo.artifacts import HEAD
from rezoo.data import reading
from rezoo.data.caching import in_memory
from rezoo.data.checks import Faults
from rezoo.data.loading import Dataset
from rezoo.data.options import DataOptions
from rezoo.errors import SpecError
from rezoo.loading import fill
from rezoo.models.factory import create_model
from rezoo.recipes.recipe import Recipe
from rezoo.references import Source
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import MULTI_LABEL, Task, task_of
from rezoo.training import optimizers
from rezoo.training.request import Request


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that a run computes with.

    Attributes:
        network: With the weights that the run starts from.
        config: What its `config.json` will say.
        data: The opened dataset.
        train: Its training split, and what turned out to be unreadable in it.
        val: The same of what validates.
        recipe: With every key set.
        groups: The optimizers, each with its variables.
        steps_per_epoch: Of the training split.
        signature: What must be equal for a checkpoint to be continued.
        notes: What was done that the user should know.
    """

    network: keras.Model
    config: ModelConfig
    data: Dataset
    train: Faults
    val: Faults
    recipe: Recipe
    groups: list[optimizers.Group]
    steps_per_epoch: int
    signature: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, request: Request, data: Dataset, options: DataOptions) -> Self:
        """Build the network and fill it; raises as `rezoo.train` does."""
        _check_data(data, request.recipe)
        recipe, source = request.recipe, request.source
        config = ModelConfig(
            architecture=source.config.architecture,
            num_classes=len(data.class_names),
            preprocessing=request.preprocessing,
            class_names=data.class_names,
            class_descriptions=data.splits.class_descriptions,
            multi_label=data.splits.multi_label,
            licence=source.licence,
        )
        keras.utils.set_random_seed(recipe.seed)
        with _dtype_policy(recipe.precision):
            network = create_model(
                config.architecture,
                num_classes=config.num_classes,
                input_shape=(*config.preprocessing.size, config.preprocessing.channels),
            )
        notes, origin = _start_from(source, network, config)
        config = dataclasses.replace(config, base=origin)
        train, val, held = _splits(data, config.preprocessing.channels, options)
        count = len(train.examples)
        steps = count // recipe.batch_size
        identity = [recipe.to_dict(), config.architecture, data.class_names, count]
        identity += [MULTI_LABEL.name] if config.multi_label else []
        return cls(
            network=network,
            config=config,
            data=data,
            train=train,
            val=val,
            recipe=recipe,
            groups=optimizers.groups(network, recipe, steps, head=HEAD),
            steps_per_epoch=steps,
            signature=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            notes=(*notes, *held),
        )

    @property
    def task(self) -> Task:
        """What the network is asked."""
        return task_of(self.config.multi_label)

    def train_batches(self, epoch: int, step: int) -> Any:
        """Return the training batches from a step to the end of the run."""
        return reading.training(
            self.train,
            self.config.preprocessing,
            self.recipe,
            classes=self.config.num_classes,
            epoch=epoch,
            step=step,
            convert=_as_backend,
        )

    def validation_batches(self) -> Any:
        """Return the validation split once, in order."""
        return reading.in_order(
            self.val,
            self.config.preprocessing,
            batch_size=self.recipe.batch_size,
            convert=_as_backend,
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


def _start_from(
    source: Source, network: keras.Model, config: ModelConfig
) -> tuple[tuple[str, ...], Origin | None]:
    """Fill the network from the source's weights, if any; say what happened to the head."""
    if not source.has_weights:
        return (), None
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
    return tuple(notes), origin


def _as_backend(batches: Any) -> Any:
    """Return tf.data batches as what the backend takes: TensorFlow's tensors, or NumPy's arrays."""
    return batches if keras.config.backend() == "tensorflow" else batches.as_numpy_iterator()


def _check_data(data: Dataset, recipe: Recipe) -> None:
    train = data.examples("train")
    if len(data.class_names) < 2 and not data.splits.multi_label:
        raise SpecError(
            f"{data.reference} has one class only, {data.class_names[0]!r}; it takes two or more",
            hint="a folder of photographs has one folder for each class.",
        )
    if recipe.batch_size > len(train):
        raise SpecError(
            f"batch_size {recipe.batch_size} is larger than train, which has {len(train)} images",
            hint=f"set --batch-size to {len(train)} or less.",
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
