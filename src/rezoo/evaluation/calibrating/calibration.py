"""`calibrate`: what a network's confidence means, measured on the validation split.

One temperature T divides all logits before the softmax (Guo et al. 2017, arXiv:1706.04599, section
4.2) or, for multi-label networks, before the sigmoid. T has the smallest negative log-likelihood
on the validation split. Predicted classes do not change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.artifacts.calibrated import check_unchanged, write_calibration
from rezoo.confidence import COLDEST, HOTTEST, SIMILARITY, Calibration
from rezoo.data.dataset_references import DatasetReference
from rezoo.data.datasets import DataOptions, Dataset
from rezoo.data.splits import epoch_order
from rezoo.errors import SpecError
from rezoo.evaluation.calibrating.features import Answers, answers, forward_with_features
from rezoo.evaluation.calibrating.temperature import fit_temperature, temperature_interval
from rezoo.evaluation.calibrating.unknown import (
    all_scores,
    best_score,
    class_means,
    held_out_auroc,
    threshold_for,
)
from rezoo.evaluation.predictions import cross_entropy
from rezoo.evaluation.recording import compare_with_run
from rezoo.evaluation.scoring.intervals import Interval, wilson_interval
from rezoo.evaluation.setting import Setting, setting_of
from rezoo.sources.references import Reference, Source, resolve_weights
from rezoo.utils.live_line import Progress, counted
from rezoo.utils.lock import locked

WIDEST = 4.0  # upper end of the temperature's interval, relative to the lower
_MOST_TRAINED_ON = 10_000  # training images whose features make the class means


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The result of `calibrate`.

    Attributes:
        model: Reference of the network.
        dataset: Reference of the dataset.
        calibration: What was measured and written to the folder.
        loss_before: Mean cross-entropy of the validation split, natural logarithm.
        loss_after: The same with the temperature, which was chosen by it.
        notes: Remarks: rules of the splits, images left out.
        class_means: Float32 `(K, D)`, also if the energy was chosen; None without training images.
    """

    model: str
    dataset: str
    calibration: Calibration
    loss_before: float
    loss_after: float
    notes: tuple[str, ...]
    class_means: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": "val",
            **self.calibration.to_json(),
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
            "notes": list(self.notes),
        }


def calibrate(
    run: Reference,
    dataset: DatasetReference | Dataset | None = None,
    *,
    false_alarms: float = 0.05,
    batch_size: int = 32,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Progress = True,
) -> Calibrated:
    """Measure temperature and threshold on the validation split, and write them to the run.

    `config.json` gets them, and `predict`, `push`, `load` and exports that give probabilities use
    them. If the similarity is the better score, `calibration.safetensors` gets the class means.
    The test split is not used.

    Args:
        run: A folder with weights, or the result of `train`.
        dataset: A dataset reference or an opened dataset with a validation split of the same
            classes. If None, the dataset that the run was trained on.
        false_alarms: Fraction of the validation images that are refused as unknown.
        batch_size: Images per batch; it does not change the result.
        options: Handling of images that cannot be read, and images to leave out.
        progress: Called with the number of images done and the total; by default they
            are shown on a terminal and in a notebook. None for silence.

    Raises:
        SpecError: The network is not in a local folder, an argument is out of bounds, no dataset
            is recorded, or the validation split is too small or has a single class.
        NotFoundError: The dataset has no validation split.
        RunLockedError: Another process changes the folder, such as a training.
        IntegrityError: The folder's `config.json` differs from its checksum.
        DivergedError: Logits are not finite.
    """
    if not 0 < false_alarms <= 0.5:
        raise SpecError(f"false_alarms: {false_alarms}; allowed is above 0, up to 0.5")
    source = resolve_weights(run)
    folder = own_folder(source)
    # an earlier calibration, perhaps damaged, is replaced
    source = replace(source, config=replace(source.config, calibration=None))
    with locked(folder, what="calibrating"):
        check_unchanged(folder)
        setting = setting_of(source, dataset, split="val", batch_size=batch_size, options=options)
        with setting.computing(None, None):
            val, means = _measured(setting, options, counted(progress, "calibrating"))
        truth = _truth(setting, val)
        _check_classes(setting, truth)
        temperature, interval = _temperature(setting, val.logits, truth)
        calibration = Calibration(
            temperature=temperature,
            temperature_interval=interval,
            images=len(truth),
            **_threshold(val, truth, temperature, means, false_alarms),
        )
        kept = means if calibration.score == SIMILARITY else None
        write_calibration(folder, calibration, kept)
    own, compared = compare_with_run(source, setting.data, "val")
    others = () if own or not compared else ("these are not the run's own validation images",)
    return Calibrated(
        model=source.reference,
        dataset=setting.data.reference,
        calibration=calibration,
        loss_before=float(cross_entropy(val.logits, truth).mean()),
        loss_after=float(cross_entropy(val.logits, truth, temperature).mean()),
        notes=(*setting.notes, *others),
        class_means=means,
    )


