"""The difference between an export and its source: outputs, predictions and accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rezoo.evaluation.scoring.intervals import Z_95, wilson_interval
from rezoo.exporters.runner import Runner
from rezoo.exporters.samples import Samples

# The largest difference from the source that an export may have, relative to the largest output.
RELATIVE = {"none": 1e-4, "float16": 1e-2}
RAW_RELATIVE = {"none": 5e-3, "float16": 1e-2}  # another resize rounds some grey levels otherwise
# For int8 and dynamic: the fraction of equal predictions, and the drop of top-1. An export fails
# if the difference from these is more than chance explains.
AGREEMENT, DROP = 0.95, 0.005
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Top-1 on the same labelled images.

    Attributes:
        count: Number of images.
        before: Top-1 of the source, 0 to 1.
        before_interval: Its 95 % Wilson interval.
        after: Top-1 of the export.
        after_interval: Its 95 % Wilson interval.
        drop: `before - after`.
        drop_interval: 95 % interval of the paired difference (Agresti and Min 2005). It has a width
            even if no prediction changes.
    """

    count: int
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    drop: float
    drop_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """The images that an export and its source call unknown.

    Attributes:
        before: Number of images that the source calls unknown.
        after: Number of images that the export calls unknown.
        agreement: Fraction of the images of which both say the same.
        agreement_interval: Its 95 % Wilson interval.
        relative: Largest difference of a score, relative to the largest score of the source.
    """

    before: int
    after: int
    agreement: float
    agreement_interval: tuple[float, float]
    relative: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference between the outputs of an export and those of its source.

    Attributes:
        what: The images in words.
        count: Number of images.
        max_abs: Largest absolute difference of an output.
        relative: `max_abs`, relative to the largest output of the source.
        rms_relative: Root mean square of the differences, relative to that of the outputs.
        agreement: Fraction of the images with the same predicted class.
        agreement_interval: Its 95 % Wilson interval.
        accuracy: Top-1 of both, or None without labels.
        tolerance: The allowed difference in words.
        holds: Whether the difference is within the tolerance; for int8 and dynamic, whether chance
            explains what is beyond.
        proven: Whether it is within the tolerance whatever chance did: whether the images suffice.
        notes: Remarks: how classes were matched, images left out, whether the images are too few.
        refusals: The same for "unknown", if it is an output; the tolerance applies to its scores,
            for int8 and dynamic to its agreement.
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
    proven: bool
    notes: tuple[str, ...] = ()
    refusals: Refusals | None = None

    @property
    def loss(self) -> float:
        """The drop of top-1 or, without labels, the fraction of changed predictions."""
        return self.accuracy.drop if self.accuracy else 1 - self.agreement

    @property
    def keeps_accuracy(self) -> bool:
        """Whether the loss is within `DROP` or `1 - AGREEMENT`, whatever chance explains."""
        if self.refusals and self.refusals.agreement < AGREEMENT:
            return False
        return self.accuracy.drop <= DROP if self.accuracy else self.agreement >= AGREEMENT


def compare(
    run: Runner,
    samples: Samples,
    wanted: np.ndarray,
    *,
    unknown: np.ndarray | None = None,
    tolerance: float | None = None,
) -> Comparison:
    """Compare the outputs of an export with those of its source.

    Args:
        run: The export.
        samples: The images.
        wanted: Outputs of the source, `(N, K)`.
        unknown: Threshold minus score of the source, `(N,)`, if the export has this output.
        tolerance: The largest relative difference; None for that of the export's quantization.
    """
    found, second = both_of(run, samples)
    difference = np.abs(found.astype(np.float64) - wanted)
    same = int((found.argmax(-1) == wanted.argmax(-1)).sum())
    largest = float(difference.max()) if np.isfinite(difference).all() else math.inf
    relative = largest / (float(np.abs(wanted).max()) or 1.0)
    scale = float(np.sqrt((wanted.astype(np.float64) ** 2).mean()))
    interval = wilson_interval(same, len(wanted))
    accuracy = _accuracy(wanted, found, samples.labels) if len(samples.labels) else None
    refusals = None
    if unknown is not None and second is not None:
        threshold = run.metadata["calibration"]["threshold"]
        refusals = _refusals(unknown, second.astype(np.float64), threshold)
    limits = RAW_RELATIVE if run.input == "raw" else RELATIVE
    limit = limits.get(run.metadata["quantization"]) if tolerance is None else tolerance
    notes = samples.notes
    if limit is not None:
        holds = proven = max(relative, refusals.relative if refusals else 0.0) <= limit
        text = f"{limit:g} of the largest output"
    else:
        holds, proven, text, note = _beyond_chance(accuracy, interval, len(wanted))
        notes += () if proven else (note,)
        if refusals:
            low, high = refusals.agreement_interval
            holds, proven = holds and high >= AGREEMENT, proven and low >= AGREEMENT
            text += f', and {100 * AGREEMENT:g} % equal answers about "unknown"'
    return Comparison(
        what=samples.what,
        count=len(wanted),
        max_abs=largest,
        relative=relative,
        rms_relative=float(np.sqrt((difference**2).mean())) / scale,
        agreement=same / len(wanted),
        agreement_interval=interval,
        accuracy=accuracy,
        tolerance=text,
        holds=holds and math.isfinite(largest),
        proven=proven and math.isfinite(largest),
        notes=notes,
        refusals=refusals,
    )


