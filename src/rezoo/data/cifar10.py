"""CIFAR-10: 60,000 photographs of 32x32 pixels in 10 classes.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". Read through
TFDS, which downloads and converts it at the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.specs import DatasetSpec

if TYPE_CHECKING:
    from rezoo.data.examples import Splits


def open_cifar10() -> Splits:
    """Return the dataset's own splits, train (50,000) and test (10,000)."""
    from rezoo.data.tfds import open_tfds

    return open_tfds("cifar10", licence=cifar10.licence)


cifar10 = DatasetSpec(
    name="cifar10",
    open=open_cifar10,
    summary="60,000 tiny photographs of things and animals; downloads 163 MiB",
    classes=10,
    licence="none stated",
    recipe="cifar",
    image_size=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    overrides={"crop_pct": 1.0},
)
