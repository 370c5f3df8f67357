"""The embedded dataset: 1,797 handwritten digits of 8x8 pixels, by 43 people.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (the test
part), as scikit-learn carries it: no network, no download.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.specs import DatasetSpec

if TYPE_CHECKING:
    from rezoo.data.examples import Splits

TEST_FRACTION = 0.2


def open_digits() -> Splits:
    """Return train and test; a fifth of each class, chosen by a fixed rule, is test."""
    import numpy as np
    from sklearn.datasets import load_digits

    from rezoo.data.examples import Examples, Splits
    from rezoo.data.image_sources import ArraySource

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    keys = [f"digits/{i}" for i in range(len(images))]
    every = Examples(ArraySource(images, labels, keys))
    train, test = every.hold_out(TEST_FRACTION)
    return Splits(parts={"train": train, "test": test}, class_names=tuple("0123456789"))


digits = DatasetSpec(
    name="digits",
    open=open_digits,
    summary="1,797 handwritten digits, 8x8 grey; no download",
    classes=10,
    licence="CC BY 4.0",
    shareable=True,
    recipe="quick",
    # A mirrored digit is another sign. Its strokes reach the border, so crops are gentle.
    overrides={
        "image_size": 32,
        "crop_pct": 1.0,
        "crop_scale": (0.7, 1.0),
        "crop_ratio": (0.8, 1.25),
        "flip": 0.0,
    },
    image_size=32,
    mean=(0.5,),
    std=(0.5,),
)
