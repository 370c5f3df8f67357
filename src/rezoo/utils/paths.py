"""What the environment decides: switches, and where rezoo and TFDS keep what they compute."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

CACHE_VARIABLE = "REZOO_CACHE"
DATA_VARIABLE = "TFDS_DATA_DIR"


def cache_dir() -> Path:
    """Return rezoo's cache: `$REZOO_CACHE`, `$XDG_CACHE_HOME/rezoo` or `~/.cache/rezoo`.

    Everything in it can be made again; it need not exist yet.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "rezoo"


def data_dir() -> Path:
    """Return the folder of prepared datasets: `$TFDS_DATA_DIR` or `~/tensorflow_datasets`."""
    return Path(os.environ.get(DATA_VARIABLE) or "~/tensorflow_datasets").expanduser()


def keep(path: Path, content: bytes) -> None:
    """Put a file into the cache, whole or not at all; a cache that cannot be written is none."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise


def switched_on(variable: str) -> bool:
    """Whether an environment variable is set to anything but nothing and 0."""
    return os.environ.get(variable, "") not in ("", "0")
