"""`evaluate`: the scores of a network on a split of a dataset."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from rezoo.data.batches import InOrder
from rezoo.data.datasets import DataOptions, Dataset, DatasetReference
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.evaluation.metrics import AnyScores, scored
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.recording import compare_with_run
from rezoo.evaluation.setting import Setting, setting_of
from rezoo.models.devices import Devices
from rezoo.sources.any_model import AnyModel
from rezoo.specs import ModelConfig, Origin
from rezoo.tasks import Task, task_of
from rezoo.utils.gpu_faults import warn_of_gpu_faults


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        predictions: What the network predicts for each image; all figures are computed from them.
        config: Of the network.
        images_per_s: Throughput, with decoding.
        notes: Remarks: rules of the splits, how classes were matched, images left out.
        origin: Origin of the weights, or None if it is not recorded.
        own_data: Whether these are the images of the same split of the run that is evaluated.
    """

    predictions: Predictions
    config: ModelConfig
    images_per_s: float
    notes: tuple[str, ...]
    origin: Origin | None
    own_data: bool = False

    @property
    def model(self) -> str:
        """Reference of the network."""
        return self.predictions.facts["model"]

    @property
    def dataset(self) -> str:
        """Reference of the dataset."""
        return self.predictions.facts["dataset"]

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.predictions.facts["split"]

    @property
    def preprocessing(self) -> str:
        """Preprocessing of the images, as text."""
        return self.predictions.facts["preprocessing"]

    @property
    def task(self) -> Task:
        """Task of the network."""
        return task_of(self.config.multi_label)

    @property
    def num_classes(self) -> int:
        """Width of the head."""
        return self.config.num_classes

    @cached_property
    def scores(self) -> AnyScores:
        """Scores with their intervals."""
        return scored(self.predictions)

    @property
    def classes(self) -> tuple[tuple[str, int, float], ...]:
        """`(name, images, right)` of each class that occurs.

        For multi-label data the last is the average precision.
        """
        return tuple((self.config.label(i), n, value) for i, n, value in self.scores.per_class)

    @property
    def worst(self) -> list[dict[str, Any]]:
        """Classes with the lowest accuracy (or average precision), as in `metrics.json`."""
        return self.scores.worst(self.config.label)

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
            "worst_classes": self.worst,
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
    setting = setting_of(
        model,
        dataset,
        pretrained=pretrained,
        split=split,
        batch_size=batch_size,
        image_size=image_size,
        options=options,
    )
    source, data, config = setting.source, setting.data, setting.source.config
    own_data, compared = compare_with_run(source, data, split)
    with setting.computing(devices, hosts) as team:
        network = network_of(model, source)
        warn_of_gpu_faults()
        begun = time.perf_counter()
        forward = compiled_forward(network)
        asked = partial(collect, setting.task, forward, classes=setting.classes)
        found = _of_all(team, setting, asked, progress)
        elapsed_s = time.perf_counter() - begun
    origin: Origin | None = getattr(network, "rezoo_origin", None)
    facts = {
        "model": source.reference,
        "dataset": data.reference,
        "split": split,
        "preprocessing": setting.in_words,
        "weights_sha256": origin.sha256 if origin else "",
    }
    labels = tuple(map(config.label, range(config.num_classes)))
    return Evaluation(
        predictions=dataclasses.replace(found, labels=labels, facts=facts),
        config=config,
        images_per_s=len(found) / elapsed_s,
        notes=(*setting.notes, *compared),
        origin=origin,
        own_data=own_data,
    )


def _of_all(
    team: Devices,
    setting: Setting,
    asked: Callable[..., Predictions],
    progress: Callable[[int, int], None],
) -> Predictions:
    """Return the predictions for a split, of which each host has a part; all hosts have the same.

    All know what is unreadable.
    """
    faults = setting.faults
    mine = team.share(len(faults.examples))
    here = faults.of_some(mine)
    found = asked(
        InOrder(here, setting.preprocessing, batch_size=setting.batch_size),
        progress=lambda done: progress(done, len(mine)),
        gather=team.gather,
    )
    unreadable = {int(mine[i]): reason for i, reason in here.reasons.items()}
    faults.merge(team.exchange(unreadable))
    indices = team.gather(mine[here.readable()])
    order = np.argsort(indices)
    keys = tuple(faults.examples.key(int(i)) for i in indices[order])
    return dataclasses.replace(found.at(order), keys=keys)
