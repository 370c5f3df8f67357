"""A dataset reference becomes an opened dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rezoo import registry
from rezoo.data.options import DataOptions
from rezoo.errors import PluginError, SpecError
from rezoo.specs import DatasetSpec, Preprocessing

if TYPE_CHECKING:
    import tensorflow as tf

    from rezoo.data.examples import Examples, Splits


def list_datasets() -> list[str]:
    """Return the names of all registered datasets, without importing NumPy or TensorFlow."""
    return registry.datasets.names()


@dataclass(frozen=True)
class Dataset:
    """An opened dataset.

    Attributes:
        reference: What it was opened with.
        spec: Its description.
        splits: Its examples: `splits["train"]`; a validation part is always held out of train.
    """

    reference: str
    spec: DatasetSpec
    splits: Splits

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
            batch_size: Images in a batch; the last may have fewer.
            image_size: Height and width in pixels; the dataset's own size where not given.

        Returns:
            A `tf.data.Dataset` of `(images, labels)`: float32 `(B, H, W, C)`, and int32 `(B,)`, or
            of multi-label data float32 `(B, K)` of zeros and ones.
        """
        from rezoo.data.pipeline import test_batches

        preprocessing = default_preprocessing(self.spec).at(image_size)
        return test_batches(self.examples(split), preprocessing, batch_size=batch_size)


def default_preprocessing(spec: DatasetSpec) -> Preprocessing:
    """Return the preprocessing of a network that starts from random weights on this data."""
    return Preprocessing(
        input_size=(len(spec.mean), spec.image_size, spec.image_size), mean=spec.mean, std=spec.std
    )


def dataset_spec(reference: str) -> DatasetSpec:
    """Return the description that a reference means, without opening the data.

    Args:
        reference: A registered name, `folder:PATH`, `csv:PATH`, `tfds:NAME[:version]` or
            `hf:OWNER/NAME[@revision]`.

    Raises:
        UnknownNameError: No such name or kind; the hint has near ones.
    """
    kind, colon, rest = reference.partition(":")
    if colon and kind in _KINDS:
        if not rest:
            raise SpecError(
                f"dataset {reference!r} names nothing", hint=f"write {kind}:{_KINDS[kind][0]}"
            )
        return _KINDS[kind][1](reference, rest)
    return registry.datasets.get(reference)


def open_splits(reference: str) -> Splits:
    """Open a dataset as it is: nothing left out, and no validation part held out.

    Raises as `load_dataset` does, but for what cannot be decoded.
    """
    splits = dataset_spec(reference).open()
    from rezoo.data.examples import Splits

    if not isinstance(splits, Splits):
        raise PluginError(
            f"dataset {reference!r}: open returned a {type(splits).__name__}, "
            "not rezoo.data.examples.Splits"
        )
    return splits


def load_dataset(reference: str, options: DataOptions = DataOptions()) -> Dataset:  # noqa: B008
    """Open a dataset; the first use of one that must be downloaded does so.

    Args:
        reference: A registered name (`"digits"`), `"folder:PATH"`, `"csv:PATH"`,
            `"tfds:NAME[:version]"` or `"hf:OWNER/NAME[@revision]"`.

        options: What happens to images that cannot be read, and which are left out.

    Raises:
        UnknownNameError: No such dataset; the hint has near names.
        NotFoundError: A folder that is missing or has no images.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: More images are damaged than the options allow (one percent).
    """
    spec = dataset_spec(reference)
    splits = open_splits(reference)
    if options.ignore:
        from rezoo.data.ignoring import drop_ignored

        splits = drop_ignored(splits, options.ignore)
    from rezoo.data.unreadable import drop_unreadable

    splits = drop_unreadable(splits, options, reference)
    return Dataset(reference, spec, splits.with_validation(spec.val_fraction))


def _folder(reference: str, path: str) -> DatasetSpec:
    def open_it() -> Splits:
        from rezoo.data.folder import open_folder

        return open_folder(path)

    return DatasetSpec(name=reference, open=open_it, licence="yours")


def _csv(reference: str, path: str) -> DatasetSpec:
    def open_it() -> Splits:
        from rezoo.data.csv_files import open_csv

        return open_csv(path)

    return DatasetSpec(name=reference, open=open_it, licence="yours")


def _tfds(reference: str, name: str) -> DatasetSpec:
    def open_it() -> Splits:
        from rezoo.data.tfds import open_tfds

        return open_tfds(name)

    return DatasetSpec(name=reference, open=open_it)


def _hf(reference: str, rest: str) -> DatasetSpec:
    def open_it() -> Splits:
        from rezoo.data.hf import open_hf

        return open_hf(rest)

    return DatasetSpec(name=reference, open=open_it)


_KINDS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "folder": ("PATH", _folder),
    "csv": ("PATH", _csv),
    "tfds": ("NAME", _tfds),
    "hf": ("OWNER/NAME", _hf),
}
