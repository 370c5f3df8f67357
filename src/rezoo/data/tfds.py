"""Datasets of TensorFlow Datasets: their examples by index, their images still encoded."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.examples import SPLITS, Examples, Splits, pick
from rezoo.data.records import RecordFiles, open_records
from rezoo.data.splits import TEST_FRACTION
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
class RecordExamples(Examples):
    """Examples of a prepared TFDS dataset.

    Attributes:
        records: The split's records.
        positions: int64 `(N,)`: which of them, in which order.
        prefix: What the examples' keys begin with: `oxford_iiit_pet:4.0.0/train`.
        image: Name of the image feature.
        label: Name of the label feature.
    """

    records: RecordFiles
    positions: np.ndarray
    prefix: str
    image: str
    label: str
    encoded = True

    def __len__(self) -> int:
        return len(self.positions)

    def fetch(self, index: Any) -> tuple[Any, Any]:
        """As `Examples.fetch`: the encoded image file and its class."""
        import tensorflow as tf

        record = self.records.fetch(pick(self.positions, index))
        kinds = {
            self.image: tf.io.FixedLenFeature([], tf.string),
            self.label: tf.io.FixedLenFeature([], tf.int64),
        }
        found = tf.io.parse_single_example(record, kinds)
        return found[self.image], tf.cast(found[self.label], tf.int32)

    def select(self, indices: np.ndarray) -> RecordExamples:
        """As `Examples.select`."""
        chosen = self.positions[np.asarray(indices, np.int64)]
        return RecordExamples(self.records, chosen, self.prefix, self.image, self.label)

    def key(self, index: int) -> str:
        """As `Examples.key`: the number is the record's place in the whole split."""
        return f"{self.prefix}/{self.positions[index]}"


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
            or else its validation split; where it has neither, a tenth of train is held out.
        licence: The licence of the data, shown where TFDS does not state it.
        archives: Files that only the user can fetch, by name.
        folder: Where prepared datasets are; by default `rezoo.utils.paths.data_dir()`.
        say: Called with what the user should see at a first use.

    Raises:
        UnknownNameError: TFDS has no such dataset, configuration or version.
        IncompatibleError: The dataset has no image with a class, or is not in TFRecord files.
        NotFoundError: An archive that must be fetched by hand, or a split, is not there.
        NetworkError: A download is needed and the network does not answer.
        IntegrityError: Archives or prepared files are damaged.
    """
    builder = _builder(reference, folder or data_dir())
    image, label = _features(builder.info)
    if not Path(builder.data_dir).exists():
        prepare(builder, licence=licence, archives=archives, say=say)
    _check_prepared(builder)
    sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
    wanted = _official(sizes) if splits is None else dict(splits)
    parts: dict[str, Examples] = {}
    notes = []
    for part in [name for name in SPLITS if name in wanted]:
        examples = _open_split(builder, wanted[part], image, label)
        if _labelled(examples):
            parts[part] = examples
        else:
            notes.append(f"{part}: left out, its labels are not public")
    if splits is None and set(parts) == {"train"}:
        parts, note = _hold_out_test(parts["train"])
        notes.append(note)
    names = tuple(builder.info.features[label].names)
    return Splits(parts=parts, class_names=names, notes=tuple(notes))


def _builder(reference: str, folder: Path) -> Any:
    """Return TFDS's builder of a dataset; this reads no network and writes nothing."""
    import tensorflow_datasets as tfds

    match = _REFERENCE.fullmatch(reference.removeprefix("tfds:"))
    if not match:
        raise UnknownNameError(
            f"{reference!r} is not the name of a TFDS dataset",
            hint="write tfds:NAME, tfds:NAME:1.0.0 or tfds:NAME/CONFIG.",
        )
    name, config, version = match["name"], match["config"], match["version"]
    known = tfds.list_builders(with_community_datasets=False)
    if name not in known and not (folder / name).is_dir():
        close = near(name, known)
        ask = f"Did you mean {' or '.join('tfds:' + c for c in close)}?" if close else ""
        raise UnknownNameError(
            f"TFDS has no dataset {name!r}", hint=ask or f"all of them: {_CATALOGUE}"
        )
    options = {"config": config, "version": version}
    try:
        return tfds.builder(
            name, data_dir=folder, **{k: v for k, v in options.items() if v is not None}
        )
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
    # What the dataset's authors call input and target goes before what is the only one.
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
            hint="remove that folder: it is then prepared again.",
        )
    kind = builder.info.file_format
    if kind != tfds.core.FileFormat.TFRECORD:
        raise IncompatibleError(
            f"{builder.data_dir} is in {kind.value if kind else 'unknown'} files; "
            "rezoo reads TFRecord files",
            hint="set TFDS_DATA_DIR to another folder: it is then prepared again there.",
        )


def _official(sizes: Mapping[str, int]) -> dict[str, str]:
    """Return rezoo's splits → the dataset's, as its authors divided it."""
    has = [name for name in ("train", "validation", "test") if sizes.get(name)]
    if not has:
        raise IncompatibleError(
            "the dataset has none of the splits train, validation and test",
            hint=f"it has {', '.join(sizes)}.",
        )
    wanted = {"train": "train"} if "train" in has else {}
    if "test" in has:
        return wanted | {"test": "test"} | ({"val": "validation"} if "validation" in has else {})
    return wanted | ({"test": "validation"} if "validation" in has else {})


def _open_split(builder: Any, split: str, image: str, label: str) -> RecordExamples:
    info = builder.info
    sizes = {name: part.num_examples for name, part in info.splits.items()}
    if not sizes.get(split):
        raise NotFoundError(
            f"{info.full_name} was prepared without a split {split!r}",
            hint=f"it has {', '.join(sizes)}; remove {builder.data_dir} to prepare it again.",
        )
    name, version = info.full_name.rsplit("/", 1)
    paths = [Path(str(path)) for path in info.splits[split].filepaths]
    records = open_records(paths, counts=info.splits[split].shard_lengths)
    positions = np.arange(len(records))
    return RecordExamples(records, positions, f"{name}:{version}/{split}", image, label)


def _labelled(examples: RecordExamples) -> bool:
    """Whether the labels are public: TFDS gives every example of a secret test split -1."""
    import tensorflow as tf

    record = tf.constant(examples.records.read(0))
    kind = {examples.label: tf.io.FixedLenFeature([], tf.int64)}
    return int(tf.io.parse_single_example(record, kind)[examples.label]) >= 0


def _hold_out_test(train: Examples) -> tuple[dict[str, Examples], str]:
    kept, held = train.hold_out(TEST_FRACTION)
    note = f"test: {len(held)} of train's {len(train)} examples, held out by a fixed rule"
    return {"train": kept, "test": held}, note
