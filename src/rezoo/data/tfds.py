"""Datasets of TensorFlow Datasets (TFDS): examples by index, images still encoded."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.image_sources import ImageSource
from rezoo.data.records import RecordFiles, open_records
from rezoo.data.tfds_prepare import prepare
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    UnknownNameError,
)
from rezoo.utils.names import near
from rezoo.utils.paths import data_dir

_CATALOGUE = "https://www.tensorflow.org/datasets/catalog"
_REFERENCE = re.compile(r"(?P<name>\w+)(?:/(?P<config>[\w.-]+))?(?::(?P<version>\d+\.\d+\.\d+))?")


@dataclass(frozen=True, eq=False)
class RecordSource(ImageSource):
    """Examples of one split of a prepared TFDS dataset."""

    records: RecordFiles
    prefix: str  # the beginning of the examples' keys: `oxford_iiit_pet:4.0.0/train`
    image: str  # name of the image feature
    label: str  # name of the label feature
    encoded = True

    def __len__(self) -> int:
        return len(self.records)

    def fetch(self, position: Any) -> tuple[Any, Any]:
        return self.parse(self.records.fetch(position))

    def parse(self, record: Any) -> tuple[Any, Any]:
        """Return the image and the label in a record."""
        import tensorflow as tf

        kinds = {
            self.image: tf.io.FixedLenFeature([], tf.string),
            self.label: tf.io.FixedLenFeature([], tf.int64),
        }
        found = tf.io.parse_single_example(record, kinds)
        return found[self.image], tf.cast(found[self.label], tf.int32)

    def key(self, position: int) -> str:
        return f"{self.prefix}/{position}"

    def files(self, positions: np.ndarray) -> Sequence[Path]:
        return self.records.paths

    def stored_bytes(self, positions: np.ndarray) -> int:
        """Return the part of the files' bytes that belongs to `positions`, on average."""
        whole = sum(path.stat().st_size for path in self.records.paths)
        return whole * len(positions) // max(len(self), 1)


def open_tfds(
    reference: str,
    *,
    splits: Mapping[str, str] | None = None,
    licence: str = "",
    archives: Sequence[str] = (),
    folder: Path | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Splits:
    """Open a classification dataset of TFDS; its first use downloads and converts it.

    Args:
        reference: `NAME`, `NAME:version`, `NAME/config` or `NAME/config:version`.
        splits: rezoo's split → the dataset's. By default `test` is the dataset's test split,
            or else its validation split; if it has neither, a tenth of train is held out.
        licence: The licence of the data, shown if TFDS does not state it.
        archives: Names of files that the user must download by hand.
        folder: The folder of prepared datasets; by default `rezoo.utils.paths.data_dir()`.
        say: Called with the messages of a first use.

    Raises:
        UnknownNameError: TFDS has no such dataset, configuration or version.
        IncompatibleError: The dataset has no image with a class, or is not in TFRecord files.
        NotFoundError: An archive that must be downloaded by hand, or a split, is missing.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: Archives or prepared files are damaged.
    """
    builder = _builder(reference, folder or data_dir())
    image, label = _features(builder.info)
    if not Path(builder.data_dir).exists():
        prepare(builder, licence=licence, archives=archives, say=say)
    _check_prepared(builder)
    wanted = splits or _official(builder.info.splits)
    parts, notes = {}, []
    for part in [name for name in SPLITS if name in wanted]:
        source = _open_split(builder, wanted[part], image, label)
        if _labelled(source):
            parts[part] = Examples(source)
        else:
            notes.append(f"{part}: left out, its labels are not public")
    names = tuple(builder.info.features[label].names)
    opened = Splits(parts=parts, class_names=names, notes=tuple(notes))
    return opened.with_test() if splits is None else opened


def _builder(reference: str, folder: Path) -> Any:
    """Return TFDS's builder of a dataset, without network access and without writing files."""
    import tensorflow_datasets as tfds

    match = _REFERENCE.fullmatch(reference.removeprefix("tfds:"))
    if not match:
        raise UnknownNameError(
            f"{reference!r} is not the name of a TFDS dataset",
            hint="write tfds:NAME, tfds:NAME:1.0.0 or tfds:NAME/CONFIG.",
        )
    name = match["name"]
    known = tfds.list_builders(with_community_datasets=False)
    if name not in known and not (folder / name).is_dir():
        close = near(name, known)
        ask = f"Did you mean {' or '.join('tfds:' + c for c in close)}?" if close else ""
        raise UnknownNameError(
            f"TFDS has no dataset {name!r}", hint=ask or f"all of them: {_CATALOGUE}"
        )
    options = {key: value for key, value in match.groupdict().items() if value is not None}
    try:
        return tfds.builder(**options, data_dir=folder)
    except ImportError as error:
        raise MissingExtraError(
            f"{name} needs a package that is not installed: {error}",
            hint=f"pip install {error.name or 'it'}",
        ) from error
    except (AssertionError, ValueError) as error:
        raise UnknownNameError(
            f"TFDS does not have {reference!r}: {error}", hint=_variants(tfds, name)
        ) from error


def _variants(tfds: Any, name: str) -> str:
    try:
        builder = tfds.builder_cls(name)
    except (ImportError, ValueError):
        return f"see {_CATALOGUE}/{name}"
    configs = sorted(builder.builder_configs)
    versions = sorted({str(v) for v in (builder.VERSION, *builder.SUPPORTED_VERSIONS) if v})
    described = f"configurations: {', '.join(configs[:20])}. " if configs else ""
    return described + (f"versions: {', '.join(versions)}." if versions else "")


def _features(info: Any) -> tuple[str, str]:
    """Return the names of the image and of its class."""
    import tensorflow_datasets as tfds

    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    images = [
        name
        for name, kind in features.items()
        if isinstance(kind, tfds.features.Image)
        and not isinstance(kind, tfds.features.LabeledImage)
        and kind.np_dtype == np.uint8
    ]
    labels = [n for n, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)]
    # input and target as the authors of the dataset define them go first
    for pair in (info.supervised_keys or (), ("image", "label"), (*images, *labels)):
        if len(pair) == 2 and pair[0] in images and pair[1] in labels:
            return pair[0], pair[1]
    described = ", ".join(f"{n} ({type(kind).__name__})" for n, kind in features.items())
    raise IncompatibleError(
        f"{info.full_name} has no 8-bit Image with a ClassLabel to classify it by",
        hint=f"its features are {described or type(info.features).__name__}.",
    )


