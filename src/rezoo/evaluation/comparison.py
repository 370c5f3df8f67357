"""Whether one network is better than another on the same images, beyond chance.

Both networks answer the same images, so only those that one has right and the other wrong count:
a paired test finds smaller differences than two intervals side by side.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.errors import NotFoundError
from rezoo.evaluation.alignment import Aligned, align
from rezoo.evaluation.changes import FLIP_COLUMNS, ClassChange, Flip, class_changes, flips
from rezoo.evaluation.metrics import wilson_interval
from rezoo.evaluation.multi_label import resampled_map, scores_of
from rezoo.evaluation.paired_tests import (
    LEVEL,
    Interval,
    bootstrap_test,
    holm,
    mcnemar,
    mean_interval,
    paired_interval,
    percentiles,
)
from rezoo.evaluation.predictions import Predictions
from rezoo.tasks import Task, task_of
from rezoo.utils.files import write_bytes

_MCNEMAR, _BOOTSTRAP = "McNemar's exact test", "bootstrap test"


@dataclass(frozen=True, kw_only=True)
class ComparedNetwork:
    """The scores of one of the networks.

    Attributes:
        model: Its name.
        score: Top-1; for multi-label data mean average precision.
        interval: 95 % interval of `score`.
        loss: Mean cross-entropy, natural logarithm.
        preprocessing: Preprocessing of its images, as text; networks may differ in it.
    """

    model: str
    score: float
    interval: Interval
    loss: float
    preprocessing: str


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
            return "no difference claimed"
        return "better" if self.difference > 0 else "worse"

    @property
    def changed(self) -> tuple[ClassChange, ...]:
        """The classes that got better or worse beyond chance, the worst first."""
        found = [change for change in self.classes if change.claimed]
        return tuple(sorted(found, key=lambda c: (c.model - c.baseline) / c.count))


@dataclass(frozen=True, kw_only=True, repr=False)
class NetworkComparison:
    """Networks on the same images; the first is the baseline of all others.

    Attributes:
        dataset: Reference of the dataset.
        split: Name of the split.
        count: Number of images.
        multi_label: Whether an image has any number of the classes.
        networks: The networks, the baseline first.
        pairs: The difference of each other network from the baseline.
        notes: Remarks.
    """

    dataset: str
    split: str
    count: int
    multi_label: bool
    networks: tuple[ComparedNetwork, ...]
    pairs: tuple[PairedDifference, ...]
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """Task of the networks."""
        return task_of(self.multi_label)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Whether each network is better than the baseline, in words."""
        return tuple(self._verdict(pair) for pair in self.pairs)

    @property
    def summary(self) -> str:
        """The verdict in one sentence; of several, how many networks differ."""
        if len(self.pairs) == 1:
            return self.verdicts[0]
        words = [pair.word for pair in self.pairs]
        return (
            f"Of {len(words)} networks, {words.count('better')} are better and "
            f"{words.count('worse')} worse than {self.networks[0].model} by Holm's correction for "
            f"{len(words)} pairs."
        )

    def _verdict(self, pair: PairedDifference) -> str:
        name, low, high = self.task.chosen_by.name, *(100 * x for x in pair.interval)
        text = f"{pair.test}: {p_in_words(pair.p)}"
        if len(self.pairs) > 1:
            text += f", after Holm's correction for {len(self.pairs)} pairs "
            text += p_in_words(pair.p_adjusted)
        points = 100 * pair.difference
        if not pair.claimed:
            return (
                f"No difference between {pair.model} and {pair.baseline} can be claimed: "
                f"{points:+.2f} points of {name} (95 % interval {low:+.2f} to {high:+.2f}; {text})."
            )
        low, high = (low, high) if points > 0 else (-high, -low)
        return (
            f"{pair.model} is {pair.word} than {pair.baseline} by {abs(points):.2f} points of "
            f"{name} (95 % interval {low:.2f} to {high:.2f}; {text})."
        )

    def __repr__(self) -> str:
        return f"<NetworkComparison on {self.dataset}, {self.split}: {self.summary}>"

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types; `claimed` is added to pairs and classes."""
        content = dataclasses.asdict(self)
        for pair, values in zip(self.pairs, content["pairs"], strict=True):
            values["claimed"] = pair.claimed
            for change, of_class in zip(pair.classes, values["classes"], strict=True):
                of_class["claimed"] = change.claimed
        return {**content, "figure": self.task.chosen_by.key}

    def write_flips(self, path: Path) -> None:
        """Write the images that flipped as CSV, one row for each pair of networks and image.

        Names of several classes are separated by a semicolon.

        Raises:
            ResourceError: The disk is full, or the folder cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["baseline", "model", *FLIP_COLUMNS])
        for pair in self.pairs:
            table.writerows([pair.baseline, pair.model, *flip.cells] for flip in pair.flips)
        write_bytes(path, text.getvalue().encode())


