"""The contract of a dataset: splits, classes, labels, names, images, order and licence."""

from __future__ import annotations

import hashlib
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rezoo import registry
from rezoo.errors import DataWarning
from rezoo.specs import DatasetSpec
from rezoo.testing import elsewhere
from rezoo.testing.contract import BrokenContractError, Subject

if TYPE_CHECKING:
    from rezoo.data.datasets import Dataset
    from rezoo.data.examples import Examples, Splits

_LOOKED_AT = 16  # images of a split
_BATCH = 8
_SHOWN = 3


class OpenedDataset(Subject):
    """A registered dataset, opened once for all checks."""

    kind = "dataset"
    group = "rezoo.datasets"

    @cached_property
    def spec(self) -> DatasetSpec:
        """The registered spec."""
        return registry.datasets.get(self.name)

    @cached_property
    def splits(self) -> Splits:
        """What `open` gives."""
        from rezoo.data.datasets import open_splits

        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)  # such as near names of classes
            return open_splits(self.name)

    @cached_property
    def dataset(self) -> Dataset:
        """The same as a run gets it: with test and validation splits."""
        from rezoo.data.datasets import load_dataset

        return load_dataset(self.name)


def opening(data: OpenedDataset) -> str:
    """`open` returns `Splits` without faults."""
    try:
        splits = data.splits
    except DataWarning as warning:
        raise BrokenContractError(str(warning)) from None
    if splits.faults:
        raise BrokenContractError(splits.faults[0].message)
    return f"{len(splits.parts)} splits of {len(splits.class_names)} classes"


def metadata(data: OpenedDataset) -> str:
    """The spec describes the data, and its recipe trains on them."""
    from rezoo.data.datasets import default_preprocessing
    from rezoo.recipes import resolve_recipe

    spec = data.spec
    if spec.name != data.name:
        raise BrokenContractError(f"the spec is called {spec.name!r}, registered as {data.name!r}")
    if not spec.summary.strip() or "\n" in spec.summary:
        raise BrokenContractError("summary is not one line of text")
    if not 0 < spec.val_fraction < 1:
        raise BrokenContractError(f"val_fraction is {spec.val_fraction}; allowed is 0 to 1")
    preprocessing = default_preprocessing(spec)  # checks image_size, mean and std
    recipe, _ = resolve_recipe(spec.recipe, spec, {}, preprocessing=preprocessing)
    return f"{spec.summary}; recipe {recipe.name} at {recipe.image_size} px"


def licence(data: OpenedDataset) -> str:
    """The licence is what the authors state: the default, "unknown", is refused."""
    stated = data.spec.licence.strip()
    if not stated or stated.lower() == "unknown":
        share = " and shareable=True" if data.spec.shareable else ""
        raise BrokenContractError(
            f"licence is {data.spec.licence!r}{share}: state what the data's authors state, or "
            "'none stated'"
        )
    return f"{stated}; single images {'may' if data.spec.shareable else 'may not'} be published"


def splits(data: OpenedDataset) -> str:
    """There is a train split, and no split is empty."""
    from rezoo.data.examples import SPLITS

    parts = data.splits.parts
    for name, part in parts.items():
        if name not in SPLITS:
            raise BrokenContractError(f"a split is called {name!r}; allowed are {SPLITS}")
        if not len(part):
            raise BrokenContractError(f"the split {name!r} has no images")
    if "train" not in parts:
        raise BrokenContractError("there is no split 'train'")
    return ", ".join(f"{name} {len(part):,}" for name, part in data.dataset.splits.parts.items())


def class_names(data: OpenedDataset) -> str:
    """Each class has a name, and there are as many as the spec states."""
    names, stated = data.splits.class_names, data.spec.classes
    if len(names) < 2:
        raise BrokenContractError(f"there are {len(names)} class names; at least 2 are needed")
    if stated not in (None, len(names)):
        raise BrokenContractError(f"the spec states {stated} classes; there are {len(names)} names")
    if any(not isinstance(name, str) or not name.strip() for name in names):
        raise BrokenContractError("a class name is empty or not a text")
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"


def labels(data: OpenedDataset) -> str:
    """Each label is a class, and each class has images to train on."""
    import numpy as np

    names, parts = data.splits.class_names, data.dataset.splits.parts  # opening checks the range
    known = parts["train"].labels()
    if known is None:
        found = [int(label) for _, label in _examples(parts["train"]) if not np.ndim(label)]
        if wrong := [label for label in found if not 0 <= label < len(names)]:
            raise BrokenContractError(f"a label is {wrong[0]}; allowed is 0 to {len(names) - 1}")
        return "known by reading only; those of some images are classes"
    count = known.sum(0) if known.ndim == 2 else np.bincount(known, minlength=len(names))
    if empty := [name for name, n in zip(names, count, strict=True) if not n]:
        raise BrokenContractError(
            f"no training image has the class {' or '.join(map(repr, empty[:_SHOWN]))}"
        )
    return f"{min(count):,} to {max(count):,} training images a class"


