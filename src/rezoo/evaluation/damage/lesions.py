"""`measure_lesions`: the accuracy of a network without each of its blocks.

A block of a residual network is replaced by its shortcut: an identity, or the projection alone. The
ReLU after the sum stays. Residual networks lose little by it (Veit et al. 2016, arXiv:1605.06431,
section 4.1). In a plain network, which has no shortcuts, the layers of the block are removed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from rezoo.data.datasets import DataOptions
from rezoo.evaluation.damage.residual_blocks import Parts, cut_at_blocks
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.logits import Forward, logits_and_labels, require_finite
from rezoo.evaluation.scoring.intervals import wilson_interval
from rezoo.evaluation.setting import AnyData, Setting, setting_of
from rezoo.models.naming import numbers
from rezoo.sources.any_model import AnyModel
from rezoo.specs import Preprocessing
from rezoo.utils.bars import Bar, BarChart, draw_bars
from rezoo.utils.figures import stack
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.live_line import Progress, counted
from rezoo.utils.names import printable

_GROUPS = {
    "identity": "identity",
    "padding": "padding",
    "projection": "projection",
    "none": "no shortcut",
}


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A block that was replaced by its shortcut.

    Attributes:
        block: Name of the block, which its layers begin with.
        shortcut: `"identity"`, `"padding"`, `"projection"` or `"none"`; see
            `residual_blocks.Block`.
        accuracy: Top-1 without the block; None if it cannot be removed, because there is no
            shortcut and its output has another shape than its input.
        interval: 95 % Wilson interval of it.
    """

    block: str
    shortcut: str
    accuracy: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """The result of `measure_lesions`.

    Attributes:
        model: Reference of the network.
        dataset: Reference of the dataset.
        split: Name of the split.
        count: Number of images.
        intact: Top-1 of the whole network.
        intact_interval: 95 % Wilson interval of it.
        blocks: In the order of the network.
        notes: Remarks: rules of the splits, images left out.
    """

    model: str
    dataset: str
    split: str
    count: int
    intact: float
    intact_interval: tuple[float, float]
    blocks: tuple[Lesion, ...]
    notes: tuple[str, ...] = ()

    def drop(self, block: Lesion) -> float | None:
        """Return by how much the accuracy is lower without a block."""
        return None if block.accuracy is None else self.intact - block.accuracy

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of a table in percent."""
        rows = []
        for block in self.blocks:
            row = {"block": block.block, "shortcut": block.shortcut}
            drop = self.drop(block)
            if block.accuracy is None or block.interval is None or drop is None:
                row |= {"top-1 without": "cannot be removed", "95 % interval": "", "drop": ""}
            else:
                low, high = block.interval
                row |= {
                    "top-1 without": f"{block.accuracy:.2%}",
                    "95 % interval": f"{low:.2%} to {high:.2%}",
                    "drop": f"{100 * drop:.1f} pt",
                }
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "count": self.count,
            "top1": self.intact,
            "top1_interval": list(self.intact_interval),
            "blocks": [
                {
                    "name": block.block,
                    "shortcut": block.shortcut,
                    "top1": block.accuracy,
                    "top1_interval": list(block.interval) if block.interval else None,
                    "drop": self.drop(block),
                }
                for block in self.blocks
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Lesions:
        """Return the result of which `to_dict` returned the values."""
        return cls(
            **{name: content[name] for name in ("model", "dataset", "split", "count")},
            intact=content["top1"],
            intact_interval=tuple(content["top1_interval"]),
            blocks=tuple(
                Lesion(
                    block=block["name"],
                    shortcut=block["shortcut"],
                    accuracy=block["top1"],
                    interval=block["top1_interval"] and tuple(block["top1_interval"]),
                )
                for block in content["blocks"]
            ),
            notes=tuple(content["notes"]),
        )

    def chart(self) -> BarChart:
        """Return bars of the accuracy without each block."""
        return BarChart(
            printable(f"{self.model.rsplit('/')[-1]}: top-1 without one block"),
            tuple(
                Bar(numbers(b.block), b.accuracy, b.interval, _GROUPS[b.shortcut])
                for b in self.blocks
            ),
            tuple(_GROUPS.values()),
            line=self.intact,
            line_name="whole network",
            x_title="stage and block",
        )

    def svg(self) -> str:
        """Return the chart as an SVG file."""
        chart, title = self.chart(), f"{self.model} on {self.dataset}, {self.split} split"
        return stack(printable(title), [draw_bars(chart, chart.width)], width=chart.width)


def measure_lesions(
    model: AnyModel,
    dataset: AnyData = None,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Progress = True,
) -> Lesions:
    """Measure a network with each of its blocks replaced by its shortcut.

    For N blocks, it takes as long as evaluating the network about N / 2 times: what comes before
    a block is computed once.

    Args:
        model: A network whose blocks are named as in `rezoo.models.naming`.
        dataset: As for `evaluate`; single-label.
        pretrained: As for `evaluate`, and so are the other arguments.
        split: `"test"`, `"val"`, `"train"` or `"all"`.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: Geometry of the images; that of the weights if None.
        options: Handling of images that cannot be read, and images to leave out.
        progress: Called with the number of images done and the total; by default they
            are shown on a terminal and in a notebook. None for silence.

    Raises:
        IncompatibleError: The network has no such blocks, or it is multi-label.
        DivergedError: The logits of the whole network are not finite.
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
    setting.require_one_label(
        "; lesions are measured as top-1", hint="examine a single-label network."
    )
    with setting.computing(None, None):
        parts = cut_at_blocks(setting.network())
        warn_of_gpu_faults()
        right, count = _count_right(parts, setting, counted(progress, "measuring"))
    intact, *without = right
    lesions, found = [], iter(without)
    for block in parts.blocks:
        lesion = Lesion(block=block.name, shortcut=block.shortcut)
        if block.removable:
            hits = next(found)
            interval = wilson_interval(hits, count)
            lesion = dataclasses.replace(lesion, accuracy=hits / count, interval=interval)
        lesions.append(lesion)
    return Lesions(
        model=setting.source.reference,
        dataset=setting.data.reference,
        split=split,
        count=count,
        intact=intact / count,
        intact_interval=wilson_interval(intact, count),
        blocks=tuple(lesions),
        notes=setting.notes,
    )