def p_in_words(p: float) -> str:
    """Return a p-value as text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def compare_predictions(
    predictions: Sequence[Predictions], names: Sequence[str] = (), notes: Sequence[str] = ()
) -> NetworkComparison:
    """Compare networks with the first of them, on the same images.

    Args:
        predictions: Of two or more networks, for the same images in any order.
        names: Of the networks; by default the fact `model`.
        notes: Remarks for the result.

    Raises:
        SpecError: There are fewer than two.
        IncompatibleError: They are not for the same images with the same truth; see `align`.
        NotFoundError: No image of multi-label data has a label.
    """
    aligned = align(predictions, names)
    if not len(aligned.truth):
        raise NotFoundError("the split has no images", hint="choose another with --split.")
    networks, resampled = _networks(aligned)
    pairs = [_pair(aligned, networks, resampled, i) for i in range(1, len(networks))]
    adjusted = holm([pair.p for pair in pairs])
    facts = aligned.predictions[0].facts
    return NetworkComparison(
        dataset=facts.get("dataset", ""),
        split=facts.get("split", ""),
        count=len(aligned.truth),
        multi_label=aligned.multi_label,
        networks=tuple(networks),
        pairs=tuple(
            dataclasses.replace(pair, p_adjusted=p) for pair, p in zip(pairs, adjusted, strict=True)
        ),
        notes=tuple(notes),
    )


def _networks(aligned: Aligned) -> tuple[list[ComparedNetwork], list[np.ndarray]]:
    """Return the scores of all networks and, for multi-label data, the resampled ones."""
    found, resampled = [], []
    for i, predictions in enumerate(aligned.predictions):
        if aligned.multi_label:
            score = scores_of(predictions.logits, aligned.truth).map
            resampled.append(resampled_map(predictions.logits, aligned.truth))
            interval = percentiles(resampled[-1])
        else:
            right, count = int(aligned.right(i).sum()), len(aligned.truth)
            score, interval = right / count, wilson_interval(right, count)
        network = ComparedNetwork(
            model=aligned.names[i],
            score=score,
            interval=interval,
            loss=float(predictions.losses.mean(dtype=np.float64)),
            preprocessing=predictions.facts.get("preprocessing", ""),
        )
        found.append(network)
    return found, resampled


def _pair(
    aligned: Aligned,
    networks: Sequence[ComparedNetwork],
    resampled: Sequence[np.ndarray],
    other: int,
) -> PairedDifference:
    """Compare one network with the first; the correction for several pairs follows."""
    ours, theirs = aligned.right(0), aligned.right(other)
    lost, won = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    same = aligned.answers[0] == aligned.answers[other]
    if aligned.multi_label:
        differences = resampled[other] - resampled[0]
        test, p, interval = _BOOTSTRAP, bootstrap_test(differences), percentiles(differences)
    else:
        test, p = _MCNEMAR, mcnemar(lost, won)
        interval = paired_interval(lost, won, len(ours))
    first, second = (aligned.predictions[i].losses.astype(np.float64) for i in (0, other))
    return PairedDifference(
        baseline=aligned.names[0],
        model=aligned.names[other],
        difference=networks[other].score - networks[0].score,
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
