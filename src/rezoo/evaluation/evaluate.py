"""`evaluate`: the scores of a network on a split of a dataset."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rezoo.data.batches import InOrder
from rezoo.data.datasets import DataOptions, Dataset, DatasetReference, load_dataset
from rezoo.data.unreadable import Faults
from rezoo.errors import IncompatibleError, SpecError
from rezoo.evaluation.class_names import match_classes
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.evaluation.metrics import AnyScores, measure
from rezoo.evaluation.recording import compare_with_run
from rezoo.models.devices import Devices, joined
from rezoo.sources.any_model import AnyModel, own_dataset, source_of
from rezoo.sources.references import Source
from rezoo.specs import Origin, Preprocessing
from rezoo.tasks import Task, task_of
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.memory import memory_errors


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        model: Reference of the network.
        dataset: Reference of the dataset.
        split: Name of the split.
        task: Task of the network.
        num_classes: Width of the head.
        scores: Scores with their intervals.
        classes: `(name, images, right)` of each class that occurs. For multi-label data the last
            is the average precision.
        preprocessing: Preprocessing of the images, as text.
        images_per_s: Throughput, with decoding.
        notes: Remarks: rules of the splits, how classes were matched, images left out.
        origin: Origin of the weights, or None if it is not recorded.
        worst: Classes with the lowest accuracy (for multi-label data: average precision), as in
            `metrics.json`.
        own_data: Whether these are the images of the same split of the run that is evaluated.
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
    own_data: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
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
    model: AnyModel,
    dataset: DatasetReference | Dataset | None = None,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    devices: int | str | None = None,
    hosts: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a network on a split of a dataset, with the preprocessing of its weights.

    Args:
        model: A reference with weights, a run of `train`, or a model of rezoo.
        dataset: A dataset reference or an opened dataset; its classes must be among those of the
            network. If None, the dataset that the run was trained on.
        pretrained: Whether an architecture stands for its default published weights.
        split: `"test"`, `"val"`, `"train"` or `"all"`.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        devices: Of this machine that each have a part of a batch, on JAX: a number, or `"all"`.
            By default one; with `hosts`, all.
        hosts: `"ADDRESS:PORT,N,INDEX"`: this process is number INDEX of N, one on each machine,
            and the first listens there. Each has a part of the images, and all return the same.
        options: Handling of images that cannot be read, and images to leave out. Only the first
            applies to an opened dataset.
        progress: Called with the number of images done and the total.

    Raises:
        SpecError: The reference has no weights, an argument is out of bounds, or no dataset is
            given and none is recorded.
        NotFoundError: The dataset or the split does not exist.
        IncompatibleError: The network lacks a class of the dataset, or one of them is
            single-label and the other multi-label.
        IntegrityError: More images cannot be read than the options allow.
        LostHostError: Another host has ended, or is not reached.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
    source = source_of(model, pretrained=pretrained, image_size=image_size)
    data = _opened(dataset, source, options)
    task = _common_task(source, data)
    own_data, compared = compare_with_run(source, data, split)
    config, examples = source.config, data.examples(split)
    total = sum(map(len, data.splits.parts.values()))
    faults = Faults(examples, options, f"{data.reference} ({split})", data.class_names, total)
    classes, note = match_classes(data.class_names, config, labels=examples.labels())
    preprocessing = config.preprocessing.for_test().at(image_size)
    what = f"evaluating batches of {batch_size} images of {_in_words(preprocessing)}"
    hint = "use a smaller --batch-size or --image-size."
    with joined(devices, hosts) as team, memory_errors(what, hint=hint):
        network = network_of(model, source)
        warn_of_gpu_faults()
        begun = time.perf_counter()
        measured = partial(measure, task, compiled_forward(network, preprocessing), classes=classes)
        scores = _scores_of_all(team, faults, preprocessing, batch_size, measured, progress)
    return Evaluation(
        model=source.reference,
        dataset=data.reference,
        split=split,
        task=task,
        num_classes=config.num_classes,
        scores=scores,
        classes=tuple((config.label(i), n, value) for i, n, value in scores.per_class),
        preprocessing=_in_words(preprocessing),
        images_per_s=scores.count / (time.perf_counter() - begun),
        notes=(*data.splits.notes, note, *_left_out(faults), *compared),
        own_data=own_data,
        origin=getattr(network, "rezoo_origin", None),
        worst=tuple(scores.worst(config.label)),
    )


def _scores_of_all(
    team: Devices,
    faults: Faults,
    preprocessing: Preprocessing,
    batch_size: int,
    measured: Callable[..., AnyScores],
    progress: Callable[[int, int], None],
) -> AnyScores:
    """Return the scores on a split, of which each host has a part; all know what is unreadable."""
    mine = team.share(len(faults.examples))
    here = faults.of_some(mine)
    scores = measured(
        InOrder(here, preprocessing, batch_size=batch_size),
        progress=lambda done: progress(done, len(mine)),
        gather=team.gather,
    )
    unreadable = {int(mine[i]): reason for i, reason in here.reasons.items()}
    faults.merge(team.exchange(unreadable))
    return scores


def _opened(
    dataset: DatasetReference | Dataset | None, source: Source, options: DataOptions
) -> Dataset:
    """Open a dataset; None for that of the source's run."""
    dataset = own_dataset(source) if dataset is None else dataset
    if dataset is None:
        raise SpecError(f"{source.reference} does not record its dataset", hint="name a dataset.")
    return load_dataset(dataset, options)


def _left_out(faults: Faults) -> list[str]:
    bad = len(faults.reasons)
    left_out = [f"{bad} images left out: they cannot be decoded"] if bad else []
    return left_out + faults.lost_classes()


def _in_words(preprocessing: Preprocessing) -> str:
    height, width = preprocessing.size
    crop, interpolation = preprocessing.crop_pct, preprocessing.interpolation
    return f"{height}x{width}, crop {crop:g}, {interpolation}, antialiased"


def _common_task(source: Source, data: Dataset) -> Task:
    """Return the task of both the network and the dataset."""
    ours, theirs = task_of(source.config.multi_label), task_of(data.splits.multi_label)
    if ours is not theirs:
        raise IncompatibleError(
            f"{source.reference} is {ours.name}, {data.reference} is {theirs.name}",
            hint=f"evaluate on {ours.name} data, or train a new head for this dataset.",
        )
    return ours
