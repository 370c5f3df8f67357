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
from rezoo.evaluation.pairing.alignment import Aligned, align
from rezoo.evaluation.pairing.changes import FLIP_COLUMNS
from rezoo.evaluation.pairing.paired_tests import holm
from rezoo.evaluation.pairing.pairs import PairedDifference, paired_difference
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.scoring.intervals import Interval, wilson_interval
from rezoo.evaluation.scoring.multi_label import scores_of
from rezoo.tasks import Task, task_of
from rezoo.utils.files import write_bytes


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
        """The verdict in one sentence; of several networks, how many differ."""
        if len(self.pairs) == 1:
            return self.verdicts[0]
        words = [pair.word for pair in self.pairs]
        return (
            f"Against {self.networks[0].model}: {words.count('better')} better, "
            f"{words.count('worse')} worse; for {words.count('not claimed')} no difference can be "
            f"claimed (Holm's correction for {len(words)} pairs)."
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
    pairs = [
        paired_difference(aligned, i, networks[i].score - networks[0].score, resampled)
        for i in range(1, len(networks))
    ]
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
            scores = scores_of(predictions.logits, aligned.truth)
            score, interval = scores.map, scores.map_interval
            resampled.append(scores.resampled_map)
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
