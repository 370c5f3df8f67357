"""The inputs of a run, resolved from names and options before anything heavy is imported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rezoo import recipes
from rezoo.artifacts.run_files import RECIPE, read_recipe_of_run
from rezoo.data.dataset_references import dataset_spec, short_name
from rezoo.data.datasets import DataOptions, Dataset, default_preprocessing, load_dataset
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.scaling import WARMUP_PART, describe_changes, describe_scaling, scaling
from rezoo.sources.hub_address import Address, is_address
from rezoo.sources.references import Reference, Source, resolve
from rezoo.specs import DatasetSpec, Preprocessing
from rezoo.utils import device
from rezoo.utils.files import refuse_file, refuse_inside_dataset, refuse_unwritable
from rezoo.utils.names import count_of
from rezoo.utils.paths import expanded

AUTO = "auto"  # a batch size: the recipe's, in micro-batches that fit into memory
# Keys that may follow from the machine: a run that is resumed elsewhere keeps its own.
LENGTH = ("epochs", "warmup_epochs", "warmup_steps", "grow_epochs")
FROM_MACHINE = ("precision", "accumulation", *LENGTH)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run's inputs.

    Attributes:
        source: What the network starts from.
        dataset: The dataset reference.
        opened: The dataset, if the caller or `with_files` has opened it.
        recipe: With every key set.
        recipe_reason: Why this recipe was chosen; empty if the user named one.
        preprocessing: Of the network to be trained.
        folder: The run folder.
        notes: What was changed in the recipe without being asked for.
        chosen: Recipe keys that the user set; `steps` set `epochs`, too.
        own: Whether the recipe is a file or an object of the user.
        fit_memory: Whether to divide a batch so that it fits into the free memory.
    """

    source: Source
    dataset: str
    opened: Dataset | None
    recipe: Recipe
    recipe_reason: str
    preprocessing: Preprocessing
    folder: Path
    notes: tuple[str, ...]
    chosen: frozenset[str]
    own: bool
    fit_memory: bool

    @classmethod
    def of(
        cls,
        model: Reference,
        dataset: str | Dataset,
        *,
        pretrained: bool = False,
        recipe: str | Path | Recipe | None = None,
        changes: Mapping[str, Any] | None = None,
        output: str | Path | None = None,
    ) -> Self:
        """Resolve every name and key. Arguments and errors are those of `rezoo.train`."""
        changes = dict(changes or {})
        fit_memory = changes.get("batch_size") == AUTO
        if fit_memory:
            del changes["batch_size"]
        source = resolve(model, pretrained=pretrained)
        opened = dataset if isinstance(dataset, Dataset) else None
        reference = dataset.reference if isinstance(dataset, Dataset) else dataset
        spec = opened.spec if opened else dataset_spec(reference)
        base = source.config.preprocessing if source.has_weights else default_preprocessing(spec)
        resolved, reason, notes = _recipe(recipe, spec, source, changes, base)
        if opened and resolved.val_fraction is not None:
            raise SpecError(
                f"recipe key val_fraction = {resolved.val_fraction:g}: the dataset is opened and "
                "its validation split is chosen",
                hint="pass the reference of the dataset, or no val_fraction.",
            )
        return cls(
            source=source,
            dataset=reference,
            opened=opened,
            recipe=resolved,
            recipe_reason=reason,
            preprocessing=recipes.preprocessing_of(resolved, base),
            folder=expanded(output or default_folder(source.reference, reference)),
            notes=notes,
            chosen=frozenset({*changes, "epochs"} if "steps" in changes else changes),
            own=isinstance(recipe, Recipe) or str(recipe).endswith(".toml"),
            fit_memory=fit_memory,
        )

    def with_files(self, options: DataOptions) -> Self:
        """Return the request with its folder or table opened, which needs no TensorFlow.

        Most of their faults are found so within a second. Other data are opened later.
        """
        if self.opened or self.dataset.partition(":")[0] not in ("folder", "csv"):
            return self
        from rezoo.training.opened_data import check_data

        data = load_dataset(self.dataset, options, val_fraction=self.recipe.val_fraction)
        check_data(data)
        return dataclasses.replace(self, opened=data)

    def check_folder(self, *, resume: bool, overwrite: bool) -> None:
        """Check the path of the run folder, without a look at its content.

        Raises:
            SpecError: `resume` and `overwrite` are both set, the path is that of a file, or it
                lies inside the dataset.
            ResourceError: The folder cannot be written.
        """
        folder = self.folder
        if resume and overwrite:
            raise SpecError("resume and overwrite exclude each other", hint="choose one.")
        refuse_file(folder)
        refuse_inside_dataset(folder, self.dataset)
        refuse_unwritable(folder)


def _recipe(
    recipe: str | Path | Recipe | None,
    dataset: DatasetSpec,
    source: Source,
    changes: Mapping[str, Any],
    preprocessing: Preprocessing,
) -> tuple[Recipe, str, tuple[str, ...]]:
    """Return the recipe with every key set, the reason for it, and notes on what was changed."""
    reason = ""
    if recipe is None:
        recipe, reason = recipes.default_recipe(dataset, has_weights=source.has_weights)
    elif isinstance(recipe, Path):
        recipe = str(recipe)
    resolved, notes = recipes.resolve_recipe(recipe, dataset, changes, preprocessing=preprocessing)
    if resolved.head_start == "probe" and not source.has_weights:
        raise SpecError(
            f"recipe {resolved.name} starts from trained weights; {source.reference} has none",
            hint="add --pretrained, or name weights; --set head_start=random needs none.",
        )
    if resolved.stem_start == "whitened" and source.has_weights:
        raise SpecError(
            f"recipe {resolved.name} fits the first convolution to the images; the weights of "
            f"{source.reference} have one",
            hint="use another recipe, or --set stem_start=random, which keeps that of the weights.",
        )
    return resolved, reason, (*notes, *_notes_of_freeze(resolved, source))


