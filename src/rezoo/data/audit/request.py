"""What a sheet is asked to show, resolved from names before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rezoo import recipes
from rezoo.data.datasets import dataset_spec, default_preprocessing
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

MAX_COUNT, MAX_DRAWS = 500, 8


@dataclass(frozen=True, kw_only=True)
class SheetRequest:
    """What to draw.

    Attributes:
        dataset: As `rezoo.load_dataset` takes it.
        split: `"train"`, `"val"`, `"test"` or `"all"`.
        recipe: With every key set.
        preprocessing: Of the network that would be trained.
        classes: Names of classes, separated by commas; empty for all.
        count: How many examples.
        epoch: The first epoch, from 0.
        draws: How many epochs.
        augment: Whether the training transform is shown.
        path: The PNG file.
    """

    dataset: str
    split: str
    recipe: Recipe
    preprocessing: Preprocessing
    classes: str
    count: int
    epoch: int
    draws: int
    augment: bool
    path: Path

    @classmethod
    def of(
        cls,
        dataset: str,
        *,
        split: str = "train",
        recipe: str | None = None,
        changes: Mapping[str, Any] | None = None,
        classes: str | None = None,
        count: int = 32,
        epoch: int = 0,
        draws: int = 3,
        no_augment: bool = False,
        output: str | Path | None = None,
        overwrite: bool = False,
    ) -> Self:
        """Resolve every name and key.

        Raises:
            UnknownNameError: No such dataset or recipe.
            SpecError: A number out of bounds, an unknown key, or a file that is there.
        """
        spec = dataset_spec(dataset)
        base = default_preprocessing(spec)
        resolved, _ = recipes.resolve_recipe(
            recipe or spec.recipe, spec, changes or {}, preprocessing=base
        )
        _bounded("count", count, 1, MAX_COUNT)
        _bounded("draws", draws, 1, MAX_DRAWS)
        _bounded("epoch", epoch, 0, resolved.epochs - 1, f": recipe {resolved.name} ends there")
        path = Path(output).expanduser() if output else default_path(dataset)
        _check_path(path, overwrite=overwrite)
        return cls(
            dataset=dataset,
            split=split,
            recipe=resolved,
            preprocessing=dataclasses.replace(
                base.at(resolved.image_size),
                crop_pct=resolved.crop_pct or base.crop_pct,
                interpolation=resolved.interpolation or base.interpolation,
            ),
            classes=classes or "",
            count=count,
            epoch=epoch,
            draws=min(draws, resolved.epochs - epoch),
            augment=split == "train" and not no_augment,
            path=path,
        )


def default_path(dataset: str) -> Path:
    """Return `data-sheet-<name>.png`, with the last part of a path."""
    return Path(f"data-sheet-{Path(dataset.split(':', 1)[-1]).name or 'data'}.png")


def _bounded(name: str, value: int, low: int, high: int, why: str = "") -> None:
    if not low <= value <= high:
        raise SpecError(f"--{name} {value}; allowed is {low} to {high}{why}")


def _check_path(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".png":
        raise SpecError(f"--output {path}; a sheet is a PNG file", hint="end its name in .png.")
    if path.is_dir():
        raise SpecError(f"{path} is a folder", hint="choose another file with --output.")
    if os.path.lexists(path) and not overwrite:
        raise SpecError(
            f"{path} is there already", hint="choose another --output, or say --overwrite."
        )
