"""`measure_corruptions`: the scores of a network on corrupted images of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from rezoo.data.datasets import DataOptions
from rezoo.errors import IntegrityError
from rezoo.evaluation.damage.corrupted_batches import CorruptedBatches
from rezoo.evaluation.damage.corruptions import ALL, SETS, SEVERITIES, nearest_set, select_kinds
from rezoo.evaluation.damage.drops import Corrupted, Robustness, drop_interval
from rezoo.evaluation.evaluate import evaluate_setting
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.logits import Forward
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.result import Evaluation
from rezoo.evaluation.scoring.intervals import Interval, percentiles
from rezoo.evaluation.scoring.metrics import scored
from rezoo.evaluation.scoring.multi_label import MultiLabelScores
from rezoo.evaluation.setting import AnyData, setting_of
from rezoo.sources.any_model import AnyModel
from rezoo.utils.live_line import Progress, counted


def measure_corruptions(
    model: AnyModel,
    dataset: AnyData = None,
    corruptions: Sequence[str] = (ALL,),
    *,
    seed: int = 0,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    devices: int | str | None = None,
    hosts: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Progress = True,
) -> Robustness:
    """Measure a network on corrupted images of a split, each kind at five severities.

    The images are changed after resize and crop, as in Hendrycks and Dietterich 2019,
    arXiv:1903.12261. See `rezoo.evaluation.damage.corruptions` for kinds and parameters.

    Args:
        model: As for `evaluate`.
        dataset: As for `evaluate`.
        corruptions: Kinds, groups (`"noise"`, `"blur"`, `"colour"`, `"digital"`), or `"all"`.
        seed: Of the random kinds.
        pretrained: As for `evaluate`, and so are the other arguments.
        split: `"test"`, `"val"`, `"train"` or `"all"`.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: Geometry of the images; that of the weights if None.
        devices: Devices of this machine, on JAX.
        hosts: All hosts, and which of them this process is.
        options: Handling of images that cannot be read, and images to leave out.
        progress: Called with the number of images done and the total, over all kinds; by
            default they are shown on a terminal and in a notebook. None for silence.

    Raises:
        UnknownNameError: There is no such kind; the hint has similar names.
        SpecError: A kind needs colours and the images are grey. Otherwise as `evaluate`.
    """
    show = counted(progress, "corrupting")
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
    kinds = select_kinds(corruptions, channels=setting.preprocessing.channels)
    passes = len(kinds) * len(SEVERITIES)  # each as long as the evaluation
    clean = evaluate_setting(
        setting,
        devices=devices,
        hosts=hosts,
        progress=lambda done, total: show(done, total * (1 + passes)),
    )
    return measure_corrupted(
        clean,
        kinds,
        seed=seed,
        devices=devices,
        hosts=hosts,
        progress=lambda done, total: show(total // passes + done, total // passes + total),
    )


def measure_corrupted(
    clean: Evaluation,
    kinds: Sequence[str],
    *,
    seed: int = 0,
    devices: int | str | None = None,
    hosts: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Robustness:
    """Measure a network on corrupted forms of images on which it was evaluated.

    Args:
        clean: The evaluation, without test-time augmentation.
        kinds: Keys of `corruptions.KINDS`.
        seed: As for `measure_corruptions`, and so are the other arguments.
        devices: Devices of this machine, on JAX.
        hosts: All hosts, and which of them this process is.
        progress: Called with the number of images done and the total, over all kinds.

    Raises:
        IntegrityError: Images have become unreadable since. Otherwise as `evaluate`.
    """
    setting = clean.setting
    with setting.computing(devices, hosts) as team, ThreadPoolExecutor() as pool:
        forward = compiled_forward(setting.network(), setting.preprocessing)
        images = CorruptedBatches(setting, team, seed, pool)
        found = _scores(images, forward, kinds, len(clean.predictions), progress)
    before = _score(clean.predictions)
    return Robustness(
        model=clean.model,
        dataset=clean.dataset,
        split=clean.split,
        count=len(clean.predictions),
        figure=setting.task.chosen_by,
        parameters=SETS[nearest_set(setting.preprocessing.size)],
        seed=seed,
        clean=before.value,
        clean_interval=before.interval,
        drop_interval=_drop_interval(before, [score for kind in kinds for score in found[kind]]),
        kinds=tuple(_corrupted(kind, before, found[kind]) for kind in kinds),
    )


@dataclass(frozen=True, eq=False)
class _Score:
    """A score with its interval.

    Attributes:
        value: The score.
        interval: Its 95 % interval.
        each: Whether each image is right, bool `(N,)`; for multi-label data the score of each
            resample, float64 `(R,)`.
    """

    value: float
    interval: Interval
    each: np.ndarray


def _scores(
    images: CorruptedBatches,
    forward: Forward,
    kinds: Sequence[str],
    count: int,
    progress: Callable[[int, int], None],
) -> dict[str, list[_Score]]:
    """Return the scores of each kind at all severities, of `count` images each."""
    setting, found = images.setting, dict[str, list[_Score]]()
    total, done = len(kinds) * len(SEVERITIES) * len(images), 0
    for kind in kinds:
        for severity in SEVERITIES:
            predictions = collect(
                setting.task,
                forward,
                images.of(kind, severity),
                classes=setting.classes,
                progress=partial(_report, progress, total, done),
                gather=images.team.gather,
            )
            done += len(images)
            if len(predictions) != count:
                raise IntegrityError(
                    f"{len(predictions)} of {count} images of {setting.data.reference} can still "
                    "be read",
                    hint="measure again while nothing changes them.",
                )
            found.setdefault(kind, []).append(_score(predictions))
    return found


def _report(progress: Callable[[int, int], None], total: int, before: int, done: int) -> None:
    progress(before + done, total)


def _score(predictions: Predictions) -> _Score:
    scores = scored(predictions)
    if isinstance(scores, MultiLabelScores):
        return _Score(scores.map, scores.map_interval, scores.resampled_map)
    return _Score(scores.top1, scores.top1_interval, predictions.right)


def _drop_interval(clean: _Score, corrupted: Sequence[_Score]) -> Interval:
    each = [score.each for score in corrupted]
    if clean.each.dtype == bool:
        return drop_interval(clean.each, each)
    return percentiles(clean.each - np.mean(each, axis=0))


def _corrupted(kind: str, clean: _Score, scores: Sequence[_Score]) -> Corrupted:
    values = tuple(score.value for score in scores)
    return Corrupted(
        name=kind,
        values=values,
        intervals=tuple(score.interval for score in scores),
        drop=clean.value - sum(values) / len(values),
        drop_interval=_drop_interval(clean, scores),
    )
