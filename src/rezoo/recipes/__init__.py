"""Recipes, one TOML file each, and the recipe of a run.

The recipe of a run has its values from these sources, in ascending order of precedence: the
recipe's file; the overrides of the dataset (`DatasetSpec.overrides`, for rezoo's own recipes
only); the scaling to another batch size (`rezoo.recipes.scaling`); the user. Image size, crop and
interpolation come from the weights or from the dataset if none of these sets them. The
`recipe.toml` of a run has every key, so it repeats the run.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from rezoo import registry
from rezoo.errors import PluginWarning, RezooError, SpecError, UnknownNameError
from rezoo.recipes.claims import TABLE, Claim
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.scaling import describe_changes, describe_scaling, scaling, shortening
from rezoo.specs import DatasetSpec, Preprocessing
from rezoo.utils.documents import MAX_TEXT, MAX_TOML_BYTES, parse_toml
from rezoo.utils.files import read_regular
from rezoo.utils.names import suggest
from rezoo.utils.paths import expanded


def list_recipes() -> list[str]:
    """Return the names of rezoo's own recipes and of those of plugins."""
    return sorted({*_own(), *registry.recipes.names()})


@cache
def _own() -> frozenset[str]:
    found = (Path(entry.name) for entry in files(__name__).iterdir())
    return frozenset(path.stem for path in found if path.suffix == ".toml")


def read_all() -> Iterator[tuple[Recipe, Claim | None]]:
    """Yield every recipe with its claim; warn of a plugin's recipe that cannot be read."""
    own = _own()
    for name in list_recipes():
        try:
            values, claim = read_with_claim(name)
            yield Recipe.from_dict({**values, "name": name}, origin=f"recipe {name}"), claim
        except RezooError as error:
            if name in own:
                raise
            warnings.warn(PluginWarning(f"{error} {error.hint}"), stacklevel=2)


def read_recipe(name: str) -> dict[str, Any]:
    """Return the keys and values of a recipe, without its claim.

    Args:
        name: Name of one of rezoo's or a plugin's recipes, or path of a `.toml` file.

    Raises:
        UnknownNameError: There is no recipe of this name; the hint has near names.
        NotFoundError: There is no such file.
        SpecError: The file is not valid TOML, or has unknown keys or invalid values.
    """
    return read_with_claim(name)[0]


def read_with_claim(name: str) -> tuple[dict[str, Any], Claim | None]:
    """Return the keys and values of a recipe, and its claim or None; see `read_recipe`."""
    values = parse_toml(_content(name), f"recipe {name}", error=SpecError)
    claim = None
    if TABLE in values:
        claim = Claim.from_dict(values.pop(TABLE), origin=f"recipe {name}")
    # a file's name may have bytes that are not UTF-8
    stem = Path(name).stem.encode("utf-8", "backslashreplace").decode()
    values.setdefault("name", stem[:MAX_TEXT])
    Recipe.from_dict(values, origin=f"recipe {name}")
    return values, claim


def _content(name: str) -> bytes:
    if name.endswith(".toml"):
        return read_regular(expanded(name), most=MAX_TOML_BYTES, what=f"the recipe {name}")
    if name in _own():
        return (files(__name__) / f"{name}.toml").read_bytes()
    if name.rpartition(":")[2] in registry.recipes.names():
        what = f"recipe {name} of the plugin {registry.recipes.find(name).distribution}"
        return read_regular(registry.recipes.get(name), most=MAX_TOML_BYTES, what=what)
    raise UnknownNameError(
        f"unknown recipe {name!r}",
        hint=suggest(name, list_recipes(), "The recipes are")
        + " A name that ends in .toml is the path of a file.",
    )


def default_recipe(dataset: DatasetSpec, *, has_weights: bool) -> tuple[str, str]:
    """Return the name of the recipe for users who name none, and the reason."""
    if has_weights:
        return "finetune", "weights are given"
    return dataset.recipe, f"random weights on {dataset.name}"


def resolve_recipe(
    name: str | Recipe,
    dataset: DatasetSpec,
    changes: Mapping[str, Any],
    *,
    preprocessing: Preprocessing,
) -> tuple[Recipe, tuple[str, ...]]:
    """Put a run's recipe together.

    Args:
        name: A recipe's name, the path of a `.toml` file, or a recipe.
        dataset: Its overrides apply to a recipe of rezoo's that is named, not to the user's.
        changes: What the user sets; wins.
        preprocessing: Of the weights, or of the dataset where there are none.

    Returns:
        The recipe with every key set, and in words what was changed unasked: by the dataset, by
        another batch size without a learning rate, and by a run that is shorter than the recipe.
    """
    if isinstance(name, Recipe):
        plain, wanted = name, {}
    else:
        plain = Recipe.from_dict(read_recipe(name), origin=f"recipe {name}")
        wanted = dict(dataset.overrides) if name in _own() else {}
    recipe = Recipe.from_dict({**plain.to_dict(), **wanted}, origin=f"dataset {dataset.name}")
    notes = [
        f"{key} = {value!r}: {dataset.name} asks for it"
        for key, value in recipe.to_dict().items()
        if key not in changes and value != getattr(plain, key)
    ]
    with_size = _for_batch_size(recipe, changes)
    if with_size and changes.get("epochs", recipe.epochs):  # a probe has no learning rate
        notes.append(describe_scaling(recipe, with_size))
    in_steps = {k: v for k, v in with_size.items() if k in ("steps", "warmup_steps")}
    own = dataclasses.replace(recipe, **in_steps)
    recipe = Recipe.from_dict({**recipe.to_dict(), **with_size, **changes}, origin="--set")
    if "epochs" in changes and "steps" not in changes:
        recipe = dataclasses.replace(recipe, steps=None)
    shorter = {k: v for k, v in shortening(own, recipe).items() if k not in changes}
    if shorter:
        notes.append(f"{describe_changes(own, shorter)}: the run is shorter than its recipe")
        recipe = dataclasses.replace(recipe, **shorter)
    height, width = preprocessing.size
    resolved = dataclasses.replace(
        recipe,
        image_size=recipe.image_size or max(height, width),
        crop_pct=recipe.crop_pct or preprocessing.crop_pct,
        crop_mode=recipe.crop_mode or preprocessing.crop_mode,
        interpolation=recipe.interpolation or preprocessing.interpolation,
    )
    return resolved, tuple(notes)


def preprocessing_of(recipe: Recipe, base: Preprocessing) -> Preprocessing:
    """Return the preprocessing of a run: what the recipe sets, all else from the weights or data.

    Args:
        recipe: From `resolve_recipe`.
        base: Of the weights, or of the dataset where there are none.
    """
    return dataclasses.replace(
        base.at(recipe.image_size, recipe.crop_mode),
        crop_pct=recipe.crop_pct or base.crop_pct,
        interpolation=recipe.interpolation or base.interpolation,
        test_crop_pct=None,
    )


def _for_batch_size(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that change with the user's batch size; none if the user sets the rate."""
    if "batch_size" not in changes or "learning_rate" in changes:
        return {}
    asked = {"name": recipe.name, "batch_size": changes["batch_size"]}
    size = Recipe.from_dict(asked, origin="--set").batch_size
    follows = scaling(recipe, size)
    return {k: v for k, v in follows.items() if k == "batch_size" or k not in changes}


def recipe_to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML, with every key that has a value."""
    return tomli_w.dumps(recipe.to_dict())
