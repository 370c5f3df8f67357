"""Examples that cannot be read: found before a run if that is cheap, and during it otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rezoo.data.image_files import unreadable_reason
from rezoo.errors import DataWarning, IntegrityError, RezooError
from rezoo.utils.documents import read_document
from rezoo.utils.paths import cache_dir, keep

if TYPE_CHECKING:
    from rezoo.data.datasets import DataOptions
    from rezoo.data.examples import Examples, Splits

_SHOWN = 10


@dataclass(eq=False)
class Faults:
    """The unreadable examples of one split, within the limit of the options."""

    examples: Examples  # the split
    options: DataOptions  # whether unreadable examples are left out, and how many may be
    what: str  # name of the split in messages
    reasons: dict[int, str] = field(default_factory=dict)  # index of an example → the reason

    def add(self, reasons: dict[int, str]) -> None:
        """Add unreadable examples, by index, with the reasons.

        Raises:
            IntegrityError: The options allow none, or fewer.
        """
        self.reasons.update(reasons)
        listed = [f"{self.examples.key(i)!r}: {reason}" for i, reason in reasons.items()]
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        count, total = len(self.reasons), len(self.examples)
        text = f"{count} of {total} images in {self.what} cannot be decoded: "
        text += "; ".join(listed[:_SHOWN]) + more
        if self.options.on_bad_image == "error":
            raise IntegrityError(text, hint="repair or remove these files, or skip bad images.")
        if count > self.options.bad_limit * total:
            raise IntegrityError(
                text,
                hint=f"at most {100 * self.options.bad_limit:g}% may be bad (--bad-limit): "
                "remove or repair these files.",
            )
        warnings.warn(DataWarning(f"{text}. They are left out."), stacklevel=2)


def drop_unreadable(splits: Splits, options: DataOptions, what: str) -> Splits:
    """Return the splits without the files that cannot be decoded.

    Each file is decoded once. The result is kept in rezoo's cache until the name, size or time of
    a file changes. Examples of other sources are not checked here, but when they are needed.

    Raises:
        IntegrityError: The options allow none, or fewer.
    """
    from rezoo.data.examples import Examples
    from rezoo.data.image_sources import FileSource, JoinedSource

    files = {s: part for s, part in splits.parts.items() if isinstance(part.source, FileSource)}
    if not files:
        return splits
    joined = JoinedSource(list(files.values()))
    every = Examples(joined)
    reasons = _known_or_found(every)
    if not reasons:
        return splits
    Faults(every, options, what).add(reasons)
    left_out: dict[str, set[int]] = {split: set() for split in files}
    for position in reasons:
        which, index = joined.place(position)
        left_out[list(files)[which]].add(index)
    kept = splits.without(left_out, f"{len(reasons)} files left out that cannot be decoded")
    emptied = sorted(_classes_of(splits) - _classes_of(kept))
    notes = (f"class {splits.class_names[i]!r} has no image left" for i in emptied)
    return dataclasses.replace(kept, notes=(*kept.notes, *notes))


def unreadable(examples: Examples) -> dict[int, str]:
    """Return the index of each example that cannot be decoded, with the reason."""
    import tensorflow as tf

    from rezoo.data.images import decode

    @tf.autograph.experimental.do_not_convert
    def attempt(index: Any) -> Any:
        image, _ = examples.fetch(index)
        image = decode(image, 3) if examples.encoded else image
        return index, tf.reduce_max(image)  # without a use of the pixels, nothing is decoded

    stream = tf.data.Dataset.range(len(examples)).map(
        attempt, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
    )
    sound = {int(index) for index, _ in stream.ignore_errors().as_numpy_iterator()}
    return {i: _reason(examples, i) for i in range(len(examples)) if i not in sound}


def _reason(examples: Examples, index: int) -> str:
    import tensorflow as tf

    try:
        content = examples.fetch(tf.constant(index, tf.int64))[0].numpy()
    except tf.errors.NotFoundError:
        return "No such file"
    except tf.errors.OpError as error:
        return f"cannot be read: {error.message.splitlines()[0]}"
    return unreadable_reason(content)


def _known_or_found(examples: Examples) -> dict[int, str]:
    """Return the result of `unreadable` for files: from the cache if no file has changed."""
    digest = hashlib.blake2b(digest_size=16, person=b"decodes2")
    for path in (path.absolute() for path in examples.files()):
        digest.update(os.fsencode(path))
        with contextlib.suppress(OSError):  # a dangling link: decoding reports it
            status = path.stat()
            digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    memo = cache_dir() / "images" / f"{digest.hexdigest()}.json"
    try:
        return {int(i): str(reason) for i, reason in read_document(memo).items()}
    except (RezooError, ValueError):
        pass
    found = unreadable(examples)
    keep(memo, json.dumps(found, indent=1).encode())
    return found


def _classes_of(splits: Splits) -> set[int]:
    """Return the classes that some image of the splits has, as far as labels are known."""
    found: set[int] = set()
    for part in splits.parts.values():
        if (labels := part.labels()) is not None:
            several = labels.ndim == 2  # columns with a one
            present = labels.max(0, initial=0).nonzero()[0] if several else labels
            found.update(present.tolist())
    return found
