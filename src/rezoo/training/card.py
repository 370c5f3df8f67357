"""The model card of a run: a README that says what the network is and how it was made."""

from __future__ import annotations

import json
from typing import Any

from rezoo.recipes.recipe import Recipe
from rezoo.specs import DatasetSpec, ModelConfig


def model_card(
    config: ModelConfig, recipe: Recipe, dataset: DatasetSpec, metrics: dict[str, Any]
) -> str:
    """Return the card as Markdown with the Hub's metadata in front.

    Only figures of the run and names of registered things are in it: no paths, and no text
    from the data, which could break the page.
    """
    kind, colon, _ = dataset.name.partition(":")
    data = f"{'a private ' if kind == 'folder' else ''}{kind}" if colon else dataset.name
    val = metrics["val"]
    low, high = val["top1_interval"]
    head = {
        "library_name": "rezoo",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "keras", "tensorflow", "rezoo"],
        "metrics": ["accuracy"],
    }
    if config.licence:
        head["license"] = config.licence
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
    pre = config.preprocessing
    height, width = pre.size
    rows = "\n".join(f"| `{key}` | `{value}` |" for key, value in recipe.to_dict().items())
    return f"""---
{front}
---

# {config.architecture} on {data}

{config.num_classes} classes, trained with rezoo.

| split | images | top-1 | 95 % interval | loss |
|---|---|---|---|---|
| val | {val["count"]} | {val["top1"]:.2%} | {low:.2%} to {high:.2%} | {val["loss"]:.4f} |

Weights of epoch {metrics["best_epoch"]} of {metrics["epochs"]}, the best on the validation split,
which was held out of train by a fixed rule; so this figure was also used to choose.
Training took {metrics["wall_time_s"] / 60:.1f} minutes. Measure on data that it never saw
with `rezoo eval`.

## Use

```python
import rezoo
model = rezoo.load("path/to/this/folder")
```

```console
$ rezoo predict path/to/this/folder photo.jpg
```

## Input

{height}x{width} pixels, {"grey" if pre.channels == 1 else "RGB"}: the shorter side is resized to
{int(min(pre.size) / pre.crop_pct)} ({pre.interpolation}, antialiased), the centre is cropped,
values are divided by 255, minus {list(pre.mean)}, divided by {list(pre.std)}.

## Recipe

| key | value |
|---|---|
{rows}
"""
