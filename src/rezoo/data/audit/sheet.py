"""A contact sheet: each example as it is stored, and as a network gets it in some epochs.

A `SheetRequest` is resolved from names before anything heavy is loaded. The images come from
`rezoo.data.pipeline`: order, augmentation and mixing are those of a run with this recipe and seed.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rezoo import recipes
from rezoo.data.dataset_references import dataset_spec, short_name
from rezoo.data.datasets import default_preprocessing, load_dataset
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import has_one_size, training_size
from rezoo.specs import Preprocessing
from rezoo.utils.files import refuse_inside_dataset, write_bytes
from rezoo.utils.live_line import Show
from rezoo.utils.paths import expanded

MAX_COUNT, MAX_DRAWS = 500, 8


@dataclass(frozen=True, kw_only=True)
class SheetRequest:
    """What to draw."""

    dataset: str  # the reference
    split: str  # "train", "val", "test" or "all"
    recipe: Recipe  # with every key set
    preprocessing: Preprocessing  # of the network that would be trained
    classes: str  # names of classes, separated by commas; empty for all
    count: int  # number of examples
    epoch: int  # the first epoch, from 0
    draws: int  # number of epochs
    augment: bool  # whether the training transform is shown
    path: Path  # the PNG file

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
        """Resolve names and recipe keys.

        Raises:
            UnknownNameError: No such dataset or recipe.
            SpecError: A number out of bounds, an unknown key, or a file that exists.
        """
        spec = dataset_spec(dataset)
        base = default_preprocessing(spec)
        resolved, _ = recipes.resolve_recipe(
            recipe or spec.recipe, spec, changes or {}, preprocessing=base
        )
        last = max(resolved.epochs, 1) - 1  # a probe has no epochs, and the test transform
        for name, value, low, high, why in (
            ("count", count, 1, MAX_COUNT, ""),
            ("draws", draws, 1, MAX_DRAWS, ""),
            ("epoch", epoch, 0, last, f": the last epoch of recipe {resolved.name}"),
        ):
            if not low <= value <= high:
                raise SpecError(f"--{name} {value}; allowed is {low} to {high}{why}")
        return cls(
            dataset=dataset,
            split=split,
            recipe=resolved,
            preprocessing=recipes.preprocessing_of(resolved, base),
            classes=classes or "",
            count=count,
            epoch=epoch,
            draws=min(draws, last + 1 - epoch),
            augment=split == "train" and not no_augment and resolved.epochs > 0,
            path=_checked(expanded(output or default_path(dataset)), dataset, overwrite=overwrite),
        )


@dataclass(frozen=True)
class Sheet:
    """A sheet that was drawn."""

    path: str  # the PNG file
    width: int  # in pixels
    height: int
    split: str  # of the examples
    examples: int  # their number
    columns: str  # the heads of the columns
    shown: list[dict[str, str]]  # "key" and "label" of each example, in order
    notes: list[str]  # for the user

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def default_path(dataset: str) -> Path:
    """Return `data-sheet-<name>.png`, with the last part of the reference."""
    return Path(f"data-sheet-{short_name(dataset)}.png")


def draw_sheet(request: SheetRequest, *, progress: Show | None = None) -> Sheet:
    """Draw a sheet and write it.

    Args:
        request: What to draw.
        progress: Called with the number of columns done and the number of all.

    Raises:
        UnknownNameError: The dataset has no such class.
        NotFoundError: It has no such split, or no example of these classes there.
    """
    from rezoo.data.audit import layout, views
    from rezoo.data.audit.scan import label_name

    data = load_dataset(request.dataset)
    examples, names = data.examples(request.split), data.class_names
    chosen = views.decodable(examples, views.choose(examples, names, request), request)
    if len(data.splits.class_descriptions) == len(names):
        names = data.splits.class_descriptions
    as_stored, labels = views.stored(examples, chosen)
    words = [label_name(label, names) or f"label {label}" for label in labels]
    columns = {"as stored": as_stored}
    heads = _heads(request)
    for epoch, head in enumerate(heads, request.epoch):
        if request.augment:
            columns[head] = views.trained(examples, request, epoch, chosen, names)
        else:
            columns[head] = views.tested(examples, request, chosen)
        if progress:
            progress(len(columns) - 1, len(heads))
    image = layout.draw(_title(request), columns, words)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    write_bytes(request.path, stream.getvalue())
    keys = [examples.key(i) for i in chosen.tolist()]
    size = request.recipe.batch_size
    refused = f"training would refuse batch_size {size}: train has {len(examples)} images"
    return Sheet(
        path=str(request.path),
        width=image.width,
        height=image.height,
        split=request.split,
        examples=len(chosen),
        columns=", ".join(columns),
        shown=[{"key": k, "label": w} for k, w in zip(keys, words, strict=True)],
        notes=[refused] if request.augment and size > len(examples) else [],
    )


def _heads(request: SheetRequest) -> list[str]:
    """Return the heads of all columns but the first."""
    if not request.augment:
        return ["test transform"]
    epochs = range(request.epoch, request.epoch + request.draws)
    if has_one_size(request.recipe):
        return [f"epoch {epoch}" for epoch in epochs]
    return [f"epoch {epoch} ({training_size(request.recipe, epoch)} px)" for epoch in epochs]


def _title(request: SheetRequest) -> str:
    recipe = request.recipe
    parts = [request.dataset, request.split]
    if request.augment:
        parts += [f"recipe {recipe.name}", f"seed {recipe.seed}"]
    if not request.augment or has_one_size(recipe):
        parts.append("{}×{} px".format(*request.preprocessing.size))
    return ", ".join(parts)


def _checked(path: Path, dataset: str, *, overwrite: bool) -> Path:
    """Return a path if a sheet may be written there; else raise `SpecError`."""
    refuse_inside_dataset(path, dataset)
    if path.suffix.lower() != ".png":
        raise SpecError(f"--output {path}; a sheet is a PNG file", hint="end its name in .png.")
    if path.is_dir():
        raise SpecError(f"{path} is a folder", hint="choose another file with --output.")
    if os.path.lexists(path) and not overwrite:
        raise SpecError(f"{path} exists", hint="choose another --output, or use --overwrite.")
    return path
