"""What changed from one network to another: the classes, and the images that flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rezoo.data.csv_rows import SEPARATOR
from rezoo.evaluation.pairing.alignment import Aligned
from rezoo.evaluation.pairing.paired_tests import LEVEL, holm, mcnemar

FLIP_COLUMNS = (
    *("change", "key", "truth", "baseline_answer", "baseline_confidence"),
    *("model_answer", "model_confidence"),
)
FEWEST = 6  # with fewer flips the exact test is never below `LEVEL`: 2 * 0.5**5 = 0.06


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """What changed on the images of one class; for multi-label data, in its decisions.

    Attributes:
        name: Name of the class.
        count: Number of images of the class; for multi-label data of all images.
        baseline: How many of them the baseline has right.
        model: How many of them the other network has right.
        lost: How many only the baseline has right.
        won: How many only the other network has right.
        p: McNemar's exact test on these two numbers.
        p_adjusted: `p` after Holm's correction for the classes tested; None if the class is not
            tested, since so few flips are never significant.
    """

    name: str
    count: int
    baseline: int
    model: int
    lost: int
    won: int
    p: float
    p_adjusted: float | None = None

    @property
    def claimed(self) -> bool:
        """Whether the class got better or worse beyond chance."""
        return self.p_adjusted is not None and self.p_adjusted < LEVEL


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An image that one network has right and the other wrong.

    Attributes:
        key: Name of the image.
        truth: Name of its class; for multi-label data of its classes.
        baseline: Answer of the baseline.
        baseline_confidence: Its probability; for multi-label data the lowest one of the decisions.
            None if the logits are not known.
        model: Answer of the other network.
        model_confidence: Its probability.
        won: Whether the other network is the one that is right.
    """

    key: str
    truth: str | tuple[str, ...]
    baseline: str | tuple[str, ...]
    baseline_confidence: float | None
    model: str | tuple[str, ...]
    model_confidence: float | None
    won: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The values for `FLIP_COLUMNS`; names of several classes are separated by a semicolon."""
        ours, theirs = map(_probability, (self.baseline_confidence, self.model_confidence))
        truth, before, after = map(_text, (self.truth, self.baseline, self.model))
        return ("won" if self.won else "lost", self.key, truth, before, ours, after, theirs)


def _probability(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _text(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else SEPARATOR.join(names)


def class_changes(aligned: Aligned, other: int) -> tuple[ClassChange, ...]:
    """Return what changed from the first network to another, for each class that has images.

    Classes are tested with McNemar's exact test if they have enough flips to be significant at
    all. Since the test is conditional on the number of flips, only these tests need Holm's
    correction (Tarone 1990).
    """
    right = np.stack([aligned.answers[i] == aligned.truth for i in (0, other)])
    if aligned.multi_label:
        classes = np.flatnonzero(aligned.truth.any(0))
        of_class = [right[:, :, c] for c in classes]
    else:
        classes, counts = np.unique(aligned.truth, return_counts=True)
        order = np.argsort(aligned.truth, kind="stable")
        of_class = np.split(right[:, order], counts.cumsum()[:-1], axis=1)
    lost, won = np.array(
        [(_only(ours, theirs), _only(theirs, ours)) for ours, theirs in of_class]
    ).T
    p = mcnemar(lost, won)
    tested = np.flatnonzero(lost + won >= FEWEST)
    adjusted = dict(zip(tested.tolist(), holm(p[tested].tolist()), strict=True))
    return tuple(
        ClassChange(
            name=aligned.labels[classes[i]],
            count=len(ours),
            baseline=int(ours.sum()),
            model=int(theirs.sum()),
            lost=int(lost[i]),
            won=int(won[i]),
            p=float(p[i]),
            p_adjusted=adjusted.get(i),
        )
        for i, (ours, theirs) in enumerate(of_class)
    )


def _only(ours: np.ndarray, theirs: np.ndarray) -> int:
    return int((ours & ~theirs).sum())


def flips(aligned: Aligned, other: int) -> tuple[Flip, ...]:
    """Return the images that either the first or another network has right."""
    rows = np.flatnonzero(aligned.right(0) != aligned.right(other))
    confidences = [_confidences(aligned, i, rows) for i in (0, other)]
    won = aligned.right(other)
    return tuple(
        Flip(
            key=aligned.keys[row],
            truth=_named(aligned, aligned.truth[row]),
            baseline=_named(aligned, aligned.answers[0][row]),
            baseline_confidence=ours,
            model=_named(aligned, aligned.answers[other][row]),
            model_confidence=theirs,
            won=bool(won[row]),
        )
        for row, ours, theirs in zip(rows, *confidences, strict=True)
    )


def _named(aligned: Aligned, classes: np.ndarray) -> str | tuple[str, ...]:
    """Return the name of a class, or the names of those that are True."""
    if aligned.multi_label:
        return tuple(aligned.labels[i] for i in np.flatnonzero(classes))
    return aligned.labels[int(classes)]


def _confidences(
    aligned: Aligned, network: int, rows: np.ndarray
) -> Sequence[float] | Sequence[None]:
    """Return the probabilities of the answers for some images."""
    some = aligned.predictions[network].at(rows)
    if not some.logits.size:
        return [None] * len(rows)
    found = some.probabilities
    if aligned.multi_label:
        return np.maximum(found, 1 - found).min(1).tolist()
    return found.max(1).tolist()
