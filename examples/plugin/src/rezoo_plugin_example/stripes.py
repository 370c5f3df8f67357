"""stripes: made-up images, drawn by NumPy, to try things on. An accuracy on it means nothing.

Each image shows noisy stripes in one of four directions: the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.specs import DatasetSpec

if TYPE_CHECKING:
    from rezoo.data.examples import Splits

CLASSES = ("horizontal", "vertical", "rising", "falling")
SIDE = 16
COUNTS = {"train": 400, "test": 100}


def open_stripes() -> Splits:
    """Draw train and test; rezoo holds a validation part out of train."""
    import numpy as np  # inside the function, like everything that takes time to import

    from rezoo.data.examples import Examples, Splits
    from rezoo.data.image_sources import ArraySource

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    directions = np.stack([y, x, x + y, x - y])
    parts = {}
    for split, count in COUNTS.items():
        labels = np.arange(count, dtype=np.int32) % len(CLASSES)
        phases = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        waves = 128 + 60 * np.sin(directions[labels] * 1.2 + phases)
        noisy = waves + rng.normal(0, 40, waves.shape)
        images = np.clip(noisy, 0, 255).astype(np.uint8)[..., None]  # (N, H, W, 1)
        # keys name the examples for good: the validation part depends on nothing else
        parts[split] = Examples(ArraySource(images, labels, [f"{split}/{i}" for i in range(count)]))
    return Splits(parts=parts, class_names=CLASSES)


stripes = DatasetSpec(
    name="stripes",
    open=open_stripes,
    summary="500 made-up 16x16 images of stripes in four directions",
    classes=len(CLASSES),
    licence="CC0-1.0",
    recipe="quick",
    overrides={"image_size": SIDE, "flip": 0.0},  # mirrored, a rising stripe falls
    image_size=SIDE,
    mean=(0.5,),
    std=(0.25,),
)
