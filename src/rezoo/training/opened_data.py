"""The splits that a run trains and validates on."""

from __future__ import annotations

from rezoo.data.datasets import DataOptions, Dataset
from rezoo.data.unreadable import Faults
from rezoo.errors import SpecError


def check_data(data: Dataset) -> None:
    """Check that a network can be trained and validated on a dataset.

    Raises:
        NotFoundError: It has no train split.
        SpecError: It has one class, no validation image, or none with a label.
    """
    data.examples("train")
    if len(data.class_names) < 2 and not data.splits.multi_label:
        raise SpecError(
            f"{data.reference} has only one class, {data.class_names[0]!r}; two are needed",
            hint="a folder of photographs has one folder for each class.",
        )
    if "val" not in data.splits.parts:
        raise SpecError(
            f"{data.reference} has no validation image",
            hint="each class needs at least two training images.",
        )
    known = data.examples("val").labels()
    if data.splits.multi_label and known is not None and not known.any():
        raise SpecError(
            f"no validation image of {data.reference} has a label: val has {len(known)} images",
            hint="mark validation images with val in the column split.",
        )


def opened_splits(
    data: Dataset, channels: int, options: DataOptions
) -> tuple[Faults, Faults, list[str]]:
    """Return the splits for training and validation, in memory if they fit, and notes."""
    from rezoo.data.cache import in_memory  # imports TensorFlow

    parts, notes = {}, []
    names, total = data.class_names, sum(map(len, data.splits.parts.values()))
    for split in ("train", "val"):
        examples, done = data.examples(split), ""
        if options.cache == "auto":
            examples, done = in_memory(examples, channels=channels)
        if done:
            notes.append(f"{split}: {done}")
        parts[split] = Faults(examples, options, f"{data.reference} ({split})", names, total)
    return parts["train"], parts["val"], notes