def keys(data: OpenedDataset) -> str:
    """Each image has a key of its own, so that splits share none."""
    seen: dict[str, str] = {}
    for name, part in data.splits.parts.items():
        for index in range(len(part)):
            key = part.key(index)
            if key in seen:
                where = "twice" if seen[key] == name else f"in {seen[key]}, too"
                raise BrokenContractError(f"the key {key!r} of {name} is {where}")
            seen[key] = name
    return f"{len(seen):,} keys, such as {next(iter(seen))!r}"


def images(data: OpenedDataset) -> str:
    """Images are uint8 or files that can be read, with the channels of the spec."""
    channels, found = len(data.spec.mean), set()
    for name, part in data.splits.parts.items():
        for image, _ in _examples(part):
            if part.encoded:
                continue  # `_examples` has decoded it
            if image.dtype.name != "uint8" or image.ndim != 3 or image.shape[-1] not in (1, 3):
                raise BrokenContractError(
                    f"an image of {name} is {image.dtype} of the shape {image.shape}; it must be "
                    "uint8 (H, W, C), C = 1 or 3"
                )
            if image.shape[-1] != channels:
                raise BrokenContractError(
                    f"images have {image.shape[-1]} channels; mean and std have {channels}"
                )
            found.add("×".join(map(str, image.shape)))
    if not found:
        return f"files, some decoded; read in {'colour' if channels == 3 else 'grey'}, as mean says"
    return f"uint8, {' and '.join(sorted(found)[:_SHOWN])}"


def same_each_time(data: OpenedDataset) -> str:
    """Keys, labels and images are the same at a second opening and in another process."""
    from rezoo.data.datasets import open_splits

    here = digests(data.splits)
    there = elsewhere.ask("order", data.scratch, data.name, PYTHONHASHSEED="1")
    for name, digest in here.items():
        if there.get(name) != digest:
            raise BrokenContractError(
                f"keys or labels of {name} are others in another process: sort what a folder or a "
                "set lists, and seed random numbers"
            )
    again = open_splits(data.name)
    for name, part in data.splits.parts.items():
        pairs = zip(_examples(part), _examples(again.parts[name]), strict=True)
        if any(one.tobytes() != two.tobytes() for (one, _), (two, _) in pairs):
            raise BrokenContractError(f"images of {name} are others at a second opening")
    return "keys and labels in another process, images at a second opening"


def stateless_order(data: OpenedDataset) -> str:
    """A run that starts at any step gets the batches of the whole run."""
    whole = _batches(data)
    if len(whole) < 2:
        return f"not checked: train has under {2 * _BATCH} images"
    for first in (0, 1):
        rest = _batches(data, first)
        if any(one != two for one, two in zip(whole[first:], rest, strict=True)):
            raise BrokenContractError("the same step of the same epoch has other images or labels")
    return f"{len(whole)} batches twice, and from the second on"


def digests(opened: Splits) -> dict[str, str]:
    """Return a digest of keys and labels of each split."""
    found = {}
    for name, part in opened.parts.items():
        digest = hashlib.blake2b(digest_size=16)
        for index in range(len(part)):
            digest.update(part.key(index).encode("utf-8", "surrogateescape") + b"\0")
        known = part.labels()
        digest.update(b"" if known is None else known.tobytes())
        found[name] = digest.hexdigest()
    return found


def _examples(part: Examples) -> list[tuple[Any, Any]]:
    """Return some images, evenly spaced, with their labels; files are decoded."""
    import numpy as np
    import tensorflow as tf

    from rezoo.data.images import decode

    places = np.unique(np.linspace(0, len(part) - 1, _LOOKED_AT).astype(int))

    @tf.autograph.experimental.do_not_convert
    def fetch(index: Any) -> tuple[Any, Any]:
        image, label = part.fetch(index)
        return decode(image, 3) if part.encoded else image, label

    stream = tf.data.Dataset.from_tensor_slices(places).map(fetch)
    return list(stream.as_numpy_iterator())


def _batches(data: OpenedDataset, first_step: int = 0) -> list[bytes]:
    """Return the augmented batches of an epoch of some training images, from a step on."""
    import numpy as np

    from rezoo.data.pipeline import train_batches
    from rezoo.recipes.recipe import Recipe

    recipe = Recipe(name="check", epochs=1, batch_size=_BATCH, seed=3)
    train = data.dataset.splits["train"]
    some = train.select(np.arange(min(len(train), 4 * _BATCH)))
    small = data.dataset.preprocessing.at(min(data.spec.image_size, 32))
    names = data.splits.class_names
    stream = train_batches(some, small, recipe, classes=len(names), first_step=first_step)
    return [x.tobytes() + y.tobytes() for x, y in stream.as_numpy_iterator()]
