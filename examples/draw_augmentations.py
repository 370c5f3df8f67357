"""Draw what recipes do to a training image: `python examples/draw_augmentations.py [FOLDER]`.

Each row is a recipe key, each image one example in one epoch, as the training pipeline gives it.
The photographs come with scikit-learn: "china" and "flower", CC BY 2.0, danielbuechele and
vultilion (Flickr).
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import sklearn.datasets
import tensorflow as tf
from PIL import Image

from rezoo.data import pipeline
from rezoo.data.audit.layout import line_height, paste, write
from rezoo.data.examples import Examples
from rezoo.data.image_sources import ArraySource
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

SIDE, GAP, MARGIN, COLUMNS, FONT = 112, 4, 12, 8, 16
PREPROCESSING = Preprocessing(input_size=(3, SIDE, SIDE))
PLAIN = Recipe(name="plain", batch_size=2, epochs=COLUMNS // 2, crop_scale=(0.35, 1.0), seed=1)
ROWS: dict[str, dict[str, object]] = {
    "crop_scale = [0.35, 1], flip = 0.5": {},
    "color_jitter = 0.4": {"color_jitter": 0.4},
    'auto_augment = "ta_wide"': {"auto_augment": "ta_wide"},
    'auto_augment = "ra"': {"auto_augment": "ra"},
    'auto_augment = "rand-m7-mstd0.5-inc1"': {"auto_augment": "rand-m7-mstd0.5-inc1"},
    'auto_augment = "augmix-m3"': {"auto_augment": "augmix-m3"},
    "random_erase = 0.5": {"random_erase": 0.5},
    "mixup_alpha = 0.4": {"mixup_alpha": 0.4},
    "cutmix_alpha = 1": {"cutmix_alpha": 1.0},
}


def photographs() -> Examples:
    """Return the two photographs, as large as a network's input needs."""
    images = [
        tf.image.resize(sklearn.datasets.load_sample_image(name), (214, 320), antialias=True)
        for name in ("china.jpg", "flower.jpg")
    ]
    pixels = np.clip(np.rint(np.stack(images)), 0, 255).astype(np.uint8)
    return Examples(ArraySource(pixels, np.arange(2), ["china", "flower"]))


def main(folder: str = "images") -> None:
    """Write the picture into a folder."""
    examples = photographs()
    row_height = line_height(FONT) + SIDE + 3 * GAP
    width = 2 * MARGIN + COLUMNS * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + len(ROWS) * row_height), "white")
    for row, (words, changes) in enumerate(ROWS.items()):
        top = MARGIN + row * row_height
        write(sheet, words, MARGIN, top, width, FONT)
        recipe = dataclasses.replace(PLAIN, **changes)
        drawn = pipeline.train_batches(examples, PREPROCESSING, recipe, classes=2)
        images = np.concatenate([batch for batch, _ in drawn.as_numpy_iterator()])
        for column, image in enumerate(images):
            left = MARGIN + column * (SIDE + GAP)
            paste(sheet, image, left, top + line_height(FONT) + GAP, SIDE)
    path = Path(folder) / "augmentations.jpg"
    sheet.save(path, quality=88)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
