"""`measure_unknown`: how well images of the classes are told from others."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.datasets import DataOptions, Dataset, DatasetReference, dataset_spec, load_dataset
from rezoo.data.examples import Examples
from rezoo.data.finding import find_images
from rezoo.data.image_sources import FileSource
from rezoo.data.overlap import same_content
from rezoo.data.unreadable import Faults
from rezoo.errors import DataWarning, SpecError
from rezoo.evaluation.calibrating.features import answers
from rezoo.evaluation.calibrating.unknown import (
    Refusal,
    all_scores,
    auroc,
    auroc_interval,
    forward_for,
)
from rezoo.evaluation.forward import network_of
from rezoo.evaluation.scoring.intervals import Interval, wilson_interval
from rezoo.evaluation.setting import Setting, setting_of
from rezoo.sources.any_model import AnyModel
from rezoo.utils.paths import expanded

_NAMED = 3  # images that a warning names


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well one score tells known images from unknown ones.

    Attributes:
        score: `"energy"`, `"similarity"` or `"probability"`.
        auroc: Probability that a known image has a higher score than an unknown one.
        interval: Its 95 % interval.
    """

    score: str
    auroc: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of some images that is refused as unknown.

    Attributes:
        count: Number of images.
        refused: Number of those that are refused; None without a threshold.
    """

    count: int
    refused: int | None

    @property
    def fraction(self) -> float | None:
        """Fraction that is refused; None without a threshold."""
        return None if self.refused is None else self.refused / self.count

    @property
    def interval(self) -> Interval | None:
        """Its 95 % Wilson interval."""
        return None if self.refused is None else wilson_interval(self.refused, self.count)

    def __str__(self) -> str:
        if self.refused is None or self.interval is None:
            return f"{self.count} images"
        low, high = self.interval
        part = f"{self.refused / self.count:.1%} refused (95 % interval {low:.1%} to {high:.1%})"
        return f"{part} of {self.count} images"


@dataclass(frozen=True, kw_only=True)
class UnknownImages:
    """The result of `measure_unknown`.

    Attributes:
        unknown: Reference of the unknown images.
        score: The stored score, which the threshold is for; empty without a calibration.
        threshold: The threshold, or None.
        separations: Of each score that can be computed, the stored one first.
        known: Images of the evaluated split.
        others: The unknown images.
        notes: Remarks: images left out, or that there is no threshold.
    """

    unknown: str
    score: str
    threshold: float | None
    separations: tuple[Separation, ...]
    known: Share
    others: Share
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, str]]:
        """Return a table of the AUROC of each score."""
        return [
            {
                "score": row.score,
                "AUROC": f"{row.auroc:.4f}",
                "95 % interval": "{:.4f} to {:.4f}".format(*row.interval),
                "threshold": f"{self.threshold:.4g}" if row.score == self.score else "",
            }
            for row in self.separations
        ]

    def summary(self) -> tuple[str, str]:
        """Return what is refused, as a sentence on the known and one on the unknown images."""
        return f"known: {self.known}", f"unknown, {self.unknown}: {self.others}"

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "unknown": self.unknown,
            "score": self.score or None,
            "threshold": self.threshold,
            "auroc": {
                row.score: {"value": row.auroc, "interval": list(row.interval)}
                for row in self.separations
            },
            **{
                name: {
                    "count": share.count,
                    "refused": share.fraction,
                    "refused_interval": list(share.interval) if share.interval else None,
                }
                for name, share in (("known_images", self.known), ("unknown_images", self.others))
            },
            "notes": list(self.notes),
        }


def measure_unknown(
    model: AnyModel,
    unknown: DatasetReference | Dataset,
    dataset: DatasetReference | Dataset | None = None,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> UnknownImages:
    """Measure how well a network tells images of its classes from images of others.

    The similarity is measured if the network has class means: those of its folder, or
    `model.rezoo_class_means`, which `calibrate` returns. Without a threshold of `rezoo calibrate`,
    there is no share of refused images.

    Args:
        model: As for `evaluate`.
        unknown: Images of none of the classes: a dataset, of which all splits are taken, or
            `folder:PATH`, with class folders or without. Labels do not matter.
        dataset: Known images, as for `evaluate`.
        pretrained: As for `evaluate`, and so are the other arguments.
        split: `"test"`, `"val"`, `"train"` or `"all"`, of the known images.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: Geometry of the images; that of the weights if None.
        options: Handling of images that cannot be read.
        progress: Called with the number of images done and the total.

    Raises:
        SpecError: The network is a multi-label one, in which no class is an answer, too.
            Otherwise as `evaluate`, also for the unknown images.
    """
    setting = setting_of(
        model,
        dataset,
        pretrained=pretrained,
        split=split,
        batch_size=batch_size,
        image_size=image_size,
        crop_mode=crop_mode,
        options=options,
    )
    if setting.task.multi_label:
        raise SpecError(
            f"{setting.source.reference} is multi-label: an image may show none of its classes, "
            "so none is unknown",
            hint="rezoo calibrate still calibrates its probabilities.",
        )
    others = opened_unknown(unknown, options)
    _warn_of_training_images(setting, others)
    with setting.computing(None, None):
        network = network_of(model, setting.source)
        refusal = Refusal.of(setting.source.config, network)
        means = getattr(network, "rezoo_class_means", None)
        forward = forward_for(network, means, setting.preprocessing)
        count = len(setting.faults.examples)
        total = count + len(others.examples)
        run = partial(_scores, setting, forward, means)
        known = run(setting.faults, lambda done: progress(done, total))
        unseen = run(others, lambda done: progress(count + done, total))
    return _result(setting, others, refusal, known, unseen)


def _scores(
    setting: Setting,
    forward: Any,
    means: np.ndarray | None,
    faults: Faults,
    progress: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Return each score of the images that can be read."""
    found = answers(forward, setting.batches(faults), progress)
    calibration = setting.source.config.calibration
    return all_scores(
        found.logits,
        found.features,
        temperature=calibration.temperature if calibration else 1.0,
        means=means,
    )


