"""Examples that cannot be read: found before a run where that is cheap, and in it elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rezoo.data.headers import NO_IMAGE, damage, format_of, read_header, too_large
from rezoo.data.options import DataOptions
from rezoo.errors import DataWarning, IntegrityError
from rezoo.utils.paths import cache_dir, keep

if TYPE_CHECKING:
    from rezoo.data.examples import Examples, FileExamples, Splits

_SHOWN = 10


class Faults:
    """The unreadable examples of one split, within what the options allow."""

    def __init__(self, examples: Examples, options: DataOptions, what: str) -> None:
        self.examples, self.options, self.what = examples, options, what
        self.reasons: dict[int, str] = {}

    def add(self, reasons: dict[int, str]) -> None:
        """Note unreadable examples, by index, and why.

        Raises:
            IntegrityError: None may be left out, or these are too many.
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
    """Return the splits without the files that are no images.

    Every file is decoded once; the result is kept in rezoo's cache until a file's name, size or
    time changes. Examples of other kinds are as they were: theirs are found when they are met.

    Raises:
        IntegrityError: The options allow none, or not so many.
    """
    from rezoo.data.examples import FileExamples, JoinedExamples

    files = {s: part for s, part in splits.parts.items() if isinstance(part, FileExamples)}
    every = JoinedExamples(list(files.values())) if files else None
    reasons = _faults_of_files(every, list(files.values())) if every else {}
    if every is None or not reasons:
        return splits
    Faults(every, options, what).add(reasons)
    left_out = {
        split: {index - start for index in reasons if start <= index < start + len(part)}
        for (split, part), start in zip(files.items(), every.starts.tolist(), strict=False)
    }
    note = f"{len(reasons)} files left out that cannot be decoded"
    kept = splits.without(left_out, note)
    return dataclasses.replace(kept, notes=(*kept.notes, *_emptied(splits, kept)))


def _emptied(before: Splits, after: Splits) -> list[str]:
    """Return in words which classes have no image left."""
    had, has = (
        {int(label) for part in splits.parts.values() for label in _known(part)}
        for splits in (before, after)
    )
    return [f"class {before.class_names[i]!r} has no image left" for i in sorted(had - has)]


def _known(part: Examples) -> Iterable[int]:
    labels = part.labels()
    if labels is not None and labels.ndim == 2:  # multi-label: the columns that are not all zeros
        return labels.max(0, initial=0).nonzero()[0]
    return () if labels is None else labels


def skipping(
    open_at: Callable[[int, frozenset[int]], Iterable[Any]],
    batch_at: Callable[[int, frozenset[int]], Any],
    faults: Faults,
    *,
    step: int = 0,
) -> Iterator[Any]:
    """Yield batches; where one cannot be read, its bad examples are found and left out.

    Args:
        open_at: Returns the batches from a step on, without some examples.
        batch_at: Returns the indices of the examples in the batch of a step, likewise.
        faults: Knows the bad examples and learns of more.
        step: Where to start.

    Raises:
        IntegrityError: The options of `faults` do not allow to go on.
    """
    import tensorflow as tf

    source = iter(open_at(step, frozenset(faults.reasons)))
    while True:
        try:
            batch = next(source, None)
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.DataLossError):
            indices = batch_at(step, frozenset(faults.reasons))
            found = unreadable(faults.examples.select(indices))
            if not found:
                raise
            faults.add({int(indices[place]): reason for place, reason in found.items()})
            source = iter(open_at(step, frozenset(faults.reasons)))
            continue
        if batch is None:
            return
        step += 1
        yield batch


def unreadable(examples: Examples) -> dict[int, str]:
    """Return the index and the reason of each example that cannot be decoded."""
    import tensorflow as tf

    from rezoo.data.images import decode

    @tf.autograph.experimental.do_not_convert
    def attempt(index: Any) -> Any:
        image, _ = examples.fetch(index)
        image = decode(image, 3) if examples.encoded else image
        return index, tf.reduce_max(image)  # the pixels must be needed, or nothing is decoded

    stream = tf.data.Dataset.range(len(examples)).map(
        attempt, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
    )
    sound = {int(index) for index, _ in stream.ignore_errors().as_numpy_iterator()}
    return {i: _reason(examples, i) for i in range(len(examples)) if i not in sound}


def _reason(examples: Examples, index: int) -> str:
    import tensorflow as tf

    from rezoo.data.images import decode

    try:
        content = examples.fetch(tf.constant(index, tf.int64))[0].numpy()
    except tf.errors.NotFoundError:
        return "No such file"
    except tf.errors.OpError as error:
        return f"cannot be read: {error.message.splitlines()[0]}"
    if not content:
        return "the file is empty"
    header = read_header(content)
    if header and (reason := too_large(header)):
        return reason
    try:
        decode(content, 3)
    except tf.errors.OpError:
        return damage(content) if header else format_of(content) or NO_IMAGE
    return "could not be read"


def _faults_of_files(examples: Examples, parts: list[FileExamples]) -> dict[int, str]:
    """Return what `unreadable` does, from the cache where no file has changed."""
    digest = hashlib.blake2b(digest_size=16, person=b"decodes")
    for part in parts:
        root = part.root.resolve()
        for path in part.paths:
            digest.update(os.fsencode(root / path))
            with contextlib.suppress(OSError):  # a dangling link: decoding will name it
                status = (root / path).stat()
                digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    memo = cache_dir() / "images" / f"{digest.hexdigest()}.json"
    try:
        known = json.loads(memo.read_text("utf-8"))
        return {int(i): str(reason) for i, reason in known.items()}
    except (OSError, ValueError, AttributeError):
        pass
    found = unreadable(examples)
    keep(memo, json.dumps(found, indent=1).encode())
    return found
