"""What an exported file predicts for the images of a split, in its own runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.datasets import DataOptions, Dataset
from rezoo.data.unreadable import Faults
from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.setting import setting_of
from rezoo.exporters.formats import FEATURES
from rezoo.exporters.runner import Runner, find_export, open_exported
from rezoo.exporters.samples import readable
from rezoo.models.normalization import normalized
from rezoo.sources.references import Source
from rezoo.specs import ModelConfig, Preprocessing
from rezoo.tasks import MULTI_LABEL

_SMALLEST = float(np.finfo(np.float32).tiny)


def evaluate_exported(
    path: Path,
    data: Dataset,
    *,
    split: str,
    batch_size: int = 32,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Predictions, tuple[str, ...]]:
    """Return the predictions of an exported file, and remarks, as `rezoo.evaluate` for a network.

    A file for raw images prepares them itself, one at a time. Others get images that are prepared
    as the file states. The logarithm of probabilities is used as logits.

    Args:
        path: The folder of the export, or the file in it.
        data: The opened dataset.
        split: Name of the split.
        batch_size: Images per batch.
        options: Handling of images that cannot be read.
        progress: Called with the number of images done and the total.

    Raises:
        IncompatibleError: The export lacks a class of the dataset, is single-label and the dataset
            multi-label or the reverse, or the runtime rejects the file. Otherwise as
            `open_exported` and `rezoo.evaluate`.
    """
    run = open_exported(path)
    if run.metadata["output"] == FEATURES:
        raise IncompatibleError(
            f"{path} gives features, which predict no class", hint="evaluate what it came from."
        )
    _, folder = find_export(path)
    setting = setting_of(
        Source(str(path), _config(run, path), folder),
        data,
        split=split,
        batch_size=batch_size,
        options=options,
    )
    faults, preprocessing = setting.faults, setting.preprocessing
    raw, count = run.input == "raw", len(faults.examples)
    batches: Iterable[tuple[Any, Any]] = setting.batches()
    if raw:
        batches = _pictures(faults, preprocessing.channels)

    def inputs(images: Any) -> Any:
        return normalized(np.asarray(images, np.float32), preprocessing)

    found = collect(
        setting.task,
        lambda images: _logits(run, np.asarray(images) if raw else inputs(images)),
        batches,
        classes=setting.classes,
        progress=lambda done: progress(done, count),
    )
    inside = f"{setting.in_words}, inside the file" if raw else ""
    return setting.described(found, preprocessing=inside), setting.notes


def _config(run: Runner, path: Path) -> ModelConfig:
    """Return the classes and the preprocessing that the file states."""
    try:
        stated = dict(run.metadata["preprocessing"])
        stated.pop("inside")
        names, labels = (tuple(run.metadata[key]) for key in ("class_names", "labels"))
        numbers = tuple(map(str, range(len(labels))))  # of a network whose classes have no names
        return ModelConfig(
            architecture=run.metadata["architecture"],
            num_classes=run.metadata["num_classes"],
            preprocessing=Preprocessing(**stated),
            class_names=names,
            class_descriptions=() if labels == numbers else labels,
            multi_label=run.metadata["task"] == MULTI_LABEL.name,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the description in {path} is damaged: {error!r}", hint="export it again."
        ) from error


def _pictures(faults: Faults, channels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of one uint8 image, in its own size, and its label."""
    for image, label in readable(faults, np.arange(len(faults.examples)), channels):
        yield image[None], np.asarray(label)[None]


def _logits(run: Runner, images: np.ndarray) -> Any:
    """Return the logits of a batch; of probabilities, those with the same softmax or sigmoid."""
    outputs = run(images)
    if run.metadata["output"] == "logits":
        return outputs
    logarithm = np.log(np.maximum(outputs, _SMALLEST))
    if run.metadata["task"] != MULTI_LABEL.name:
        return logarithm
    return logarithm - np.log(np.maximum(1 - outputs, _SMALLEST))
