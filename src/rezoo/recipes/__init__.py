"""Recipes: one TOML file each, and how a run's recipe is put together.

Later sources win: the recipe's file, what the dataset needs otherwise (`DatasetSpec.overrides`,
for rezoo's own recipes only), what the user sets. What nobody says comes from the weights, else
from the dataset. A run's `recipe.toml` names every key and therefore repeats that run.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from rezoo.errors import NotFoundError, SpecError, UnknownNameError
from rezoo.names import suggest
from rezoo.recipes.recipe import Recipe
from rezoo.specs import DatasetSpec, Preprocessing


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with rezoo."""
    found = (Path(entry.name) for entry in files(__name__).iterdir())
    return sorted(path.stem for path in found if path.suffix == ".toml")


def read_recipe(name: str) -> dict[str, Any]:
    """Return the keys of a recipe: one of rezoo's by its name, or any `.toml` file by its path.

    Raises:
        UnknownNameError: No recipe of that name; the hint has near names.
        NotFoundError: No such file.
        SpecError: The file is no TOML, or has unknown keys or values that are not allowed.
    """
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise NotFoundError(f"cannot read the recipe {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SpecError(f"recipe {name} is not in UTF-8: {error.reason}") from error
    elif name in list_recipes():
        text = (files(__name__) / f"{name}.toml").read_text("utf-8")
    else:
        raise UnknownNameError(
            f"unknown recipe {name!r}",
            hint=suggest(name, list_recipes(), "The recipes are")
            + " A path that ends in .toml is taken as a file.",
        )
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"recipe {name} is not valid TOML: {error}") from error
    values.setdefault("name", Path(name).stem)
    Recipe.from_dict(values, origin=f"recipe {name}")
    return values


def default_recipe(dataset: DatasetSpec, *, has_weights: bool) -> tuple[str, str]:
    """Return the recipe's name where the user names none, and the reason in words."""
    if has_weights:
        return "finetune", "weights are given"
    return dataset.recipe, f"random weights on {dataset.name}"


def resolve_recipe(
    name: str,
    dataset: DatasetSpec,
    changes: Mapping[str, Any],
    *,
    preprocessing: Preprocessing,
) -> tuple[Recipe, dict[str, Any]]:
    """Put a run's recipe together.

    Args:
        name: A recipe's name or the path of a `.toml` file.
        dataset: Its overrides apply to a recipe of rezoo's, not to a file of the user's.
        changes: What the user sets; wins.
        preprocessing: Of the weights, or of the dataset where there are none.

    Returns:
        The recipe with every key set, and those of the dataset's overrides that took effect.
    """
    plain = Recipe.from_dict(read_recipe(name), origin=f"recipe {name}")
    wanted = {} if name.endswith(".toml") else dataset.overrides
    recipe = Recipe.from_dict({**plain.to_dict(), **wanted}, origin=f"dataset {dataset.name}")
    imposed = {
        key: value
        for key, value in recipe.to_dict().items()
        if key not in changes and value != getattr(plain, key)
    }
    recipe = Recipe.from_dict({**recipe.to_dict(), **changes}, origin="--set")
    height, width = preprocessing.size
    return dataclasses.replace(
        recipe,
        image_size=recipe.image_size or max(height, width),
        crop_pct=recipe.crop_pct or preprocessing.crop_pct,
        interpolation=recipe.interpolation or preprocessing.interpolation,
    ), imposed


def recipe_to_toml(recipe: Recipe) -> str:
    """Return the recipe as a TOML file with every key."""
    return tomli_w.dumps(recipe.to_dict())
