"""What a run is asked to do, resolved from names and options before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rezoo import recipes
from rezoo.data.datasets import dataset_spec, default_preprocessing
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.sources.hub_address import Address, is_address
from rezoo.sources.references import Source, resolve
from rezoo.specs import DatasetSpec, Preprocessing

AUTO = "auto"  # a batch size: the recipe's, in parts that fit into memory


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run's inputs.

    Attributes:
        source: Where the network starts from.
        dataset: Description of the data, not opened yet.
        recipe: With every key set.
        recipe_reason: Why this recipe, where the user named none.
        preprocessing: Of the network to be trained.
        folder: The run folder.
        notes: What was changed in the recipe unasked, in words.
        chosen: Recipe keys that the user set.
        fit_memory: Whether a batch is divided so that it fits into the memory that is free.
    """

    source: Source
    dataset: DatasetSpec
    recipe: Recipe
    recipe_reason: str
    preprocessing: Preprocessing
    folder: Path
    notes: tuple[str, ...]
    chosen: frozenset[str]
    fit_memory: bool

    @classmethod
    def of(
        cls,
        model: str | Source,
        dataset: str,
        *,
        pretrained: bool = False,
        recipe: str | None,
        changes: Mapping[str, Any],
        output: str | Path | None,
    ) -> Self:
        """Resolve every name and key; raises as `rezoo.train` does."""
        fit_memory = changes.get("batch_size") == AUTO
        changes = {k: v for k, v in changes.items() if k != "batch_size" or not fit_memory}
        source = resolve(model, pretrained=pretrained)
        spec = dataset_spec(dataset)
        reason = ""
        if recipe is None:
            recipe, reason = recipes.default_recipe(spec, has_weights=source.has_weights)
        base = default_preprocessing(spec)
        if source.has_weights:
            base = source.config.preprocessing
        resolved, notes = recipes.resolve_recipe(recipe, spec, changes, preprocessing=base)
        _check_start(resolved, source)
        return cls(
            source=source,
            dataset=spec,
            recipe=resolved,
            recipe_reason=reason,
            preprocessing=_trained_preprocessing(base, resolved),
            folder=Path(output).expanduser()
            if output
            else default_folder(source.reference, dataset),
            notes=notes,
            chosen=frozenset(changes),
            fit_memory=fit_memory,
        )


def _check_start(recipe: Recipe, source: Source) -> None:
    """Refuse to fit a head to the features of a network that has learned nothing."""
    if recipe.head_start == "probe" and not source.has_weights:
        raise SpecError(
            f"recipe {recipe.name} starts from trained weights; {source.reference} has none",
            hint="add --pretrained, or name weights; --set head_start=random does without.",
        )


def default_folder(model: str, dataset: str) -> Path:
    """Return `runs/<model>-<dataset>`, with the last parts of paths."""
    if is_address(model):
        model = Address.parse(model).repo
    parts = (Path(text.split(":", 1)[-1]).name or "data" for text in (model, dataset))
    return Path("runs") / "-".join(parts).replace(":", "-")  # not a name everywhere


def _trained_preprocessing(base: Preprocessing, recipe: Recipe) -> Preprocessing:
    return dataclasses.replace(
        base.at(recipe.image_size),
        crop_pct=recipe.crop_pct or base.crop_pct,
        interpolation=recipe.interpolation or base.interpolation,
        test_crop_pct=None,
    )
