"""Do a few real steps of every recipe, as `rezoo train --dry-run` does, and print one table.

    python examples/try_recipes.py MODEL DATASET [--batch-size 32] [--image-size N] [RECIPE …]

MODEL is an architecture or a folder with weights; recipes that start from weights need the latter.
`--batch-size` scales the batch and the learning rate of a recipe.
"""

from __future__ import annotations

import argparse
from typing import Any

from rezoo.errors import RezooError
from rezoo.recipes import list_recipes
from rezoo.training.trial import dry_run

COLUMNS = "{:19} {:9} {:8} {:>7} {:>9} {:>6} {:>12} {:>8} {:>8} {:>9} {:>8}"
HEAD = (
    "recipe", "optimizer", "schedule", "epochs", "train px", "batch", "peak rate", "s/step",
    "loss", "predicted", "taken",
)  # fmt: skip


def main() -> None:
    """Try the recipes one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("recipes", nargs="*", default=[])
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--image-size", type=int)
    args = parser.parse_args()
    asked = {"batch_size": args.batch_size, "image_size": args.image_size}
    changes = {key: value for key, value in asked.items() if value is not None}
    print(COLUMNS.format(*HEAD), flush=True)
    for name in args.recipes or list_recipes():
        try:
            print(COLUMNS.format(*row(args.model, args.dataset, name, changes)), flush=True)
        except RezooError as error:
            print(f"{name:19} {error}", flush=True)


def row(model: str, dataset: str, name: str, changes: dict[str, Any]) -> list[str]:
    """Return the cells of a recipe."""
    plan, found = dry_run(model, dataset, recipe=name, changes=changes)
    recipe = plan.recipe
    size = str(recipe.train_size or recipe.image_size)
    if recipe.start_size:
        size = f"{recipe.start_size}-{size}"
    return [
        name,
        recipe.optimizer,
        recipe.schedule,
        str(recipe.epochs),
        size,
        str(recipe.batch_size),
        f"{recipe.learning_rate:.6g}",
        f"{found.times.step_s:.2f}",
        "" if found.times.loss is None else f"{found.times.loss:.4f}",
        f"{(found.memory.total + found.before_bytes) / 1e9:.1f} GB",
        f"{(found.peak_bytes or 0) / 1e9:.1f} GB",
    ]


if __name__ == "__main__":
    main()
