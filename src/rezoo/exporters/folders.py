"""Folders of exports: there whole or not at all, and nothing of anybody else's is replaced."""

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
    """Return a run's `exports/<format>`, or `<name>-<format>` here for other weights."""
    suffix = kind.name if quantize == "none" else f"{kind.name}-{quantize}"
    if source.folder is not None and source.address is None and source.published is None:
        return source.folder / EXPORTS / suffix
    name = source.published.name if source.published else Path(source.reference).name
    return Path(f"{name.partition('@')[0]}-{suffix}")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise `SpecError` where a folder may not become an export."""
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
    """Yield a folder to write to, which takes the place of `folder` if all goes well."""
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
