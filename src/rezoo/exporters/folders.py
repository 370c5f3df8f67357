"""Folders of exports: complete or absent, and never in place of other files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rezoo.artifacts.run_files import EXPORTS
from rezoo.errors import SpecError, writing
from rezoo.exporters.formats import PASSPORT, Format
from rezoo.sources.references import Source
from rezoo.utils.files import refuse_file, refuse_unwritable


def default_folder(source: Source, kind: Format, quantize: str) -> Path:
    """Return `exports/<format>` in a run folder, or `./<name>-<format>` for other weights."""
    suffix = kind.name if quantize == "none" else f"{kind.name}-{quantize}"
    if source.folder is not None and source.address is None:
        return source.folder / EXPORTS / suffix
    name = source.published.name if source.published else Path(source.reference).name
    return Path(f"{name.partition('@')[0]}-{suffix}")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise `SpecError` if a folder has other files, or an export that may not be replaced."""
    refuse_file(folder)
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / PASSPORT).is_file():
            raise SpecError(f"{folder} has other files", hint="choose another with --output.")
        if not overwrite:
            raise SpecError(
                f"{folder} has an export already",
                hint="replace it with --overwrite, or choose another folder with --output.",
            )
    refuse_unwritable(folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `folder` unless an exception is raised."""
    partial, old = (folder.with_name(f"{folder.name}.{end}") for end in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    with writing(folder):
        partial.mkdir(parents=True)
        try:
            yield partial
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
