"""Oxford-IIIT Pet: 37 breeds of cats and dogs, about 200 photographs each.

Source: Parkhi et al. 2012, "Cats and Dogs". Read through TFDS, which downloads and
converts it at the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.specs import DatasetSpec

if TYPE_CHECKING:
    from rezoo.data.examples import Splits


def open_pets() -> Splits:
    """Return the dataset's own splits, train (its "trainval") and test."""
    from rezoo.data.tfds import open_tfds

    splits = {"train": "train", "test": "test"}
    return open_tfds("oxford_iiit_pet", splits=splits, licence=oxford_iiit_pet.licence)


oxford_iiit_pet = DatasetSpec(
    name="oxford_iiit_pet",
    open=open_pets,
    summary="7,349 cats and dogs by breed; downloads 774 MiB",
    classes=37,
    licence="CC BY-SA 4.0",
    shareable=True,
    recipe="quick",
)
