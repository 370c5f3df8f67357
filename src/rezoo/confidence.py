"""`Calibration`: what a network's confidence means; `rezoo calibrate` measures it.

Loads without Keras and NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rezoo.utils.schemas import Constraint, Schema, Table, conform, integer, real, several

ENERGY, SIMILARITY, PROBABILITY = "energy", "similarity", "probability"
SCORES = (ENERGY, SIMILARITY)  # what a threshold can be set for

# Bounds of a temperature: beyond them, all classes are equal, or the rounding of logits decides.
COLDEST, HOTTEST = 0.02, 50.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a network's confidence means, measured on its validation split.

    Attributes:
        temperature: Logits are divided by it before the softmax or the sigmoid.
        temperature_interval: Its 95 % interval.
        images: Number of validation images.
        score: What is low for images of none of the classes: `"energy"` or `"similarity"`, see
            `rezoo.evaluation.calibrating.unknown`; empty if there is no threshold.
        threshold: An image with a lower score is unknown.
        false_alarms: Fraction of the validation images with a lower score.
        false_alarms_interval: Its 95 % interval.
        held_out_auroc: Score → the AUROC that chose it, on classes left out of the head.
    """

    temperature: float
    temperature_interval: tuple[float, float]
    images: int
    score: str = ""
    threshold: float = 0.0
    false_alarms: float = 0.0
    false_alarms_interval: tuple[float, float] = (0.0, 1.0)
    held_out_auroc: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the JSON of a calibration; raises `IncompatibleError`."""
        conform(value, _SCHEMA, "calibration")
        if "score" in value:
            conform(value, _THRESHOLD, "calibration")
        known = {f.name for f in dataclasses.fields(cls)}
        lists = {key: tuple(v) for key, v in value.items() if isinstance(v, list)}
        return cls(**{key: v for key, v in (value | lists).items() if key in known})

    def in_words(self) -> dict[str, str]:
        """Return temperature and threshold as texts with their intervals, by their names."""
        low, high = self.temperature_interval
        interval = f"95 % interval {low:.3f} to {high:.3f}, from {self.images} validation images"
        rows = {"temperature": f"{self.temperature:.3f} ({interval})"}
        if not self.score:
            return rows
        low, high = self.false_alarms_interval
        auroc = ", ".join(f"{value:.3f} {name}" for name, value in self.held_out_auroc.items())
        return rows | {
            "unknown": f"{self.score} below {self.threshold:.4g}",
            "false alarms": f"{self.false_alarms:.1%} of these images (95 % interval "
            f"{low:.1%} to {high:.1%})",
            "held-out classes": f"AUROC {auroc}",
        }

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of it; without a threshold, only the keys of the temperature."""
        keys = [*_SCHEMA, *(_THRESHOLD if self.score else ())]
        values = dataclasses.asdict(self)
        lists = {key: list(v) for key, v in values.items() if isinstance(v, tuple)}
        return {key: (values | lists)[key] for key in keys if key != "score?"}


_FRACTION = real(0, 1)
_LARGEST = 1e9
_TEMPERATURE = real(COLDEST, HOTTEST)
_SCORE = Constraint(lambda v: isinstance(v, str) and v in SCORES, " or ".join(SCORES))
_SCHEMA: dict[str, Schema] = {
    "temperature": _TEMPERATURE,
    "temperature_interval": several(2, _TEMPERATURE),
    "images": integer(1, 10**12),
    "score?": _SCORE,
}
_THRESHOLD: dict[str, Schema] = {
    "score": _SCORE,
    "threshold": real(-_LARGEST, _LARGEST),
    "false_alarms": _FRACTION,
    "false_alarms_interval": several(2, _FRACTION),
    "held_out_auroc": Table(_FRACTION),
}
