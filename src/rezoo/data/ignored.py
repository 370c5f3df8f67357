"""Lists of examples to leave out, as `rezoo data check` writes them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from rezoo.data.examples import Splits
from rezoo.data.file_names import printed
from rezoo.data.image_files import MAX_FILE_BYTES
from rezoo.errors import DataWarning
from rezoo.utils.files import read_regular
from rezoo.utils.names import count_of, listed


def without_listed(splits: Splits, path: Path) -> Splits:
    """Return the splits without the examples in a list of keys.

    Args:
        splits: The dataset.
        path: A file in UTF-8 with one key per line; lines that begin with # are comments.

    Raises:
        NotFoundError: The list cannot be read.
        UnsafeFileError: It is not a regular file.
    """
    path = Path(os.path.expanduser(path))
    content = read_regular(path, most=MAX_FILE_BYTES, what=f"the list {path}")
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    asked = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    left_out, unknown = {}, set(asked)
    for split, part in splits.parts.items():
        keys = {part.key(i): i for i in range(len(part))}
        left_out[split] = {keys[key] for key in asked & keys.keys()}
        unknown -= keys.keys()
    if unknown:
        text = f"{path} lists {len(unknown)} examples that the dataset does not have: "
        names = listed([*map(printed, sorted(unknown))], 5)
        warnings.warn(DataWarning(text + names), stacklevel=3)
    count = sum(map(len, left_out.values()))
    return splits.without(left_out, f"{count_of(count, 'example')} left out by {path.name}")
