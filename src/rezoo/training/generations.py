"""The two newest states of a run as files: the older one serves if the newer one is damaged.

Each file ends in the SHA-256 of its content. A new one is complete and on the disk before any
other file changes, so a process that is killed between any two system calls leaves a whole one.
Loads without Keras.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from rezoo.artifacts.run_files import CHECKPOINT, PREVIOUS
from rezoo.artifacts.safetensors import DIGEST, check_digest, read_tensors, with_digest
from rezoo.errors import IncompatibleError, IntegrityError, RezooError, RunWarning
from rezoo.utils.documents import MAX_JSON_BYTES
from rezoo.utils.files import replacing

T = TypeVar("T")

_HINT = (
    "the run cannot be continued, but its best weights are still there: copy the folder to keep "
    "them, then start again with --overwrite or another --output."
)


@dataclass(frozen=True)
class Content:
    """What a file has.

    Attributes:
        values: Name of each tensor → its values, in C order.
        metadata: Texts in the header.
    """

    values: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]


class Generations:
    """The files `last` and `previous` of a run folder.

    Attributes:
        last: The path of the newer one.
        previous: The path of the older one.
    """

    def __init__(self, folder: Path) -> None:
        self.last = folder / CHECKPOINT
        self.previous = folder / PREVIOUS
        self._keeps_last = True  # as the previous one, when the next is written

    def write(self, content: Content, *, proceed: Callable[[], None] = lambda: None) -> None:
        """Write the next generation; `last` becomes `previous` unless it is damaged.

        Args:
            content: The state.
            proceed: Called after each block; an error that it raises leaves both files as they are.

        Raises:
            ResourceError: The disk is full, or the folder cannot be written.
        """
        keep = self._keeps_last and self.last.exists()
        with replacing(self.last, previous=self.previous if keep else None) as file:
            for block in with_digest(content.values, content.metadata):
                file.write(block)
                proceed()
        self._keeps_last = True

    def read(self, interpret: Callable[[Content, Path], T]) -> T | None:
        """Return what `interpret` makes of the newest whole generation; None if there is no file.

        A `RunWarning` states why the newest is not used.

        Raises:
            IncompatibleError: The newest one is whole, but `interpret` refuses it.
            IntegrityError: None is whole.
            NotFoundError: The only one cannot be read.
        """
        there = [path for path in (self.last, self.previous) if os.path.lexists(path)]
        faults: list[OSError] = []
        for path in there:
            try:
                found = interpret(read_whole(path), path)
            except OSError as error:
                if isinstance(error, IncompatibleError) and not faults:
                    raise
                faults.append(error)
                continue
            if path != self.last:
                self._keeps_last = False
                why = faults[0] if faults else f"{self.last} is missing"
                text = f"{why}. The checkpoint before it is used: {path}"
                warnings.warn(RunWarning(text), stacklevel=2)
            return found
        if len(faults) == 1 and isinstance(faults[0], RezooError):
            raise type(faults[0])(faults[0].message, hint=_HINT) from faults[0]
        if faults:
            raise IntegrityError("; ".join(map(str, faults)), hint=_HINT) from faults[0]
        return None


def read_whole(path: Path) -> Content:
    """Return what a file has, without its SHA-256; raises as `check_digest` and `read_tensors`."""
    check_digest(path)
    # 380 bytes for each epoch, more than in other files
    values, metadata = read_tensors(path, max_header_bytes=MAX_JSON_BYTES)
    return Content({name: v for name, v in values.items() if name != DIGEST}, metadata)
