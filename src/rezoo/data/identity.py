"""Which data a run has: a digest of names, labels and splits.

The run folder holds it as `checkpoints/data.safetensors`, which is never published: 16 bytes for
each image. Images are not read, but for a few files of each split.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from rezoo.artifacts.run_files import DATA
from rezoo.artifacts.safetensors import TensorFile, write_tensors
from rezoo.data.examples import SPLITS, Examples
from rezoo.data.image_sources import ArraySource, FileSource
from rezoo.data.splits import stable_hash
from rezoo.errors import IntegrityError, RezooError

if TYPE_CHECKING:
    from rezoo.data.datasets import Dataset

_READ = 16  # files of a split whose content is compared, too
_READ_BYTES = 1 << 20  # of each of them, at most
NAMED = 3  # images or classes that a message names
UNKNOWN = 2**32 - 1  # the label of an image if labels are known only from reading


@dataclass(frozen=True, eq=False)
class SplitIdentity:
    """Which images a split has.

    Attributes:
        keys: uint64 `(N,)`: a hash of the name of each image.
        labels: uint32 `(N,)`: its class, or a hash of its classes for multi-label data.
        sizes: uint32 `(N,)`: the bytes of its file modulo 2**32; 0 if it has no file of its own.
        sha256: Of names, labels and sizes in their order, and of the content of a few files.
        content: The SHA-256 of the content of a few files alone.
        examples: The split itself, which names its images; None if read from a run folder.
    """

    keys: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    sha256: str
    content: str
    examples: Examples | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            wanted = np.uint64 if name == "keys" else np.uint32
            if array.dtype != wanted or array.shape != (len(self.keys),):
                raise ValueError(f"{name} is {array.dtype} {array.shape}")

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Name → what is known of each image."""
        return {"keys": self.keys, "labels": self.labels, "sizes": self.sizes}

    @classmethod
    def of(cls, examples: Examples) -> Self:
        """Return the identity of a split; it takes about 5 microseconds for a file."""
        names = [examples.key(index) for index in range(len(examples))]
        keys = stable_hash(names)
        whole = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape"))
        labels, sizes = _labels(examples), _sizes(examples)
        content = _content(examples, np.argsort(keys, kind="stable")[:_READ])
        for part in (labels.tobytes(), sizes.tobytes(), content.encode()):
            whole.update(part)
        return cls(keys, labels, sizes, whole.hexdigest(), content, examples)

    def named(self, mask: np.ndarray) -> str:
        """Return the names of the first images in a mask `(N,)`; empty if they are not known."""
        if self.examples is None:
            return ""
        indices = np.flatnonzero(mask)
        shown = [self.examples.key(int(i)) for i in indices[:NAMED]]
        return f" ({', '.join(shown)}{', …' if len(indices) > NAMED else ''})"


@dataclass(frozen=True, eq=False)
class Identity:
    """Which data these are.

    Attributes:
        reference: The dataset reference, with an absolute path, a version or a commit.
        class_names: In the order of the labels.
        splits: Split name → its identity.
    """

    reference: str
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitIdentity] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Dataset, splits: Collection[str] = SPLITS) -> Self:
        """Return the identity of an opened dataset, or of some of its splits."""
        parts = {s: SplitIdentity.of(data.splits[s]) for s in splits if s in data.splits.parts}
        return cls(resolved_reference(data), data.class_names, parts)

    @property
    def sha256(self) -> str:
        """The digest of class names and splits: the fingerprint of the data."""
        parts = [[split, part.sha256] for split, part in self.splits.items()]
        return hashlib.sha256(json.dumps([self.class_names, parts]).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the identity to a run folder."""
        names = json.dumps(self.class_names).encode()
        values = {"class_names": np.frombuffer(names, np.uint8)}
        metadata = {"reference": self.reference}
        for split, part in self.splits.items():
            values |= {f"{split}.{name}": array for name, array in part.arrays.items()}
            metadata |= {f"{split}.sha256": part.sha256, f"{split}.content": part.content}
        write_tensors(folder / DATA, values, metadata=metadata)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the identity of a run's data; None if the run does not record it.

        Raises:
            IntegrityError: The record is damaged.
        """
        if not (folder / DATA).is_file():
            return None
        try:
            with TensorFile(folder / DATA) as file:
                names = json.loads(file.read("class_names").tobytes())
                parts = {
                    split: SplitIdentity(
                        keys=file.read(f"{split}.keys"),
                        labels=file.read(f"{split}.labels"),
                        sizes=file.read(f"{split}.sizes"),
                        sha256=file.metadata[f"{split}.sha256"],
                        content=file.metadata[f"{split}.content"],
                    )
                    for split in SPLITS
                    if f"{split}.keys" in file.entries
                }
                return cls(file.metadata["reference"], tuple(map(str, names)), parts)
        except (RezooError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"{folder / DATA}, the record of the run's data, is damaged: {error}",
                hint="remove it: the data are then no longer compared.",
            ) from error


def resolved_reference(data: Dataset) -> str:
    """Return a dataset reference that means the same data from everywhere.

    Paths of `folder:` and `csv:` become absolute, `tfds:` gets the version that was opened and
    `hf:` the commit. Registered names stay.
    """
    kind, _, rest = data.reference.partition(":")
    if kind in ("folder", "csv") and rest:
        return f"{kind}:{Path(rest).expanduser().resolve()}"
    part = next((part for part in data.splits.parts.values() if len(part)), None)
    if part is None or kind not in ("tfds", "hf") or not rest:
        return data.reference
    key = part.key(0)
    if kind == "tfds":  # NAME[/CONFIG]:VERSION/SPLIT/NUMBER
        return f"tfds:{key.rsplit('/', 2)[0]}"
    place, _, options = rest.partition(":")
    repo = place.partition("@")[0]
    commit = key.removeprefix(f"{repo}@").partition("/")[0]  # OWNER/NAME@COMMIT/…
    return f"hf:{repo}@{commit}{options and f':{options}'}"


def _labels(examples: Examples) -> np.ndarray:
    labels = examples.labels()
    if labels is None:
        return np.full(len(examples), UNKNOWN, np.uint32)
    if labels.ndim == 1:
        return labels.astype(np.uint32)
    rows = np.packbits(labels.astype(bool), axis=1)
    return np.array([zlib.crc32(row) for row in rows], np.uint32)


def _sizes(examples: Examples) -> np.ndarray:
    source = examples.source
    if not isinstance(source, FileSource):
        return np.zeros(len(examples), np.uint32)
    sizes = [_size(source.path(p)) for p in examples.positions.tolist()]
    return (np.array(sizes, np.int64) % 2**32).astype(np.uint32)


def _size(path: str) -> int:
    """Return the bytes of a file; 0 if it is not there: reading the split reports that."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _content(examples: Examples, some: np.ndarray) -> str:
    """Return a digest of the first megabyte of some images, or empty text if it is not at hand."""
    source, digest = examples.source, hashlib.sha256()
    if isinstance(source, ArraySource):
        for position in examples.positions[some]:
            digest.update(source.images[position].tobytes())
    elif isinstance(source, FileSource):
        for path in examples.select(some).files():
            if path.is_file() and os.access(path, os.R_OK):  # neither a pipe nor a device
                with open(path, "rb") as file:
                    digest.update(file.read(_READ_BYTES))
    else:
        return ""
    return digest.hexdigest()
