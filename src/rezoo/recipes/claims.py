"""Published results of a recipe: the table `[claim]` of its file.

A run does not use it: the `recipe.toml` of a run has no claim.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rezoo.errors import SpecError
from rezoo.utils.documents import short
from rezoo.utils.names import suggest

TABLE = "claim"
"""The table's name in a recipe's file."""
_USUAL = "resnet50"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The published results of a recipe. One field, one TOML key.

    Attributes:
        dataset: Dataset of the results, by rezoo's name.
        top1: Top-1 accuracy of each architecture, a fraction.
        tta: Test-time augmentation of the results, as in `rezoo eval --tta`; empty for none.
        tolerance: Largest difference of a run with another seed, a fraction.
        cost: Cost of a run, as text with details in parentheses.
        pflop: Floating-point operations of the training, in 10^15: three times those of the
            forward passes, two for each multiply-add.
        hardware: Machine of that cost.
        reproduced: Date, machine and result of rezoo's reproduction; empty if there is none.
        differs: Differences between rezoo's run and the original.
    """

    dataset: str
    top1: Mapping[str, float] = field(default_factory=dict)
    tta: str = ""
    tolerance: float = 0.0
    cost: str = ""
    pflop: float = 0.0
    hardware: str = ""
    reproduced: str = ""
    differs: tuple[str, ...] = ()

    @property
    def expected(self) -> tuple[str, float] | None:
        """Architecture and top-1 for lists: resnet50's, or else the first."""
        name = _USUAL if _USUAL in self.top1 else next(iter(self.top1), None)
        return None if name is None else (name, self.top1[name])

    @property
    def short_cost(self) -> str:
        """Cost without the details in parentheses."""
        return self.cost.split(" (")[0]

    @classmethod
    def from_dict(cls, values: Any, *, origin: str) -> Self:
        """Build a claim from a parsed table.

        Args:
            values: The table.
            origin: Its origin, for messages.

        Raises:
            SpecError: A key is unknown or missing, or a value is not of the right type.
        """
        if not isinstance(values, Mapping):
            raise SpecError(f"{origin}: {TABLE} = {short(values)}; it must be a table, [{TABLE}]")
        known = [f.name for f in dataclasses.fields(cls)]
        for key, value in values.items():
            if key not in known:
                raise SpecError(
                    f"{origin}: unknown key {key!r} in [{TABLE}]",
                    hint=suggest(key, known, "the keys are"),
                )
            wanted = _wanted(key, value)
            if wanted:
                raise SpecError(
                    f"{origin}: {key} = {short(value)} in [{TABLE}]; it must be {wanted}"
                )
        if "dataset" not in values:
            raise SpecError(f"{origin}: [{TABLE}] has no dataset", hint='dataset = "imagenet2012"')
        return cls(**{**values, "differs": tuple(values.get("differs", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Return every key with JSON types."""
        return {**dataclasses.asdict(self), "differs": list(self.differs)}


def _wanted(key: str, value: Any) -> str:
    """Return a description of the valid values if this one is invalid, else an empty text."""
    if key == "top1":
        good = isinstance(value, Mapping) and all(map(_is_fraction, value.values()))
        return "" if good else "a table of architectures and fractions, { resnet50 = 0.761 }"
    if key == "pflop":
        return "" if _is_number(value) and value >= 0 else "a number, 0 or more"
    if key == "tolerance":
        return "" if _is_fraction(value) else "a fraction, 0 to 1"
    if key == "differs":
        good = isinstance(value, (list, tuple)) and all(isinstance(x, str) for x in value)
        return "" if good else "a list of texts"
    return "" if isinstance(value, str) else "text"


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
