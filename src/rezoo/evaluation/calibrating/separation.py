"""How well the images of a network's classes are told from others.

Loads without Keras and TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rezoo.evaluation.scoring.intervals import Interval, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well one score tells known images from unknown ones.

    Attributes:
        score: `"energy"`, `"similarity"` or `"probability"`.
        auroc: Probability that a known image has a higher score than an unknown one.
        interval: Its 95 % interval.
    """

    score: str
    auroc: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of some images that is refused as unknown.

    Attributes:
        count: Number of images.
        refused: Number of those that are refused; None without a threshold.
    """

    count: int
    refused: int | None

    @property
    def fraction(self) -> float | None:
        """Fraction that is refused; None without a threshold."""
        return None if self.refused is None else self.refused / self.count

    @property
    def interval(self) -> Interval | None:
        """Its 95 % Wilson interval."""
        return None if self.refused is None else wilson_interval(self.refused, self.count)

    def __str__(self) -> str:
        if self.refused is None or self.interval is None:
            return f"{self.count} images"
        low, high = self.interval
        part = f"{self.refused / self.count:.1%} refused (95 % interval {low:.1%} to {high:.1%})"
        return f"{part} of {self.count} images"


@dataclass(frozen=True, kw_only=True)
class UnknownImages:
    """The result of `measure_unknown`.

    Attributes:
        unknown: Reference of the unknown images.
        score: The stored score, which the threshold is for; empty without a calibration.
        threshold: The threshold, or None.
        separations: Of each score that can be computed, the stored one first.
        known: Images of the evaluated split.
        others: The unknown images.
        notes: Remarks: images left out, or that there is no threshold.
    """

    unknown: str
    score: str
    threshold: float | None
    separations: tuple[Separation, ...]
    known: Share
    others: Share
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, str]]:
        """Return a table of the AUROC of each score."""
        return [
            {
                "score": row.score,
                "AUROC": f"{row.auroc:.4f}",
                "95 % interval": "{:.4f} to {:.4f}".format(*row.interval),
                "threshold": f"{self.threshold:.4g}" if row.score == self.score else "",
            }
            for row in self.separations
        ]

    def summary(self) -> tuple[str, str]:
        """Return what is refused, as a sentence on the known and one on the unknown images."""
        return f"known: {self.known}", f"unknown, {self.unknown}: {self.others}"

    def to_dict(self) -> dict[str, Any]:
        """Return all values as JSON types."""
        return {
            "unknown": self.unknown,
            "score": self.score or None,
            "threshold": self.threshold,
            "auroc": {
                row.score: {"value": row.auroc, "interval": list(row.interval)}
                for row in self.separations
            },
            **{
                name: {
                    "count": share.count,
                    "refused": share.fraction,
                    "refused_interval": list(share.interval) if share.interval else None,
                }
                for name, share in (("known_images", self.known), ("unknown_images", self.others))
            },
            "notes": list(self.notes),
        }
