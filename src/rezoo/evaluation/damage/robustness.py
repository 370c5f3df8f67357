"""`measure_corruptions`: the scores of a network on corrupted images of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from rezoo.data.datasets import DataOptions
from rezoo.evaluation.damage.corrupted_batches import CorruptedBatches
from rezoo.evaluation.damage.corruptions import (
    ALL,
    KINDS,
    SETS,
    SEVERITIES,
    nearest_set,
    select_kinds,
)
from rezoo.evaluation.forward import Forward, compiled_forward, network_of
from rezoo.evaluation.predictions import collect
from rezoo.evaluation.scoring.metrics import AnyScores, scored
from rezoo.evaluation.setting import AnyData, setting_of
from rezoo.sources.any_model import AnyModel
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL, Figure
from rezoo.utils.figures import Chart, Line, sheet
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.names import printable

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """The scores on images with one kind of corruption.

    Attributes:
        name: The kind.
        values: Score at each severity from 1 to 5.
        intervals: 95 % interval of each.
        drop: Score on unchanged images, minus the mean over the severities.
    """

    name: str
    values: tuple[float, ...]
    intervals: tuple[Interval, ...]
    drop: float

    @property
    def mean(self) -> float:
        """Mean over the severities."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The result of `measure_corruptions`.

    Attributes:
        model, dataset: References of the network and of the dataset.
        split: Name of the split.
        count: Number of images, each of which is measured at all kinds and severities.
        figure: The score: top-1, or mean average precision for multi-label data.
        parameters: Name of the set of parameters, one of `corruptions.SETS`.
        seed: Of the random kinds.
        clean: Score on unchanged images.
        clean_interval: 95 % interval of it.
        kinds: Scores of each kind.
    """

    model: str
    dataset: str
    split: str
    count: int
    figure: Figure
    parameters: str
    seed: int
    clean: float
    clean_interval: Interval
    kinds: tuple[Corrupted, ...]

    @property
    def mean(self) -> float:
        """Mean over kinds and severities: the mean corruption accuracy."""
        return sum(kind.mean for kind in self.kinds) / len(self.kinds)

    @property
    def drop(self) -> float:
        """Mean drop: the score on unchanged images, minus `mean`."""
        return self.clean - self.mean

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of a table in percent: each kind, severities 1 to 5, mean and drop."""
        return [
            {
                "corruption": kind.name,
                **{
                    str(severity): f"{value:.1%}"
                    for severity, value in zip(SEVERITIES, kind.values, strict=True)
                },
                "mean": f"{kind.mean:.1%}",
                "drop": f"{100 * kind.drop:.1f} pt",
            }
            for kind in self.kinds
        ]

    def summary(self) -> str:
        """Return the means, how wide the intervals are, and the parameters, as a line."""
        widest = max(high - low for kind in self.kinds for low, high in kind.intervals) / 2
        kinds = "corruption" if len(self.kinds) == 1 else f"{len(self.kinds)} corruptions"
        return (
            f"{self.figure.name} at severities 1 to 5; unchanged {self.clean:.1%}, mean of {kinds} "
            f"{self.mean:.1%}, drop {100 * self.drop:.1f} pt; 95 % intervals at most "
            f"±{100 * widest:.1f} pt; parameters of {self.parameters}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "count": self.count,
            "figure": self.figure.key,
            "parameters": self.parameters,
            "seed": self.seed,
            "clean": self.clean,
            "clean_interval": list(self.clean_interval),
            "mean": self.mean,
            "drop": self.drop,
            "kinds": [
                {
                    "name": kind.name,
                    "values": list(kind.values),
                    "intervals": [list(interval) for interval in kind.intervals],
                    "mean": kind.mean,
                    "drop": kind.drop,
                }
                for kind in self.kinds
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Robustness:
        """Return the result of which `to_dict` returned the values."""
        same = ("model", "dataset", "split", "count", "parameters", "seed", "clean")
        figures = {task.chosen_by.key: task.chosen_by for task in (SINGLE_LABEL, MULTI_LABEL)}
        return cls(
            **{name: content[name] for name in same},
            figure=figures[content["figure"]],
            clean_interval=tuple(content["clean_interval"]),
            kinds=tuple(
                Corrupted(
                    name=kind["name"],
                    values=tuple(kind["values"]),
                    intervals=tuple(map(tuple, kind["intervals"])),
                    drop=kind["drop"],
                )
                for kind in content["kinds"]
            ),
        )

    def charts(self) -> list[Chart]:
        """Return a chart for each group of kinds: the scores over the severity."""
        groups = dict.fromkeys(KINDS[kind.name].group for kind in self.kinds)
        return [
            Chart(
                f"{self.figure.name}, {group}",
                tuple(
                    Line(tuple(enumerate((self.clean, *kind.values))), kind.name.split("_")[0])
                    for kind in self.kinds
                    if KINDS[kind.name].group == group
                ),
                x_title="severity; 0: unchanged",
                percent=True,
            )
            for group in groups
        ]

    def svg(self) -> str:
        """Return the charts as an SVG file."""
        title = f"{self.model} on {self.dataset}, {self.split} split"
        return sheet(printable(title), self.charts())


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
    progress: Callable[[int, int], None] = lambda done, total: None,
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
        progress: Called with the number of images done and the total, over all kinds.

    Raises:
        UnknownNameError: There is no such kind; the hint has similar names.
        SpecError: A kind needs colours and the images are grey. Otherwise as `evaluate`.
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
    chosen = select_kinds(corruptions, channels=setting.preprocessing.channels)
    figure = setting.task.chosen_by
    with setting.computing(devices, hosts) as team, ThreadPoolExecutor() as pool:
        forward = compiled_forward(network_of(model, setting.source), setting.preprocessing)
        warn_of_gpu_faults()
        images = CorruptedBatches(setting, team, seed, pool)
        found = _all_scores(images, forward, chosen, progress)
    clean, interval = _figure(found["", 0], figure)
    return Robustness(
        model=setting.source.reference,
        dataset=setting.data.reference,
        split=split,
        count=found["", 0].count,
        figure=figure,
        parameters=SETS[nearest_set(setting.preprocessing.size)],
        seed=seed,
        clean=clean,
        clean_interval=interval,
        kinds=tuple(_corrupted(kind, found, figure, clean) for kind in chosen),
    )


def _all_scores(
    images: CorruptedBatches,
    forward: Forward,
    kinds: Sequence[str],
    progress: Callable[[int, int], None],
) -> dict[tuple[str, int], AnyScores]:
    """Return the scores of each kind and severity; `("", 0)` is for unchanged images."""
    setting, found = images.setting, {}
    passes = [("", 0), *((kind, severity) for kind in kinds for severity in SEVERITIES)]
    total = len(passes) * len(images)
    for number, (kind, severity) in enumerate(passes):
        predictions = collect(
            setting.task,
            forward,
            images.of(kind, severity),
            classes=setting.classes,
            progress=partial(_report, progress, total, number * len(images)),
            gather=images.team.gather,
        )
        found[kind, severity] = scored(predictions)
        if number == 0:
            images.exchange_faults()
    return found


def _report(progress: Callable[[int, int], None], total: int, before: int, done: int) -> None:
    progress(before + done, total)


def _figure(scores: AnyScores, figure: Figure) -> tuple[float, Interval]:
    content = scores.to_dict()
    low, high = content[f"{figure.key}_interval"]
    return content[figure.key], (low, high)


def _corrupted(
    kind: str, found: Mapping[tuple[str, int], AnyScores], figure: Figure, clean: float
) -> Corrupted:
    figures = [_figure(found[kind, severity], figure) for severity in SEVERITIES]
    values, intervals = zip(*figures, strict=True)
    drop = clean - sum(values) / len(values)
    return Corrupted(name=kind, values=values, intervals=intervals, drop=drop)
