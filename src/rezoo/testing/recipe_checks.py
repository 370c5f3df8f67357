"""The contracts of a recipe and of a catalogue of weights: TOML files of a plugin."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rezoo import registry
from rezoo.testing.contract import BrokenContractError, Subject

if TYPE_CHECKING:
    from rezoo.recipes.claims import Claim
    from rezoo.recipes.recipe import Recipe
    from rezoo.specs import WeightsSpec


class ReadRecipe(Subject):
    """A recipe, read once for all checks."""

    kind = "recipe"
    group = "rezoo.recipes"

    @cached_property
    def read(self) -> tuple[Recipe, Claim | None]:
        """The recipe and its claim."""
        from rezoo.recipes import read_with_claim
        from rezoo.recipes.recipe import Recipe

        values, claim = read_with_claim(self.name)
        return Recipe.from_dict(values, origin=f"recipe {self.name}"), claim


class ReadCatalogue(Subject):
    """A catalogue of published weights, read once for all checks."""

    kind = "catalogue"
    group = "rezoo.catalogues"

    @cached_property
    def weights(self) -> tuple[WeightsSpec, ...]:
        """Its entries."""
        from rezoo.sources import catalogue

        assert self.entry is not None  # each is registered
        return catalogue.read(catalogue.path_of(self.entry), self.entry.distribution)


def values(recipe: ReadRecipe) -> str:
    """The file is in the package, and its keys and values are allowed."""
    if recipe.entry is not None:
        path = registry.load(recipe.entry)
        if not isinstance(path, Path):
            raise BrokenContractError(
                f"{recipe.entry.point.value} is a {type(path).__name__}, not a pathlib.Path"
            )
        if not path.is_file():
            raise BrokenContractError(f"{path} is not in the installed package")
    found, _ = recipe.read
    return f"{found.optimizer}, {found.epochs} epochs, batches of {found.batch_size}"


def description(recipe: ReadRecipe) -> str:
    """Summary and source are stated, and the name is the registered one."""
    found, _ = recipe.read
    if recipe.entry is not None and found.name != recipe.name:
        raise BrokenContractError(
            f"the recipe is called {found.name!r} and registered as {recipe.name!r}"
        )
    missing = [key for key in ("summary", "source") if not getattr(found, key).strip()]
    if missing:
        raise BrokenContractError(f"the recipe has no {' and no '.join(missing)}")
    return f"{found.summary}; {found.source}"


def resolution(recipe: ReadRecipe) -> str:
    """The recipe resolves for a dataset."""
    from rezoo.data.dataset_references import dataset_spec
    from rezoo.data.datasets import default_preprocessing
    from rezoo.recipes import resolve_recipe

    digits = dataset_spec("digits")
    found, _ = resolve_recipe(
        recipe.read[0], digits, {}, preprocessing=default_preprocessing(digits)
    )
    return f"digits at {found.image_size} px, learning rate {found.learning_rate:g}"


def claim(recipe: ReadRecipe) -> str:
    """What the recipe claims names networks and data that are registered."""
    found = recipe.read[1]
    if found is None:
        return "none"
    for name in found.top1:
        registry.architectures.find(name)
    from rezoo.data.dataset_references import dataset_spec

    dataset_spec(found.dataset.partition(",")[0])  # a part of it may be described after a comma
    if not found.cost.strip():
        raise BrokenContractError("the claim has no cost")
    return f"{found.dataset}: {', '.join(f'{n} {a:.2%}' for n, a in found.top1.items())}"


def entries(catalogue: ReadCatalogue) -> str:
    """The file can be read, and its keys and values are allowed."""
    if not catalogue.weights:
        raise BrokenContractError("the catalogue has no [[weights]]")
    return f"{len(catalogue.weights)} weights, such as {catalogue.weights[0].name}"


def networks(catalogue: ReadCatalogue) -> str:
    """Each entry names a registered architecture."""
    names = sorted({weights.architecture for weights in catalogue.weights})
    for name in names:
        registry.architectures.find(name)
    return ", ".join(names)


def licences(catalogue: ReadCatalogue) -> str:
    """The licence of all weights is stated."""
    unknown = [w.name for w in catalogue.weights if w.licence.strip().lower() in ("", "unknown")]
    if unknown:
        raise BrokenContractError(f"the licence of {unknown[0]} is not stated")
    return ", ".join(sorted({weights.licence for weights in catalogue.weights}))
