"""A network and the images on which it is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import keras
import numpy as np

from rezoo.data.batches import InOrder
from rezoo.data.dataset_references import DatasetReference
from rezoo.data.datasets import DataOptions, Dataset, load_dataset
from rezoo.data.resize import Crop, resized_crop
from rezoo.data.unreadable import Faults
from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.class_names import match_classes
from rezoo.evaluation.forward import network_of
from rezoo.evaluation.labelled_arrays import dataset_of_arrays
from rezoo.evaluation.predictions import Predictions
from rezoo.models.devices import Devices, joined
from rezoo.sources.any_model import AnyModel, own_dataset, own_val_fraction, source_of
from rezoo.sources.references import Source
from rezoo.specs import Preprocessing
from rezoo.tasks import Task, task_of
from rezoo.utils.memory import memory_errors
from rezoo.utils.names import count_of

AnyData: TypeAlias = DatasetReference | Dataset | tuple[Any, Any] | None
"""A dataset reference, an opened dataset, `(images, labels)`, or None for that of the run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A network, a split of a dataset, and what belongs to both.

    Attributes:
        model: The network as it was given: a reference, or the model itself.
        source: What it stands for.
        data: The dataset.
        split: Name of the split.
        task: Of both.
        faults: The split, and which of its images are known to be unreadable.
        classes: Index in the head of each class of the dataset, int64 `(C,)`.
        matched: How the classes were matched, as text.
        preprocessing: Of the images.
        batch_size: Images per batch.
    """

    model: AnyModel
    source: Source
    data: Dataset
    split: str
    task: Task
    faults: Faults
    classes: np.ndarray
    matched: str
    preprocessing: Preprocessing
    batch_size: int

    @property
    def in_words(self) -> str:
        """The preprocessing as text."""
        return in_words(self.preprocessing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Rules of the splits, how classes were matched, images that were left out."""
        bad = len(self.faults.reasons)
        left_out = [f"{count_of(bad, 'image')} left out that cannot be decoded"] if bad else []
        return (*self.data.splits.notes, self.matched, *left_out, *self.faults.lost_classes())

    def network(self) -> keras.Model:
        """Return the model, or load it; see `forward.network_of`."""
        return network_of(self.model, self.source)

    def require_one_label(self, why: str, *, hint: str) -> None:
        """Raise `IncompatibleError` if the network is multi-label; `why` follows these words."""
        if self.task.multi_label:
            raise IncompatibleError(f"{self.source.reference} is multi-label{why}", hint=hint)

    def described(
        self,
        predictions: Predictions,
        *,
        preprocessing: str = "",
        tta: str = "",
        weights_sha256: str = "",
    ) -> Predictions:
        """Return the predictions for the readable images with names and facts.

        Args:
            predictions: In the order of the split.
            preprocessing: As text, if it is another than that of the setting.
            tta: Test-time augmentation.
            weights_sha256: Of the network, if it is known.
        """
        faults, config = self.faults, self.source.config
        return replace(
            predictions,
            keys=tuple(faults.examples.key(int(i)) for i in faults.readable()),
            labels=tuple(map(config.label, range(config.num_classes))),
            facts={
                "model": self.source.reference,
                "dataset": self.data.reference,
                "split": self.split,
                "preprocessing": preprocessing or self.in_words,
                "tta": tta,
                "weights_sha256": weights_sha256,
            },
        )

    def batches(self, faults: Faults | None = None, *, crop: Crop = resized_crop) -> InOrder:
        """Return the batches of the split, or of other images; see `InOrder`."""
        faults = self.faults if faults is None else faults
        return InOrder(faults, self.preprocessing, batch_size=self.batch_size, crop=crop)

    @contextmanager
    def computing(self, devices: int | str | None, hosts: str | None) -> Iterator[Devices]:
        """Compute on several devices inside the block; for the arguments see `evaluate`.

        Raises:
            ResourceError: There is not enough memory.
            LostHostError: Another host has ended, or is not reached.
        """
        what = f"evaluating batches of {self.batch_size} images of {self.in_words}"
        hint = "use a smaller --batch-size or --image-size."
        with joined(devices, hosts) as team, memory_errors(what, hint=hint):
            yield team


def in_words(preprocessing: Preprocessing) -> str:
    """Return a preprocessing as text."""
    height, width = preprocessing.size
    crop, interpolation = preprocessing.crop_pct, preprocessing.interpolation
    mode = "" if preprocessing.crop_mode == "center" else f"{preprocessing.crop_mode}, "
    return f"{height}x{width}, {mode}crop {crop:g}, {interpolation}, antialiased"


def setting_of(
    model: AnyModel,
    dataset: AnyData,
    *,
    split: str,
    batch_size: int,
    pretrained: bool = False,
    image_size: int | None = None,
    crop_mode: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
) -> Setting:
    """Open what `rezoo.evaluate` measures; for the arguments and the errors see there."""
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    source = source_of(model, pretrained=pretrained, image_size=image_size)
    data = _opened(dataset, source, options)
    task = _common_task(source, data)
    examples, total = data.examples(split), sum(map(len, data.splits.parts.values()))
    faults = Faults(examples, options, f"{data.reference} ({split})", data.class_names, total)
    config = source.config
    classes, matched = match_classes(data.class_names, config, labels=examples.labels())
    return Setting(
        model=model,
        source=source,
        data=data,
        split=split,
        task=task,
        faults=faults,
        classes=classes,
        matched=matched,
        preprocessing=config.preprocessing.for_test().at(image_size, crop_mode),
        batch_size=batch_size,
    )


def _opened(dataset: AnyData, source: Source, options: DataOptions) -> Dataset:
    """Open a dataset; None for that of the source's run."""
    if isinstance(dataset, tuple):
        return dataset_of_arrays(dataset, source.config)
    own = own_dataset(source)
    dataset = own if dataset is None else dataset
    if dataset is None:
        raise SpecError(f"{source.reference} does not record its dataset", hint="name a dataset.")
    val_fraction = own_val_fraction(source) if dataset == own else None
    return load_dataset(dataset, options, val_fraction=val_fraction)


def _common_task(source: Source, data: Dataset) -> Task:
    """Return the task of both the network and the dataset."""
    ours, theirs = task_of(source.config.multi_label), task_of(data.splits.multi_label)
    if ours is not theirs:
        raise IncompatibleError(
            f"{source.reference} is {ours.name}, {data.reference} is {theirs.name}",
            hint=f"evaluate on {ours.name} data, or train a new head for this dataset.",
        )
    return ours