def own_folder(source: Source) -> Path:
    """Return the folder of a source that may be written to, or raise `SpecError`."""
    if source.folder is None or source.address is not None:
        raise SpecError(
            f"{source.reference} is not in a local folder: its calibration cannot be kept",
            hint="calibrate a run of rezoo train, or download the repository to a folder.",
        )
    return source.folder


def _measured(
    setting: Setting, options: DataOptions, progress: Callable[[int, int], None]
) -> tuple[Answers, np.ndarray | None]:
    """Return the answers on the validation split, and class means of training images, if any."""
    forward = forward_with_features(setting.network(), setting.preprocessing)
    train = None
    if not setting.task.multi_label and "train" in setting.data.splits.parts:
        train = setting_of(
            setting.source,
            setting.data,
            split="train",
            batch_size=setting.batch_size,
            options=options,
        )
    count = len(setting.faults.examples)
    trained_on = min(len(train.faults.examples), _MOST_TRAINED_ON) if train else 0
    total = count + trained_on
    val = answers(forward, setting.batches(), lambda done: progress(done, total))
    if train is None or not val.features.shape[1]:
        return val, None
    order = epoch_order(len(train.faults.examples), seed=0, epoch=0)
    some = np.sort(order[:trained_on])
    found = answers(
        forward,
        train.batches(train.faults.of_some(some)),
        lambda done: progress(count + done, total),
    )
    return val, class_means(found.features, train.classes[found.labels], found.logits.shape[1])


def _truth(setting: Setting, val: Answers) -> np.ndarray:
    """Return the class of each image in the head, int `(N,)`; multi-label: bool `(N, K)`."""
    if not setting.task.multi_label:
        return setting.classes[val.labels]
    truth = np.zeros(val.logits.shape, bool)
    known = setting.classes >= 0
    truth[:, setting.classes[known]] = val.labels[:, known] > 0.5
    return truth


def _check_classes(setting: Setting, truth: np.ndarray) -> None:
    occur = truth.any(0).sum() if truth.ndim == 2 else len(np.unique(truth))
    if occur < (1 if truth.ndim == 2 else 2):
        raise SpecError(
            f"the {len(truth)} validation images of {setting.data.reference} have "
            f"{'one class' if occur else 'no class at all'}: nothing can be calibrated on them",
            hint="name a dataset whose validation split has all classes: --dataset.",
        )


def _temperature(setting: Setting, logits: np.ndarray, truth: np.ndarray) -> tuple[float, Interval]:
    """Return the temperature and its interval; refuse a split that does not determine it."""
    temperature = fit_temperature(logits, truth)
    low, high = temperature_interval(logits, truth, temperature)
    if high <= WIDEST * low and COLDEST * 1.01 < temperature < HOTTEST / 1.01:
        return temperature, (low, high)
    count = len(truth)
    enough = math.ceil(count * (math.log(high / low) / math.log(WIDEST)) ** 2)
    what = "the validation split is too small to calibrate"
    needed = f"about {enough:,} images would do" if enough > count else "more are needed"
    if truth.ndim == 1 and (logits.argmax(1) == truth).all():
        needed = "all of them are right, and only mistakes limit the confidence"
    raise SpecError(
        f"{what}: with its {count} images, the 95 % interval of the temperature is "
        f"{low:.2g} to {high:.2g}; {needed}",
        hint=f"hold out more images of {setting.data.reference}, or name a dataset with a larger "
        "validation split: --dataset.",
    )


def _threshold(
    val: Answers,
    truth: np.ndarray,
    temperature: float,
    means: np.ndarray | None,
    false_alarms: float,
) -> dict[str, Any]:
    """Return score, threshold and how they were chosen; nothing for multi-label data.

    An image without any of the classes is no unknown one there: all probabilities are low.
    """
    if truth.ndim == 2:
        return {}
    count = len(truth)
    if count * false_alarms < 1:
        raise SpecError(
            f"false_alarms: {false_alarms:g} of the {count} validation images is less than one",
            hint=f"allow at least {1 / count:.2g}: --false-alarms.",
        )
    scores = partial(all_scores, temperature=temperature)
    held_out = held_out_auroc(scores, val.logits, val.features, truth, means)
    score = best_score(held_out)
    values = scores(val.logits, val.features, means=means)[score]
    threshold = threshold_for(values, false_alarms)
    refused = int((values < threshold).sum())
    return {
        "score": score,
        "threshold": threshold,
        "false_alarms": refused / count,
        "false_alarms_interval": wilson_interval(refused, count),
        "held_out_auroc": held_out,
    }