def _notes_of_freeze(recipe: Recipe, source: Source) -> Iterator[str]:
    if recipe.freeze and not source.has_weights:
        yield f"freeze: {', '.join(recipe.freeze)} of {source.reference} stay random"
    elif "backbone" in recipe.freeze and recipe.epochs:
        yield "freeze: the head alone is trained; --recipe probe fits it in one pass"


def with_keywords(changes: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return recipe keys that are given as a mapping and as keywords; those of None are left out.

    Args:
        changes: Recipe keys and their values.
        keywords: Likewise; `lr` is short for `learning_rate`, as on the command line.

    Raises:
        SpecError: A key is given twice.
    """
    merged = dict(changes or {})
    for name, value in keywords.items():
        key = "learning_rate" if name == "lr" else name
        if value is not None and key in merged:
            raise SpecError(f"recipe key {key!r} is set twice", hint="set it once.")
        if value is not None:
            merged[key] = value
    return merged


def default_folder(model: str, dataset: str) -> Path:
    """Return `runs/<model>-<dataset>`, with the last parts of paths."""
    if is_address(model):
        model = Address.parse(model).repo
    parts = (short_name(text) for text in (model, dataset))
    return Path("runs") / "-".join(parts).replace(":", "-")  # Windows forbids colons


def read_run(folder: Path) -> Recipe | None:
    """Return the recipe of the run in a folder; None if there is no run."""
    values = read_recipe_of_run(folder)
    if not values:
        return None
    values = {"crop_mode": "center", **values}  # runs of rezoo 0.1 have no other
    return Recipe.from_dict(values, origin=str(folder / RECIPE))


def settle(
    recipe: Recipe,
    *,
    count: int,
    chosen: Collection[str],
    own: bool = False,
    before: Recipe | None = None,
) -> tuple[Recipe, list[str]]:
    """Return the recipe with the values that depend on the data and the machine, and notes.

    A recipe's batch that is larger than the data becomes the largest power of two that is not,
    and the learning rate follows (`rezoo.recipes.scaling`). `steps` become epochs, rounded up.
    A warm-up in the other unit is at most a tenth of the run. The precision `auto` becomes the
    device's.

    Args:
        recipe: As names and options resolve it.
        count: Training images.
        chosen: Keys that the user set; they are not changed.
        own: Whether the recipe is the user's own: its warm-up stays unless `epochs` are chosen.
        before: The recipe of the run that is resumed; its keys `FROM_MACHINE` are kept.

    Raises:
        SpecError: The user's batch is larger than the data.
    """
    notes: list[str] = []
    in_steps = recipe.steps is not None
    if recipe.batch_size > count:
        recipe, note = _smaller_batch(recipe, count, chosen)
        notes.append(note)
    if recipe.steps is not None:
        epochs = max(math.ceil(recipe.steps / (count // recipe.batch_size)), 1)
        notes.append(f"{count_of(recipe.steps, 'step')}: {count_of(epochs, 'epoch')} of these data")
        recipe = dataclasses.replace(recipe, epochs=epochs, steps=None)
    if before is not None:
        kept = {k: getattr(before, k) for k in FROM_MACHINE if k not in chosen}
        return dataclasses.replace(recipe, **kept), notes
    warmup = _within_the_run(recipe, count // recipe.batch_size, in_steps=in_steps)
    if warmup.keys() - set(chosen) and ("epochs" in chosen or not own):
        notes.append(f"{describe_changes(recipe, warmup)}: at most a tenth of these data's run")
        recipe = dataclasses.replace(recipe, **warmup)
    if recipe.precision == "auto":
        precision = device.precision("auto")
        notes.append(f"precision {precision}: the fastest on this device")
        recipe = dataclasses.replace(recipe, precision=precision)
    return recipe, notes


def _within_the_run(recipe: Recipe, steps_per_epoch: int, *, in_steps: bool) -> dict[str, Any]:
    """Return a shorter warm-up where its unit is not that of the recipe's length.

    The length then depends on the data, so the recipe itself bounds no warm-up.
    """
    if in_steps and recipe.warmup_epochs > WARMUP_PART * recipe.epochs:
        return {"warmup_epochs": WARMUP_PART * recipe.epochs}
    longest = int(WARMUP_PART * recipe.epochs * steps_per_epoch)
    if not in_steps and recipe.warmup_steps > longest:
        return {"warmup_steps": longest}
    return {}


def _smaller_batch(recipe: Recipe, count: int, chosen: Collection[str]) -> tuple[Recipe, str]:
    size = 2 ** (count.bit_length() - 1)
    images = count_of(count, "image")
    if "batch_size" in chosen:
        raise SpecError(
            f"batch_size {recipe.batch_size} is larger than train, which has {images}",
            hint=f"set --batch-size to {count} or less.",
        )
    values = {k: v for k, v in scaling(recipe, size).items() if k not in chosen}
    words = describe_scaling(recipe, values)
    return dataclasses.replace(recipe, **values), f"{words}; train has {images}"
