"""Examples that cannot be read: some are found before a run, by their headers, the rest in it."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.data.image_files import header_fault, unreadable_reason
from rezoo.data.labels import class_counts, label_error, wrong_labels
from rezoo.errors import DataWarning, IntegrityError
from rezoo.utils.names import count_of, listed

if TYPE_CHECKING:
    from rezoo.data.datasets import DataOptions
    from rezoo.data.examples import Examples, Splits
    from rezoo.data.image_sources import FileSource

LOOKED_AT = 2000
"""Number of files whose headers are read when a dataset is opened, at most."""
_SHOWN = 10
_THREADS = min(32, 4 * (os.cpu_count() or 1))  # most of the time, they wait for the disk


@dataclass(eq=False)
class Faults:
    """The unreadable examples of one split, within the limit of the options.

    Attributes:
        examples: The split.
        options: Whether unreadable examples are left out, and how many may be.
        what: Name of the split in messages.
        class_names: In the order of the labels.
        of: Number of images of the dataset, of which a part may be bad; those of the split if None.
        looked_at: Number of images that were looked at; all if None.
        reasons: Index of an unreadable example → the reason.
    """

    examples: Examples
    options: DataOptions
    what: str
    class_names: Sequence[str] = ()
    of: int | None = None
    looked_at: int | None = None
    reasons: dict[int, str] = field(default_factory=dict)
    _unsaid: dict[int, str] = field(default_factory=dict)
    _said: int = 0  # number of examples at the last warning
    _compiled: dict[int, Any] = field(default_factory=dict)

    def find(self, indices: np.ndarray, channels: int) -> bool:
        """Look at some examples one by one; add those that cannot be read.

        Args:
            indices: int `(M,)`.
            channels: Of the network's input, 1 or 3.

        Returns:
            Whether there is any.

        Raises:
            IncompatibleError: All can be read, and the label of one is not a class.
            IntegrityError: The options allow fewer unreadable ones.
        """
        import tensorflow as tf

        attempt = self._attempt(channels)

        def look(index: int) -> tuple[str, Any]:
            try:
                return "", attempt(tf.constant(index, tf.int64)).numpy()
            except tf.errors.OpError as error:
                return self._reason(index, error), None

        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(look, indices.tolist()))
        reasons = {int(i): reason for i, (reason, _) in zip(indices, found, strict=True) if reason}
        if reasons:
            self.add(reasons)
        elif self.class_names:
            labels = np.array([label for _, label in found])
            wrong = wrong_labels(labels, self.class_names, multi_label=labels.ndim == 2)
            if wrong.any():
                index, label = int(indices[wrong.argmax()]), labels[wrong.argmax()]
                raise label_error(self.examples, index, label, self.what, self.class_names)
        return bool(reasons)

    def add(self, found: dict[int, str]) -> None:
        """Add unreadable examples, by index, with the reasons.

        The first ones are named in a warning, then those up to each doubling of their number.

        Raises:
            IntegrityError: The options allow none, or fewer.
        """
        self.reasons.update(found)
        self._unsaid.update(found)
        count, total = len(self.reasons), self.looked_at or len(self.examples)
        images = f"the {total:,} images looked at" if self.looked_at else f"{total} images"
        text = f"{count} of {images} in {self.what} cannot be decoded: "
        reasons = [f"{self.examples.key(i)!r}: {reason}" for i, reason in self._unsaid.items()]
        text += listed(reasons, _SHOWN, separator="; ")
        if self.options.on_bad_image == "error":
            raise IntegrityError(text, hint="repair or remove these files, or skip bad images.")
        if count > self._allowed():
            raise IntegrityError(
                text,
                hint=f"at most {100 * self.options.bad_limit:g}% may be bad (--bad-limit): "
                "remove or repair these files; `rezoo data check` lists all.",
            )
        if count > _SHOWN and count < 2 * self._said:
            return
        self._said = count
        self._unsaid.clear()
        lost = "".join(f" {note}." for note in self.lost_classes())
        warnings.warn(DataWarning(f"{text}. They are left out.{lost}"), stacklevel=2)

    def merge(self, of_hosts: Sequence[Mapping[int | str, str]]) -> None:
        """Add what other hosts could not read: for each host, index → reason; raises as `add`."""
        found = {int(i): reason for of_host in of_hosts for i, reason in of_host.items()}
        if new := {i: reason for i, reason in found.items() if i not in self.reasons}:
            self.add(new)

    def of_some(self, indices: np.ndarray) -> Faults:
        """Return the faults of some examples, ascending int `(M,)`: itself if they are all.

        Of a part, none is known yet.
        """
        if len(indices) == len(self.examples):
            return self
        some = self.examples.select(indices)
        return Faults(some, self.options, self.what, self.class_names, self.of)

    def readable(self) -> np.ndarray:
        """Return the indices of the other examples, int64 `(M,)`."""
        return np.setdiff1d(np.arange(len(self.examples)), list(self.reasons))

    def lost_classes(self) -> list[str]:
        """Return a sentence on each class of which no image can be read."""
        labels, names = self.examples.labels(), self.class_names
        if labels is None or not names:
            return []
        all_, bad = (class_counts(x, len(names)) for x in (labels, labels[list(self.reasons)]))
        lost = np.flatnonzero((bad == all_) & (bad > 0)).tolist()
        return [f"class {names[i]!r} has no image left in {self.what}" for i in lost]

    def _allowed(self) -> float:
        """Return how many examples may be unreadable; of some that were looked at, by chance."""
        limit = self.options.bad_limit
        if self.looked_at is None:
            return limit * (self.of or len(self.examples))
        expected = limit * self.looked_at
        return expected + 3 * math.sqrt(expected)

    def _attempt(self, channels: int) -> Any:
        """Return the graph that reads and decodes the example at an index: its label."""
        import tensorflow as tf

        from rezoo.data.images import decode

        def attempt(index: Any) -> Any:
            image, label = self.examples.fetch(index)
            image = decode(image, channels) if self.examples.encoded else image
            # without a use of the pixels, nothing is decoded
            with tf.control_dependencies([tf.reduce_max(image)]):
                return tf.identity(label)

        if channels not in self._compiled:
            index = tf.TensorSpec((), tf.int64)
            graph = tf.function(attempt, input_signature=[index], autograph=False)
            self._compiled[channels] = graph.get_concrete_function()  # threads would each build it
        return self._compiled[channels]

    def _reason(self, index: int, error: Any) -> str:
        """Return why an example cannot be decoded, from the error of TensorFlow."""
        import tensorflow as tf

        from rezoo.data.images import stated_reason

        if stated := stated_reason(error):
            return stated
        if not self.examples.encoded:
            return f"cannot be read: {error.message.splitlines()[0]}"
        try:
            content = self.examples.fetch(tf.constant(index, tf.int64))[0].numpy()
        except tf.errors.NotFoundError:
            return "the file is not there"
        except tf.errors.OpError as again:
            return f"cannot be read: {again.message.splitlines()[0]}"
        return unreadable_reason(content)


def drop_unreadable(splits: Splits, options: DataOptions, what: str) -> Splits:
    """Return the splits without files whose headers cannot be read.

    At most `LOOKED_AT` files are looked at: the first of each class, and others evenly spaced.
    What else cannot be decoded is left out when a batch needs it, as examples of other sources
    are. `rezoo data check` decodes everything.

    Raises:
        IntegrityError: More than the options allow, or clearly more than a part of that size.
    """
    from rezoo.data.examples import Examples
    from rezoo.data.image_sources import FileSource, JoinedSource

    files = {s: part for s, part in splits.parts.items() if isinstance(part.source, FileSource)}
    if not files:
        return splits
    joined = JoinedSource(list(files.values()))
    every = Examples(joined)
    some = _sample(every)
    places = [joined.place(i) for i in some.tolist()]
    with ThreadPoolExecutor(_THREADS) as pool:
        suspected = pool.map(partial(_header_fault, list(files.values())), places)
        suspects = some[np.fromiter(suspected, bool, len(some))]
    looked_at = len(some) if len(some) < len(every) else None
    faults = Faults(every, options, what, looked_at=looked_at)
    if not len(suspects) or not faults.find(suspects, 3):
        return splits
    left_out: dict[str, set[int]] = {split: set() for split in files}
    for position in faults.reasons:
        which, index = joined.place(position)
        left_out[list(files)[which]].add(index)
    files_out = count_of(len(faults.reasons), "file")
    kept = splits.without(left_out, f"{files_out} left out that cannot be decoded")
    notes = _emptied(every, some, list(faults.reasons), splits.class_names)
    return dataclasses.replace(kept, notes=(*kept.notes, *notes))


def _header_fault(parts: Sequence[Examples], place: tuple[int, int]) -> bool:
    part, index = parts[place[0]], place[1]
    source: FileSource = part.source  # type: ignore[assignment]
    return bool(header_fault(source.path(int(part.positions[index]))))


def _sample(examples: Examples) -> np.ndarray:
    """Return the indices of at most `LOOKED_AT` examples, ascending."""
    count, labels = len(examples), examples.labels()
    if count <= LOOKED_AT:
        return np.arange(count)
    firsts = np.zeros(0, np.int64)
    if labels is not None and labels.ndim == 1:
        firsts = np.unique(labels, return_index=True)[1][: LOOKED_AT // 2]
    spaced = np.linspace(0, count - 1, LOOKED_AT - len(firsts)).astype(np.int64)
    return np.union1d(firsts, spaced)


def _emptied(
    examples: Examples, looked_at: np.ndarray, bad: Sequence[int], names: Sequence[str]
) -> list[str]:
    """Return a note on each class of which every image that was looked at is bad."""
    labels = examples.labels()
    if labels is None:
        return []
    some = (slice(None), looked_at, bad)
    total, looked, found = (class_counts(labels[i], len(names)) for i in some)
    notes = []
    for i in np.flatnonzero((found == looked) & (found > 0)).tolist():
        none = f": none of the {looked[i]} images that were looked at can be decoded"
        notes.append(
            f"class {names[i]!r}" + (" has no image left" if found[i] == total[i] else none)
        )
    return notes
