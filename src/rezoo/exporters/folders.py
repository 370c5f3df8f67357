"""Folders of exports: complete or absent, and never in place of other files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rezoo.artifacts.run_files import EXPORTS
from rezoo.errors import RezooError, SpecError, writing
from rezoo.exporters.formats import PASSPORT, Format
from rezoo.sources.references import Source
from rezoo.utils.documents import read_document, typed
from rezoo.utils.files import refuse_file, refuse_unwritable
from rezoo.utils.names import listed

_SHOWN = 5  # files in a message


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
        if others := _other_files(folder):
            raise SpecError(
                f"{folder} has other files: {listed(others, _SHOWN)}",
                hint="an export replaces an export only: move them, or choose another folder "
                "with --output.",
            )
        if not overwrite:
            raise SpecError(
                f"{folder} has an export already",
                hint="replace it with --overwrite, or choose another folder with --output.",
            )
    if folder.is_mount() or folder.absolute() == Path.cwd():
        raise SpecError(
            f"{folder} is a mount point or the current folder, which cannot be replaced",
            hint="choose a folder below it with --output.",
        )
    refuse_unwritable(folder)


def _other_files(folder: Path) -> list[str]:
    """Return the files below a folder that its passport does not list; all without a passport."""
    try:
        listed = {PASSPORT, *typed(read_document(folder / PASSPORT), "files", dict)}
    except RezooError:
        listed = set()
    found = (p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return sorted({p.relative_to(folder).as_posix() for p in found} - listed)


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder, which replaces `folder` unless an exception is raised.

    It is in a temporary folder beside it; no other file there is removed. `folder` is checked
    again, since it may have changed meanwhile.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".rezoo-", dir=folder.parent) as own:
            new, old = Path(own, "new"), Path(own, "old")
            new.mkdir()
            yield new
            check_folder(folder, overwrite=overwrite)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except BaseException:
                if os.path.lexists(old):
                    old.rename(folder)
                raise
