"""Datasets: how they are opened, and what an opened one gives."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rezoo.data.dataset_references import DatasetReference, dataset_spec
from rezoo.data.file_names import near_names, require_utf8
from rezoo.data.listing import joined
from rezoo.errors import DataWarning, PluginError, SpecError
from rezoo.specs import DatasetSpec, Preprocessing

if TYPE_CHECKING:
    import tensorflow as tf

    from rezoo.data.examples import Examples, Splits
    from rezoo.sources.any_model import AnyModel

ON_BAD_IMAGE = ("skip", "error")
CACHE = ("auto", "off")


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

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of a network that starts from random weights on this data."""
        return default_preprocessing(self.spec)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(part)}" for name, part in self.splits.parts.items())
        return f"<Dataset {self.reference}: {len(self.class_names)} classes; {sizes}>"

    def examples(self, split: str) -> Examples:
        """Return a split, `"train"`, `"val"`, `"test"` or `"all"`; `NotFoundError` if absent."""
        return self.splits[split]

    def batches(
        self,
        split: str,
        *,
        model: AnyModel | None = None,
        preprocessing: Preprocessing | None = None,
        batch_size: int = 32,
        image_size: int | None = None,
    ) -> tf.data.Dataset:
        """Return a split in order, with the test transform (no augmentation).

        Images are prepared for one network, so either `model` or `preprocessing` is needed. With
        a model, they are those of `rezoo.evaluate` and `rezoo.preprocess`.

        Args:
            split: `"train"`, `"val"`, `"test"` or `"all"`.
            model: The network: a reference with weights, or a model of rezoo.
            preprocessing: Size and normalization; `dataset.preprocessing` for a network that
                starts from random weights.
            batch_size: Images per batch; the last batch may have fewer.
            image_size: Height and width in pixels; None for those of `model` or `preprocessing`.

        Returns:
            A `tf.data.Dataset` of `(images, labels)`. Images are float32 `(B, H, W, C)`. Labels
            are int32 `(B,)`; for multi-label data float32 `(B, K)` of zeros and ones. Images that
            cannot be decoded are left out with a warning, so the number of batches is not known
            beforehand: Keras says at the end that it "ran out of data".

        Raises:
            SpecError: Neither or both of `model` and `preprocessing` are given, the model's
                preprocessing is not known, or a number is out of bounds.
            NotFoundError: The dataset has no such split.
        """
        from rezoo.data.batches import as_dataset

        if batch_size < 1:
            raise SpecError(f"batch_size: {batch_size}; it must be 1 or more")
        if (model is None) == (preprocessing is None):
            raise SpecError(
                "batches need either model or preprocessing: networks differ in what they take",
                hint='batches("test", model=model), or for a network with random weights '
                "preprocessing=dataset.preprocessing.",
            )
        if preprocessing is None:
            from rezoo.sources.any_model import source_of

            preprocessing = source_of(model, image_size=image_size).config.preprocessing.for_test()
        return as_dataset(self, split, preprocessing.at(image_size), batch_size=batch_size)


def default_preprocessing(spec: DatasetSpec) -> Preprocessing:
    """Return the preprocessing of a network that starts from random weights on this data."""
    return Preprocessing(
        input_size=(len(spec.mean), spec.image_size, spec.image_size), mean=spec.mean, std=spec.std
    )


def open_splits(reference: DatasetReference) -> Splits:
    """Open a dataset as it is: no example is left out, and no validation split is held out.

    If it has no test split, `Splits.with_test` makes one. Class names that differ only in case,
    blanks, `_` or Unicode's form are named in a warning.

    Raises:
        PluginError: The dataset's `open` did not return `Splits`.
        IntegrityError: A class name is not Unicode.
        RezooError: As `load_dataset`, except for faults of single entries.
    """
    spec = dataset_spec(reference)
    splits = spec.open()
    from rezoo.data.examples import Splits

    if not isinstance(splits, Splits):
        raise PluginError(
            f"dataset {spec.name!r}: open returned a {type(splits).__name__}, "
            "not rezoo.data.examples.Splits"
        )
    for name in splits.class_names:
        require_utf8(name)
    if near := near_names(splits.class_names):
        first = " and ".join(map(repr, near[0]))
        more = f", and {len(near) - 1:,} more groups," if len(near) > 1 else ""
        text = f"{spec.name}: classes {first}{more} differ only in case, blanks or _: are they one?"
        warnings.warn(DataWarning(text), stacklevel=3)
    return splits.with_test()


def load_dataset(
    reference: DatasetReference | Dataset,
    options: DataOptions = DataOptions(),
    *,
    val_fraction: float | None = None,
) -> Dataset:
    """Open a dataset. If it must be downloaded, its first use does so.

    Of image files, the headers of some are read: see `rezoo.data.unreadable.drop_unreadable`.

    Args:
        reference: A registered name (`"digits"`), `"folder:PATH"`, `"csv:PATH"`,
            `"tfds:NAME[:version]"`, `"hf:OWNER/NAME[@revision]"`, or a description. A `Path` is a
            table if it ends in `.csv`, else a folder. An opened dataset is returned as it is.
        options: What happens to images that cannot be read, and which examples are left out.
        val_fraction: The part of train that is held out, if the data has no validation split;
            None for that of the dataset.

    Raises:
        UnknownNameError: There is no such dataset; the hint has near names.
        SpecError: The reference is incomplete or of another type.
        NotFoundError: A folder is missing or has no images.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: More images are damaged than the options allow (one percent), or the name
            of an image is not UTF-8.
        IncompatibleError: A file has two classes or splits, or a row of a table lacks a value.
    """
    if isinstance(reference, Dataset):
        return reference
    from rezoo.data.ignored import without_listed
    from rezoo.data.unreadable import drop_unreadable

    spec = dataset_spec(reference)
    splits = open_splits(spec)
    if splits.faults:
        raise joined(splits.faults, spec.name)
    if options.ignore:
        splits = without_listed(splits, Path(options.ignore))
    splits = drop_unreadable(splits, options, spec.name)
    held_out = splits.with_validation(val_fraction, usual=spec.val_fraction)
    return Dataset(spec.name, spec, held_out)
