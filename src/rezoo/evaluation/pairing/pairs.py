"""The difference of a network from a baseline, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rezoo.evaluation.pairing.alignment import Aligned
from rezoo.evaluation.pairing.changes import ClassChange, Flip, class_changes, flips
from rezoo.evaluation.pairing.paired_tests import (
    LEVEL,
    bootstrap_test,
    mcnemar,
    mean_interval,
    paired_interval,
)
from rezoo.evaluation.scoring.intervals import Interval, percentiles

_MCNEMAR, _BOOTSTRAP = "McNemar's exact test", "bootstrap test"


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The difference between a network and the baseline.

    Attributes:
        baseline: Name of the baseline.
        model: Name of the other network.
        difference: Score of the network minus that of the baseline.
        interval: 95 % interval of `difference`, for this pair alone.
        test: Name of the test.
        p: Its p-value: how often chance alone makes a difference as large, at most.
        p_adjusted: `p` after Holm's correction for all pairs; equal to `p` for one pair.
        lost: Number of images that only the baseline has right.
        won: Number of images that only the network has right.
        same_answers: Number of images with the same answer.
        loss_difference: Mean loss of the network minus that of the baseline.
        loss_interval: Its 95 % interval; None for a single image.
        classes: Each class with images.
        flips: The images that one of the two has right, as many as `lost` and `won` together.
    """

    baseline: str
    model: str
    difference: float
    interval: Interval
    test: str
    p: float
    p_adjusted: float
    lost: int
    won: int
    same_answers: int
    loss_difference: float
    loss_interval: Interval | None
    classes: tuple[ClassChange, ...]
    flips: tuple[Flip, ...]

    @property
    def claimed(self) -> bool:
        """Whether the network is better or worse than the baseline beyond chance."""
        return self.p_adjusted < LEVEL

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        if not self.claimed:
            return "not claimed"
        return "better" if self.difference > 0 else "worse"

    @property
    def changed(self) -> tuple[ClassChange, ...]:
        """The classes that got better or worse beyond chance, the worst first."""
        found = [change for change in self.classes if change.claimed]
        return tuple(sorted(found, key=lambda c: (c.model - c.baseline) / c.count))


def paired_difference(
    aligned: Aligned, other: int, difference: float, resampled: Sequence[np.ndarray]
) -> PairedDifference:
    """Compare one network with the first; the correction for several pairs follows.

    Args:
        aligned: Predictions of all networks.
        other: Number of the network, from 1.
        difference: Its score minus that of the first.
        resampled: For multi-label data the mean average precision of each network on the same
            resamples, float64 `(R,)`; else empty.
    """
    ours, theirs = aligned.right(0), aligned.right(other)
    lost, won = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    same = aligned.answers[0] == aligned.answers[other]
    if aligned.multi_label:
        differences = resampled[other] - resampled[0]
        test, p, interval = _BOOTSTRAP, bootstrap_test(differences), percentiles(differences)
    else:
        test, p = _MCNEMAR, float(mcnemar(lost, won))
        interval = paired_interval(lost, won, len(ours))
    first, second = (aligned.predictions[i].losses.astype(np.float64) for i in (0, other))
    return PairedDifference(
        baseline=aligned.names[0],
        model=aligned.names[other],
        difference=difference,
        interval=interval,
        test=test,
        p=p,
        p_adjusted=p,
        lost=lost,
        won=won,
        same_answers=int((same.all(1) if aligned.multi_label else same).sum()),
        loss_difference=float((second - first).mean()),
        loss_interval=mean_interval(second - first),
        classes=class_changes(aligned, other),
        flips=flips(aligned, other),
    )