def _refusals(wanted: np.ndarray, found: np.ndarray, threshold: float) -> Refusals:
    same = int(((found > 0) == (wanted > 0)).sum())
    largest = float(np.abs(threshold - wanted).max()) or 1.0
    relative = float(np.abs(found - wanted).max()) / largest
    return Refusals(
        before=int((wanted > 0).sum()),
        after=int((found > 0).sum()),
        agreement=same / len(wanted),
        agreement_interval=wilson_interval(same, len(wanted)),
        relative=relative if math.isfinite(relative) else math.inf,
    )


def _beyond_chance(
    accuracy: Accuracy | None, agreement: tuple[float, float], count: int
) -> tuple[bool, bool, str, str]:
    """Return whether a tolerance may hold, whether it must, the tolerance, and a note if it may."""
    if accuracy:
        low, high = accuracy.drop_interval
        holds, proven = low <= DROP, high <= DROP
        text = f"{100 * DROP:g} points of top-1, beyond chance"
        possible = f"{accuracy.count} images leave a drop of up to {100 * high:.1f} points of top-1"
    else:
        low, high = agreement
        holds, proven = high >= AGREEMENT, low >= AGREEMENT
        text = f"{100 * AGREEMENT:g} % equal predictions, beyond chance"
        possible = f"{count} images leave only {low:.1%} equal predictions"
    note = f"the interval is wide: {possible} possible; --images and --dataset compare on more"
    return holds, proven, text, note


def _accuracy(wanted: np.ndarray, found: np.ndarray, labels: np.ndarray) -> Accuracy:
    count = len(labels)
    before = wanted[-count:].argmax(-1) == labels
    after = found[-count:].argmax(-1) == labels
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    centre, spread = _paired(lost, won, count)
    return Accuracy(
        count=count,
        before=float(before.mean()),
        before_interval=wilson_interval(int(before.sum()), count),
        after=float(after.mean()),
        after_interval=wilson_interval(int(after.sum()), count),
        drop=(lost - won) / count,
        drop_interval=(centre - spread, centre + spread),
    )


def _paired(lost: int, won: int, count: int) -> tuple[float, float]:
    """Return the centre and half the width of the 95 % interval of a paired difference.

    Half an image is added to each of the four outcomes, so that the interval holds for few images
    and without any change, too (Agresti and Min 2005).
    """
    total = count + 2
    difference = (lost - won) / total
    variance = (lost + won + 1) / total - difference**2
    return difference, Z_95 * math.sqrt(variance / total)


def both_of(run: Runner, samples: Samples) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the outputs of an export for all samples, and its second output, if it has one."""
    if run.input == "raw":
        batches = [picture[None] for picture in samples.pictures]
    else:
        batches = in_batches(samples.inputs)
    found, unknown = zip(*map(run.both, batches), strict=True)
    return np.concatenate(found), None if unknown[0] is None else np.concatenate(unknown)


def in_batches(inputs: np.ndarray) -> list[np.ndarray]:
    """Return prepared images in batches of a size that all formats can hold in memory."""
    return [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