def _count_right(
    parts: Parts, setting: Setting, progress: Callable[[int, int], None]
) -> tuple[list[int], int]:
    """Return how many images are right, and of how many.

    The first number is that of the whole network, then one for each removable block.
    """
    total = len(setting.faults.examples)
    right: Any = 0
    count = 0
    for logits, labels in logits_and_labels(
        _all_logits(parts, setting.preprocessing),
        setting.batches(),
        lambda done: progress(done, total),
    ):
        require_finite(logits[0])
        hits = logits.argmax(-1) == setting.classes[labels]  # (networks, B)
        right, count = right + hits.sum(1), count + len(labels)
    return right.tolist(), count


def _all_logits(
    parts: Parts, preprocessing: Preprocessing | None = None
) -> Callable[[Any], np.ndarray]:
    """Return a function from images to the logits of all networks, `(networks, B, K)`.

    The first is the whole network; in each of the others, one block is replaced. For the images
    see `compiled_forward`.
    """
    stem, head = compiled_forward(parts.stem, preprocessing), compiled_forward(parts.head)
    blocks = [
        (
            compiled_forward(block.whole),
            _unchanged if block.without is None else _forward(block.without),
            block.removable,
        )
        for block in parts.blocks
    ]

    def run(images: Any) -> np.ndarray:
        states = [stem(images)]
        for whole, without, removable in blocks:
            new = [without(states[0])] if removable else []
            states = [whole(np.asarray(x, np.float32)) for x in states] + new
        return np.stack([head(np.asarray(x, np.float32)) for x in states])

    return run


def _forward(part: keras.Model) -> Forward:
    """Return the function of a part of a network; one without variables is not compiled."""
    if part.weights:
        return compiled_forward(part)
    return lambda features: keras.ops.convert_to_numpy(part(features, training=False))


def _unchanged(features: np.ndarray) -> np.ndarray:
    return features
