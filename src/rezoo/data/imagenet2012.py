"""ImageNet (ILSVRC 2012): 1000 classes, 1.28 million photographs.

Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge". Only
registered users get it from its authors, so its two archives are downloaded by hand. Published
accuracies are those of the validation split, whose labels are public. Here it is `test`, and a
hundredth of train is held out as `val`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rezoo.artifacts.config import imagenet1k_classes
from rezoo.specs import DatasetSpec

if TYPE_CHECKING:
    from rezoo.data.examples import Splits

ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


def open_imagenet() -> Splits:
    """Return train and test (the official validation split); class names are WordNet ids."""
    from rezoo.data.tfds import open_tfds

    opened = open_tfds(
        "imagenet2012",
        splits={"train": "train", "test": "validation"},
        licence=imagenet2012.licence,
        archives=ARCHIVES,
    )
    names = dict(zip(*imagenet1k_classes(), strict=True))
    described = tuple(names[wnid] for wnid in opened.class_names)
    return dataclasses.replace(opened, class_descriptions=described)


imagenet2012 = DatasetSpec(
    name="imagenet2012",
    open=open_imagenet,
    summary="1.28 million photographs; archives by hand",
    classes=1000,
    licence="research only (image-net.org)",
    recipe="scratch",
    hub_id="imagenet-1k",
    val_fraction=0.01,
)
