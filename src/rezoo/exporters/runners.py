"""`open_exported`: an exported file of any format, ready to run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from rezoo.errors import IncompatibleError, NotFoundError, RezooError
from rezoo.exporters.formats import FORMATS, Format
from rezoo.exporters.runner import Runner


def open_exported(path: Path, *, threads: int | None = None) -> Runner:
    """Open an export in its own runtime.

    Args:
        path: Its folder, or the file in it.
        threads: Of the runtime; its own choice where not given, or where it has none.

    Raises:
        NotFoundError: There is no export.
        MissingExtraError: The runtime is not installed.
        IncompatibleError: The runtime refuses the file.
    """
    kind, folder = find_export(path)
    kind.require()
    try:
        runner: Runner = import_module(kind.module).open_runner(folder, threads=threads)
    except RezooError:
        raise
    except Exception as error:  # runtimes raise whatever they like
        raise IncompatibleError(
            f"{kind.name} does not open {folder}: {str(error).strip().partition(chr(10))[0]}",
            hint="the file is damaged, or was written for another version; export again.",
        ) from error
    return runner


def find_export(path: Path) -> tuple[Format, Path]:
    """Return the format and the folder of an export.

    Raises:
        NotFoundError: There is none.
    """
    folder = path if path.is_dir() else path.parent
    wanted = path.name if path.is_file() else ""
    for kind in FORMATS.values():
        there = (folder / kind.file).is_file()
        if there and wanted in ("", kind.file) and not _is_run(kind, folder):
            return kind, folder
    raise NotFoundError(
        f"{path} is no export",
        hint="wanted is a folder with " + ", ".join(kind.file for kind in FORMATS.values()),
    )


def _is_run(kind: Format, folder: Path) -> bool:
    """Whether a folder with a `model.safetensors` is a run rather than an export."""
    return kind.name == "torch" and not (folder / "rezoo.json").is_file()
