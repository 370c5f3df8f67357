"""Settings from environment variables: switches, and the folders of rezoo and TFDS."""

from __future__ import annotations

import os
from pathlib import Path

from rezoo.errors import SpecError

DEBUG_VARIABLE = "REZOO_DEBUG"
CACHE_VARIABLE = "REZOO_CACHE"
DATA_VARIABLE = "TFDS_DATA_DIR"
_MAX_NAME_BYTES = 255  # on all common file systems
_MAX_PATH_BYTES = 4095  # on Linux, the most of all systems


def expanded(path: str | Path) -> Path:
    """Return a path of the user with `~` replaced by the home folder.

    Raises:
        SpecError: There is no such home folder, or no file can have that name.
    """
    try:
        result = Path(path).expanduser()
        names = [os.fsencode(part) for part in result.parts]
    except RuntimeError as error:
        hint = "write the folder in full."
        raise SpecError(f"{path}: the home folder is not known", hint=hint) from error
    except ValueError as error:  # also NUL, and text that is not Unicode
        raise SpecError(f"{str(path)!r} is not a name that a file can have") from error
    total = len(b"/".join(names))
    if total > _MAX_PATH_BYTES or any(len(n) > _MAX_NAME_BYTES or b"\0" in n for n in names):
        raise SpecError(
            f"{str(path)[:60]!r}… is a path that no file can have",
            hint=f"names have at most {_MAX_NAME_BYTES} bytes and no NUL, "
            f"paths at most {_MAX_PATH_BYTES} bytes.",
        )
    return result


def cache_dir() -> Path:
    """Return rezoo's cache: `$REZOO_CACHE`, `$XDG_CACHE_HOME/rezoo` or `~/.cache/rezoo`.

    It need not exist. Everything in it can be computed again.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "rezoo"


def data_dir() -> Path:
    """Return the folder of prepared datasets: `$TFDS_DATA_DIR` or `~/tensorflow_datasets`."""
    return Path(os.environ.get(DATA_VARIABLE) or "~/tensorflow_datasets").expanduser()


def switched_on(variable: str) -> bool:
    """Whether an environment variable is set, and neither empty nor 0."""
    return os.environ.get(variable, "") not in ("", "0")
