"""`evaluate`: a network with weights, measured on a split of a dataset."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.datasets import Dataset, load_dataset
from rezoo.data.options import DataOptions
from rezoo.data.reading import in_order
from rezoo.data.unreadable import Faults
from rezoo.errors import IncompatibleError, IntegrityError, SpecError
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.metrics import AnyScores, measure
from rezoo.sources.load import build
from rezoo.sources.references import Source, resolve_weights
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import Task, task_of


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        model: The reference that was measured.
        dataset: The reference of the data.
        split: The split.
        task: What the network was asked.
        num_classes: Width of the network's head.
        scores: Accuracies with their intervals.
        classes: `(name, images, right)` of each class that occurs; of several labels, the last
            is the average precision.
        preprocessing: What the images went through, in words.
        images_per_s: Decoding included.
        notes: What the user should know: rules of the splits, how classes were matched.
        origin: Where the weights come from, to the commit and the SHA-256.
        worst: The classes least often right, and what they are taken for; of several labels,
            those of lowest average precision.
    """

    model: str
    dataset: str
    split: str
    task: Task
    num_classes: int
    scores: AnyScores
    classes: tuple[tuple[str, int, float], ...]
    preprocessing: str
    images_per_s: float
    notes: tuple[str, ...]
    origin: Origin | None
    worst: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            **({"multi_label": True} if self.task.multi_label else {}),
            "num_classes": self.num_classes,
            **self.scores.to_dict(),
            "preprocessing": self.preprocessing,
            "images_per_s": self.images_per_s,
            "origin": dataclasses.asdict(self.origin) if self.origin else None,
            "worst_classes": list(self.worst),
            "classes": [
                {"name": name, "count": count, self.task.class_key: value}
                for name, count, value in self.classes
            ],
            "notes": list(self.notes),
        }


def evaluate(
    model: str | Source,
    dataset: str,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a network on a split of a dataset, with the preprocessing of its weights.

    Args:
        model: A reference with weights.
        pretrained: Take the default published weights of a bare architecture.
        dataset: A dataset reference; its classes must be among the network's.
        split: `"test"`, `"val"`, `"train"` or `"all"`.
        batch_size: Images at a time; does not change the result.
        image_size: Height and width in pixels; what the weights ask for where not given.
        options: What happens to images that cannot be read, and which are left out.
        progress: Called with images done and in all.

    Raises:
        SpecError: The reference has no weights, or an argument is out of bounds.
        NotFoundError: The data or the split is not there.
        IncompatibleError: The dataset's classes are not the network's, or it has several labels
            for an image where the network knows one, or the other way round.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    source = resolve_weights(model, pretrained=pretrained)
    data = load_dataset(dataset, options)
    task = _common_task(source, data)
    examples = data.examples(split)
    faults = Faults(examples, options, f"{dataset} ({split})")
    classes, note = match_classes(data.class_names, source.config)
    if task.multi_label and len(classes) < source.config.num_classes:
        note += "; the others are not looked at"
    preprocessing = source.config.preprocessing.for_test().at(image_size)
    network = build(source)
    begun = time.perf_counter()
    with readable_errors(dataset):
        scores = measure(
            task,
            compiled_forward(network),
            in_order(faults, preprocessing, batch_size=batch_size),
            classes=classes,
            progress=lambda done: progress(done, len(examples)),
        )
    height, width = preprocessing.size
    return Evaluation(
        model=source.reference,
        dataset=dataset,
        split=split,
        task=task,
        num_classes=source.config.num_classes,
        scores=scores,
        classes=tuple((source.config.label(i), n, value) for i, n, value in scores.per_class),
        preprocessing=f"{height}x{width}, crop {preprocessing.crop_pct:g}, "
        f"{preprocessing.interpolation}, antialiased",
        images_per_s=scores.count / (time.perf_counter() - begun),
        notes=(*data.splits.notes, note, *_left_out(faults)),
        origin=network.rezoo_origin,
        worst=tuple(scores.worst(source.config.label)),
    )


def _common_task(source: Source, data: Dataset) -> Task:
    """Return what network and data are both made for."""
    ours, theirs = task_of(source.config.multi_label), task_of(data.splits.multi_label)
    if ours is not theirs:
        raise IncompatibleError(
            f"{source.reference} is {ours.name}, {data.reference} is {theirs.name}",
            hint=f"evaluate on {ours.name} data; rezoo train gives it a new head for these.",
        )
    return ours


def _left_out(faults: Faults) -> list[str]:
    count = len(faults.reasons)
    return [f"{count} images left out that cannot be decoded"] if count else []


def match_classes(names: Sequence[str], config: ModelConfig) -> tuple[np.ndarray, str]:
    """Find the head's index of each of a dataset's classes.

    Classes are matched by name, else by readable name (both without regard to case,
    blanks and underscores), else, where the network knows no names, by position.

    Returns:
        int64 `(len(names),)`, and in words how the match was made.

    Raises:
        IncompatibleError: A class is not among the network's; both lists are shown.
    """
    for known, what in (
        (config.class_names, "names"),
        (config.class_descriptions, "readable names"),
    ):
        index = {_plain(name): i for i, name in reversed(list(enumerate(known)))}
        if names and all(_plain(name) in index for name in names):
            found = np.array([index[_plain(name)] for name in names], np.int64)
            return found, f"{len(names)} classes matched by {what} to {config.num_classes}"
    if not config.class_names and len(names) == config.num_classes:
        return np.arange(len(names)), "classes matched by position: the weights have no names"
    raise IncompatibleError(
        f"the dataset's {len(names)} classes ({_few(names)}) are not among the network's "
        f"{config.num_classes} ({_few(config.class_names) or 'without names'})",
        hint="evaluate on data with the classes that the network was trained on; "
        "rezoo train gives it a new head for these.",
    )


_UNREADABLE = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
)


class readable_errors:  # noqa: N801 - used as a context manager, like contextlib.suppress
    """Turn TensorFlow's errors on undecodable images into an `IntegrityError`."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise the clearer error."""
        if isinstance(error, _UNREADABLE):
            first = re.sub(r"\{\{.*?\}\}", "", error.message).strip().partition("\n")[0]
            raise IntegrityError(
                f"an image of {self.dataset} could not be read: {first}",
                hint="the files changed after they were checked, or the prepared data is damaged.",
            ) from error


def _plain(name: str) -> str:
    return "".join(name.lower().replace("_", " ").split())


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" … {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(n) for n in names[:most]) + more
