"""Find the files that are no images before a run meets them at hour nine."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rezoo.data.headers import MAX_PIXELS, read_header
from rezoo.errors import DataWarning, IntegrityError
from rezoo.paths import cache_dir, keep

BAD_LIMIT = 0.01  # of all images
_SHOWN = 10


def drop_bad_images(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide image files into those that decode and those that do not.

    Every file is decoded once; the result is kept in rezoo's cache until a file's name,
    size or time changes.

    Args:
        root: The folder.
        paths: Files below it.

    Returns:
        `(good paths, "path: reason" of the bad ones)`; a `DataWarning` names the bad ones.

    Raises:
        IntegrityError: More than one percent of the files are bad.
    """
    bad = _cached(root, paths)
    good = [p for p in paths if p not in bad]
    listed = [f"{p!r}: {reason}" for p, reason in bad.items()]
    if not bad:
        return good, listed
    text = f"{len(bad)} of {len(paths)} images in {root} cannot be decoded: " + "; ".join(
        listed[:_SHOWN]
    )
    if len(bad) > _SHOWN:
        text += f" and {len(bad) - _SHOWN} more"
    if len(bad) > BAD_LIMIT * len(paths):
        raise IntegrityError(
            text, hint=f"at most {BAD_LIMIT:.0%} may be bad: remove or repair these files."
        )
    warnings.warn(DataWarning(f"{text}. They are left out."), stacklevel=2)
    return good, listed


def _cached(root: Path, paths: Sequence[str]) -> dict[str, str]:
    digest = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=16, person=b"decodes")
    for path in paths:
        try:
            status = (root / path).stat()
        except OSError:  # a dangling link, a vanished file: decoding will name it
            digest.update(os.fsencode(path))
        else:
            digest.update(os.fsencode(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0"))
    memo = cache_dir() / "images" / f"{digest.hexdigest()}.json"
    try:
        known = json.loads(memo.read_text("utf-8"))
        if isinstance(known, dict):
            return known
    except (OSError, ValueError):
        pass
    bad = _undecodable(root, paths)
    keep(memo, json.dumps(bad, indent=1).encode())
    return bad


def _undecodable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return path → reason of the files that TensorFlow cannot decode, two threads a core."""
    import numpy as np
    import tensorflow as tf

    from rezoo.data.examples import pick
    from rezoo.data.images import decode

    full = np.array([os.fsencode(root / p) for p in paths], object)

    def attempt(index: Any) -> Any:
        image = decode(tf.io.read_file(pick(full, index)), 3)
        return index, tf.reduce_max(image)  # the pixels must be needed, or nothing is decoded

    stream = tf.data.Dataset.range(len(full)).map(
        attempt, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
    )
    sound = {int(index) for index, _ in stream.ignore_errors().as_numpy_iterator()}
    return {paths[i]: _reason(full[i]) for i in range(len(full)) if i not in sound}


def _reason(path: bytes) -> str:
    import tensorflow as tf

    from rezoo.data.images import decode

    try:
        size = os.path.getsize(path)
        if size == 0:
            return "the file is empty"
        content = Path(os.fsdecode(path)).read_bytes()
        header = read_header(content)
        if header and header.pixels > MAX_PIXELS:
            return (
                f"{header.width}x{header.height} are {header.pixels / 1e6:.0f} megapixels; "
                f"at most {MAX_PIXELS / 1e6:.0f} are decoded"
            )
        decode(content, 3)
    except OSError as error:
        return error.strerror or str(error)
    except tf.errors.OpError as error:
        if "Unknown image file format" in error.message:
            return "not a JPEG, PNG, GIF, BMP or WebP image"
        return f"damaged or cut off ({size} bytes)"
    return "could not be read"