def _result(
    setting: Setting,
    others: Faults,
    refusal: Refusal | None,
    known: dict[str, np.ndarray],
    unseen: dict[str, np.ndarray],
) -> UnknownImages:
    stored = refusal.score if refusal else ""
    names = sorted(known, key=lambda name: name != stored)  # otherwise as they are
    shares = []
    for scores in (known, unseen):
        count = len(next(iter(scores.values())))
        refused = int((scores[stored] < refusal.threshold).sum()) if refusal else None
        shares.append(Share(count=count, refused=refused))
    bad = len(others.reasons)
    notes = [f"{bad} unknown images left out: they cannot be decoded"] if bad else []
    if not refusal:
        notes.append(
            f"{setting.source.reference} has no threshold, so it refuses no image: "
            "rezoo calibrate sets one"
        )
    return UnknownImages(
        unknown=others.what,
        score=stored,
        threshold=refusal.threshold if refusal else None,
        separations=tuple(
            Separation(
                score=name,
                auroc=auroc(known[name], unseen[name]),
                interval=auroc_interval(known[name], unseen[name]),
            )
            for name in names
        ),
        known=shares[0],
        others=shares[1],
        notes=tuple(notes),
    )


def opened_unknown(reference: DatasetReference | Dataset, options: DataOptions) -> Faults:
    """Return all images of a dataset; a folder needs no class folders."""
    if not isinstance(reference, Dataset):
        spec = dataset_spec(reference)
        kind, _, path = spec.name.partition(":")
        if kind == "folder":
            root = expanded(path)
            paths = [os.path.relpath(file, root) for file in find_images([root])]
            source = FileSource(Path(root), paths, np.zeros(len(paths), np.int32))
            return Faults(Examples(source), options, spec.name, ("unknown",))
    data = load_dataset(reference, options)
    return Faults(data.examples("all"), options, data.reference, data.class_names)


def _warn_of_training_images(setting: Setting, others: Faults) -> None:
    train = setting.data.splits.parts.get("train")
    again = same_content(others.examples, train) if train else []
    if again:
        named = ", ".join(others.examples.key(index) for index in again[:_NAMED])
        more = ", …" if len(again) > _NAMED else ""
        text = (
            f"{len(again)} of {len(others.examples)} unknown images are in the training set, by "
            f"their content ({named}{more}): they are known, and the figures are too low"
        )
        warnings.warn(DataWarning(text), stacklevel=3)
