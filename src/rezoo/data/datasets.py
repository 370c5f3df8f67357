"""Dataset references: what is registered, what a reference means, and how it is opened."""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rezoo import registry
from rezoo.errors import DataWarning, NotFoundError, PluginError, SpecError
from rezoo.specs import DatasetSpec, Preprocessing

if TYPE_CHECKING:
    import tensorflow as tf

    from rezoo.data.examples import Examples, Splits

ON_BAD_IMAGE = ("skip", "error")
CACHE = ("auto", "off")
_KINDS = {  # prefix → what follows it, module and function that open it, licence
    "folder": ("PATH", "folder", "open_folder", "yours"),
    "csv": ("PATH", "csv_files", "open_csv", "yours"),
    "tfds": ("NAME", "tfds", "open_tfds", "unknown"),
    "hf": ("OWNER/NAME", "hf", "open_hf", "unknown"),
}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How data are read: options of files and the machine, which no recipe has.

    Attributes:
        on_bad_image: What happens to images that cannot be read: `"skip"` leaves them out, counts
            and names them; `"error"` stops.
        bad_limit: The part of the dataset's images that may be left out in this way, 0 to 1.
            Above it, reading stops with an error.
        ignore: A file with the keys of examples to leave out, one per line, as `rezoo data check`
            writes it; empty for none.
        cache: `"auto"` keeps a split in memory if it takes at most a quarter of the free memory,
            `"off"` reads from the disk each time. It changes no pixel.

    Raises:
        SpecError: A value is not allowed.
    """

    on_bad_image: str = "skip"
    bad_limit: float = 0.01
    ignore: str = ""
    cache: str = "auto"

    def __post_init__(self) -> None:
        for key, allowed in (("on_bad_image", ON_BAD_IMAGE), ("cache", CACHE)):
            if getattr(self, key) not in allowed:
                raise SpecError(
                    f"{key}: {getattr(self, key)!r}; allowed are {' and '.join(allowed)}"
                )
        if not 0 <= self.bad_limit <= 1:
            raise SpecError(f"bad_limit: {self.bad_limit}; allowed is 0 to 1")


@dataclass(frozen=True)
class Dataset:
    """An opened dataset.

    Attributes:
        reference: The reference that was opened.
        spec: Its description.
        splits: Its examples: `splits["train"]`. If there is no validation split, one has been held
            out of train.

    Raises:
        IncompatibleError: A label is not a class.
    """

    reference: str
    spec: DatasetSpec
    splits: Splits

    def __post_init__(self) -> None:
        from rezoo.data.labels import check_labels

        check_labels(self.splits, self.reference)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return self.splits.class_names

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(part)}" for name, part in self.splits.parts.items())
        return f"<Dataset {self.reference}: {len(self.class_names)} classes; {sizes}>"

    def examples(self, split: str) -> Examples:
        """Return a split, `"train"`, `"val"`, `"test"` or `"all"`; `NotFoundError` if absent."""
        return self.splits[split]

    def batches(
        self, split: str, *, batch_size: int = 32, image_size: int | None = None
    ) -> tf.data.Dataset:
        """Return a split in order, with the test transform (no augmentation).

        Args:
            split: `"train"`, `"val"`, `"test"` or `"all"`.
            batch_size: Images per batch; the last batch may have fewer.
            image_size: Height and width in pixels, or None for the dataset's own size.

        Returns:
            A `tf.data.Dataset` of `(images, labels)`. Images are float32 `(B, H, W, C)`. Labels
            are int32 `(B,)`; for multi-label data float32 `(B, K)` of zeros and ones. Images that
            cannot be decoded are left out with a warning.

        Raises:
            NotFoundError: The dataset has no such split.
        """
        from rezoo.data.batches import as_dataset

        preprocessing = default_preprocessing(self.spec).at(image_size)
        return as_dataset(self, split, preprocessing, batch_size=batch_size)


def list_datasets() -> list[str]:
    """Return the names of all registered datasets, without importing NumPy or TensorFlow."""
    return registry.datasets.names()


def default_preprocessing(spec: DatasetSpec) -> Preprocessing:
    """Return the preprocessing of a network that starts from random weights on this data."""
    return Preprocessing(
        input_size=(len(spec.mean), spec.image_size, spec.image_size), mean=spec.mean, std=spec.std
    )


def dataset_spec(reference: str | DatasetSpec) -> DatasetSpec:
    """Return the description that a reference means, without opening the data.

    Args:
        reference: A registered name, `folder:PATH`, `csv:PATH`, `tfds:NAME[:version]` or
            `hf:OWNER/NAME[@revision]`. A description is returned as it is.

    Raises:
        UnknownNameError: The name is unknown; the hint has near ones.
        NotFoundError: There is no such folder or table.
        SpecError: Nothing follows the prefix.
    """
    if isinstance(reference, DatasetSpec):
        return reference
    kind, colon, rest = reference.partition(":")
    if not colon or kind not in _KINDS:
        return registry.datasets.get(reference)
    follows, module, function, licence = _KINDS[kind]
    if not rest:
        raise SpecError(f"dataset {reference!r} is incomplete", hint=f"write {kind}:{follows}")
    if follows == "PATH" and not os.path.lexists(os.path.expanduser(rest)):
        what = "folder" if kind == "folder" else "file"
        raise NotFoundError(f"no such {what}: {rest}", hint="check the path.")
    open_it = functools.partial(_open, f"rezoo.data.{module}", function, rest)
    return DatasetSpec(name=reference, open=open_it, licence=licence)


def open_splits(reference: str | DatasetSpec) -> Splits:
    """Open a dataset as it is: no example is left out, and no validation split is held out.

    Raises:
        PluginError: The dataset's `open` did not return `Splits`.
        RezooError: As `load_dataset`, except for images that cannot be decoded.
    """
    spec = dataset_spec(reference)
    splits = spec.open()
    from rezoo.data.examples import Splits

    if not isinstance(splits, Splits):
        raise PluginError(
            f"dataset {spec.name!r}: open returned a {type(splits).__name__}, "
            "not rezoo.data.examples.Splits"
        )
    return splits


def load_dataset(
    reference: str | DatasetSpec,
    options: DataOptions = DataOptions(),
) -> Dataset:
    """Open a dataset. If it must be downloaded, its first use does so.

    Of image files, the headers of some are read: see `rezoo.data.unreadable.drop_unreadable`.

    Args:
        reference: A registered name (`"digits"`), `"folder:PATH"`, `"csv:PATH"`,
            `"tfds:NAME[:version]"`, `"hf:OWNER/NAME[@revision]"`, or a description.
        options: What happens to images that cannot be read, and which examples are left out.

    Raises:
        UnknownNameError: There is no such dataset; the hint has near names.
        NotFoundError: A folder is missing or has no images.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: More images are damaged than the options allow (one percent).
    """
    from rezoo.data.unreadable import drop_unreadable

    spec = dataset_spec(reference)
    splits = open_splits(spec)
    if options.ignore:
        splits = _without_ignored(splits, Path(options.ignore))
    splits = drop_unreadable(splits, options, spec.name)
    return Dataset(spec.name, spec, splits.with_validation(spec.val_fraction))


def _open(module: str, function: str, rest: str) -> Splits:
    splits: Splits = getattr(importlib.import_module(module), function)(rest)
    return splits


def _without_ignored(splits: Splits, path: Path) -> Splits:
    """Return the splits without the examples in a list of keys.

    The list is UTF-8 with one key per line; lines that begin with # are comments.
    """
    try:
        lines = path.expanduser().read_text("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise NotFoundError(
            f"cannot read the list {path}: {error.strerror}",
            hint="`rezoo data check` writes one.",
        ) from error
    listed = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    left_out, unknown = {}, set(listed)
    for split, part in splits.parts.items():
        keys = {part.key(i): i for i in range(len(part))}
        left_out[split] = {keys[key] for key in listed & keys.keys()}
        unknown -= keys.keys()
    if unknown:
        shown = ", ".join(sorted(unknown)[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        text = f"{path} lists {len(unknown)} examples that the dataset does not have: "
        warnings.warn(DataWarning(text + shown + more), stacklevel=3)
    count = sum(map(len, left_out.values()))
    return splits.without(left_out, f"{count} examples left out by {path.name}")