def _check_prepared(builder: Any) -> None:
    import tensorflow_datasets as tfds

    if not builder.is_prepared() or not builder.info.splits:
        raise IntegrityError(
            f"{builder.data_dir} is not a complete TFDS dataset",
            hint="remove that folder: the next use prepares it again.",
        )
    kind = builder.info.file_format
    if kind != tfds.core.FileFormat.TFRECORD:
        raise IncompatibleError(
            f"{builder.data_dir} is in {kind.value if kind else 'unknown'} files; "
            "rezoo reads TFRecord files",
            hint="set TFDS_DATA_DIR to another folder: the next use prepares it there.",
        )


def _official(infos: Mapping[str, Any]) -> dict[str, str]:
    """Return rezoo's split → the dataset's, as its authors divided it."""
    has = {name for name, info in infos.items() if info.num_examples}
    wanted = {"train": "train", "val": "validation", "test": "test"}
    if "test" not in has:
        wanted = {"train": "train", "test": "validation"}
    found = {ours: name for ours, name in wanted.items() if name in has}
    if not found:
        raise IncompatibleError(
            "the dataset has none of the splits train, validation and test",
            hint=f"it has {', '.join(infos)}.",
        )
    return found


def _open_split(builder: Any, split: str, image: str, label: str) -> RecordSource:
    info = builder.info
    if split not in info.splits or not info.splits[split].num_examples:
        raise NotFoundError(
            f"{info.full_name} was prepared without a split {split!r}",
            hint=f"it has {', '.join(info.splits)}; remove {builder.data_dir} to prepare it again.",
        )
    name, version = info.full_name.rsplit("/", 1)
    paths = [Path(str(path)) for path in info.splits[split].filepaths]
    records = open_records(paths, counts=info.splits[split].shard_lengths)
    return RecordSource(records, f"{name}:{version}/{split}", image, label)


def _labelled(source: RecordSource) -> bool:
    """Return whether the labels are public: in a secret test split, TFDS sets each to -1."""
    _, label = source.parse(source.records.read(0))
    return int(label) >= 0
