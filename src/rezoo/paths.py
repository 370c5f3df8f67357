"""Folders outside the user's own: where rezoo and TFDS keep what they fetch and compute."""

from __future__ import annotations

import os
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
