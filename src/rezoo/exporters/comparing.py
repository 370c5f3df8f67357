"""How far an export is from its source: logits, answers, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rezoo.evaluation.metrics import Z_95, softmax, wilson_interval
from rezoo.exporters.runner import Runner
from rezoo.exporters.samples import Samples

# What an export may differ from its source by. Of the largest value:
RELATIVE = {"none": 1e-4, "float16": 1e-2}
RAW_RELATIVE = 5e-3  # at least: other resizes round a grey level here and there otherwise
# int8 and dynamic: the part of the answers that must agree, and of the accuracy that may go,
# both where more than chance says so
AGREEMENT, DROP = 0.95, 0.005
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Top-1 on the same labelled images.

    Attributes:
        count: Images.
        before: Of the source, 0 to 1.
        before_interval: 95 % Wilson interval.
        after: Of the export.
        after_interval: Likewise.
        drop: `before - after`.
        drop_interval: 95 % interval of the paired difference (McNemar's, normal).
    """

    count: int
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    drop: float
    drop_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An export beside its source.

    Attributes:
        what: The images in words.
        count: How many.
        max_abs: Largest difference of an output.
        relative: The same, as a part of the source's largest output.
        rms_relative: Root mean square of the differences, as a part of that of the outputs.
        agreement: Part of the images with the same first answer.
        agreement_interval: 95 % Wilson interval.
        accuracy: Where there are labels.
        tolerance: What was allowed, in words.
        holds: Whether it is within that.
    """

    what: str
    count: int
    max_abs: float
    relative: float
    rms_relative: float
    agreement: float
    agreement_interval: tuple[float, float]
    accuracy: Accuracy | None
    tolerance: str
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def outputs_of(runner: Runner, samples: Samples) -> np.ndarray:
    """Return what an export gives for all samples, `(N, K)` float32."""
    if runner.input == "raw":
        return np.concatenate([runner(picture[None]) for picture in samples.pictures])
    return in_batches(runner, samples.inputs, runner.batch or _BATCH)


def in_batches(
    run: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, size: int = _BATCH
) -> np.ndarray:
    """Run a network over all inputs."""
    return np.concatenate([run(inputs[i : i + size]) for i in range(0, len(inputs), size)])


def as_output(logits: np.ndarray, function: str) -> np.ndarray:
    """Return logits, or what follows them in an export that gives probabilities."""
    if function == "softmax":
        return softmax(logits)
    return 1 / (1 + np.exp(-logits.astype(np.float64))) if function else logits


def compare(
    wanted: np.ndarray,
    found: np.ndarray,
    samples: Samples,
    *,
    quantize: str,
    raw: bool = False,
    tolerance: float | None = None,
) -> Comparison:
    """Compare outputs `(N, K)`.

    Args:
        wanted: Of the source.
        found: Of the export.
        samples: What they are of.
        quantize: Decides which tolerance holds.
        raw: Whether the export prepares images itself.
        tolerance: The largest relative difference, in place of that.
    """
    difference = np.abs(found.astype(np.float64) - wanted)
    most = float(np.abs(wanted).max()) or 1.0
    same = int((found.argmax(-1) == wanted.argmax(-1)).sum())
    largest = float(difference.max()) if np.isfinite(difference).all() else math.inf
    relative = largest / most
    interval = wilson_interval(same, len(wanted))
    accuracy = _accuracy(wanted, found, samples.labels) if len(samples.labels) else None
    limit = RELATIVE.get(quantize)
    if limit is not None and raw:
        limit = max(limit, RAW_RELATIVE)
    limit = limit if tolerance is None else tolerance
    if limit is not None:
        holds, text = relative <= limit, f"{limit:g} of the largest output"
    else:
        holds, text = _quantized_holds(interval, accuracy)
    return Comparison(
        what=samples.what,
        count=len(wanted),
        max_abs=largest,
        relative=relative,
        rms_relative=float(
            np.sqrt((difference**2).mean() / (wanted.astype(np.float64) ** 2).mean())
        ),
        agreement=same / len(wanted),
        agreement_interval=interval,
        accuracy=accuracy,
        tolerance=text,
        holds=holds and math.isfinite(largest),
    )


def _accuracy(wanted: np.ndarray, found: np.ndarray, labels: np.ndarray) -> Accuracy:
    count = len(labels)
    before = wanted[-count:].argmax(-1) == labels
    after = found[-count:].argmax(-1) == labels
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    drop = (lost - won) / count
    spread = Z_95 * math.sqrt(max(lost + won - (lost - won) ** 2 / count, 0)) / count
    return Accuracy(
        count=count,
        before=float(before.mean()),
        before_interval=wilson_interval(int(before.sum()), count),
        after=float(after.mean()),
        after_interval=wilson_interval(int(after.sum()), count),
        drop=drop,
        drop_interval=(drop - spread, drop + spread),
    )


def _quantized_holds(agreement: tuple[float, float], accuracy: Accuracy | None) -> tuple[bool, str]:
    if accuracy is not None:
        text = f"{100 * DROP:g} points of top-1, beyond chance"
        return accuracy.drop <= DROP or accuracy.drop_interval[0] <= DROP, text
    return agreement[1] >= AGREEMENT, f"{100 * AGREEMENT:g} % same answers, beyond chance"
