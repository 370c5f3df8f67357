"""The run that a folder holds already: whether it is one, and which of its files rezoo wrote.

Links are removed themselves and never followed. Loads without Keras.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rezoo.artifacts import run_files
from rezoo.artifacts.card import written_by_hand
from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config
from rezoo.artifacts.run_files import CARD, CHECKPOINTS, EVENTS, EXPORTS, LAST_WEIGHTS, LOCAL
from rezoo.errors import NotFoundError, RezooError, SpecError, writing
from rezoo.utils.documents import read_document
from rezoo.utils.lock import LOCK
from rezoo.utils.names import listed

_FOLDERS = (CHECKPOINTS, EVENTS, EXPORTS)
_STATE = (
    run_files.CHECKPOINT,
    run_files.PREVIOUS,
    run_files.DATA,
    f"{LAST_WEIGHTS}/{CONFIG}",
    f"{LAST_WEIGHTS}/{WEIGHTS}",
)
_SHOWN = 10


def check(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a new run, or the one in the folder, may write there; changes nothing.

    Raises:
        SpecError: The folder holds a run or other files, and neither `resume` nor `overwrite`
            allows it; or files that rezoo did not write have names that the run would write.
        NotFoundError: The run to be resumed has ended and lost its checkpoint.
    """
    if not holds_run(folder):
        if _names(folder):
            raise SpecError(
                f"{folder} is not empty and holds no run",
                hint="choose another folder with --output: rezoo does not write among other files.",
            )
    elif overwrite:
        if found := _in_the_way(folder):
            raise SpecError(
                f"rezoo did not write {listed(found, _SHOWN)} in {folder}, and the new run would",
                hint="move it elsewhere, or choose another folder with --output.",
            )
    elif not resume:
        raise SpecError(
            f"{folder} already holds a run",
            hint="continue it with --resume, replace it with --overwrite, "
            "or choose another --output.",
        )
    elif (folder / run_files.METRICS).exists() and not run_files.has_checkpoint(folder):
        raise NotFoundError(
            f"{folder} holds a finished run without {run_files.CHECKPOINT}: it cannot be resumed",
            hint="train on from its weights with another --output, or replace it with --overwrite.",
        )


def holds_run(folder: Path) -> bool:
    """Return whether the records in a folder say that rezoo trained there.

    These are `checkpoints/local.json`, which training writes first, and the manifest of a finished
    run. A `recipe.toml` is none: users write such files, too.
    """
    facts = run_files.local_facts(folder)
    return facts.keys() >= {"model", "dataset"} or run_files.RECIPE in _manifest(folder)


def remove(folder: Path) -> list[str]:
    """Remove the files that rezoo has written for the run in a folder.

    `checkpoints/local.json` stays, so that a folder with an interrupted removal is still a run.

    Returns:
        Which links were removed, and what is still there: sentences without a full stop.
    """
    notes = []
    with writing(folder):
        own = own_files(folder)
        links = [name for name in own if (folder / name).is_symlink()]
        if links:
            shown = [f"{name} → {(folder / name).readlink()}" for name in links]
            notes.append(f"removed links, but not what they lead to: {listed(shown, _SHOWN)}")
        for name in own:
            (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the first that is not empty
                for above in _parents(name):
                    (folder / above).rmdir()
    if others := _names(folder):
        notes.append(f"kept in {folder}, since rezoo did not write it: {listed(others, _SHOWN)}")
    return notes


def remove_partial(folder: Path) -> None:
    """Remove what killed processes have left of the files they were writing for the run.

    The caller holds the lock of the folder, so no living process writes them.
    """
    with writing(folder):
        for name in (*run_files.PUBLISHED, *_STATE, LOCAL):
            for partial in () if _behind_link(folder, name) else _partial(folder, name):
                (folder / partial).unlink(missing_ok=True)


def own_files(folder: Path) -> list[str]:
    """Return the files that rezoo has written for the run in a folder, and links in their place.

    Of a finished run, these are the files in its manifest, with its checkpoints, exports and
    events; of another one, the files that training writes. A card that was written by hand and
    a `config.json` without rezoo's keys are the user's.
    """
    manifest = _manifest(folder)
    names = [name for name in run_files.LISTED if not manifest or name in manifest]
    if written_by_hand(folder):
        names.remove(CARD)
    if _is_config(folder / CONFIG):
        names.append(CONFIG)
    names += [*run_files.PREDICTIONS.values(), *_STATE]
    names += [name for name in (*_FOLDERS, LAST_WEIGHTS) if (folder / name).is_symlink()]
    if _is_folder(folder / EVENTS):
        found = (folder / EVENTS).glob("events.out.tfevents.*")
        names += sorted(f"{EVENTS}/{path.name}" for path in found)
    if _is_folder(folder / EXPORTS):
        for export in sorted((folder / EXPORTS).iterdir()):
            names += [f"{EXPORTS}/{export.name}/{name}" for name in _of_export(export)]
    names = [name for name in names if not _behind_link(folder, name)]
    names += [partial for name in names for partial in _partial(folder, name)]
    return [name for name in names if (folder / name).is_symlink() or (folder / name).is_file()]


def _of_export(export: Path) -> Iterator[str]:
    """Yield the files in the passport of an export, and the passport."""
    if export.is_symlink():
        return
    try:
        files = read_document(export / run_files.PASSPORT).get("files")
    except RezooError:
        return
    for name in files if isinstance(files, dict) else ():
        path = PurePosixPath(name)
        if not path.is_absolute() and ".." not in path.parts:
            yield name
    yield run_files.PASSPORT


def _partial(folder: Path, name: str) -> Iterator[str]:
    """Yield what processes have left that were killed while they wrote a file."""
    path = folder / name
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.tmp")
    for other in path.parent.iterdir() if _is_folder(path.parent) else ():
        if pattern.fullmatch(other.name) and not _is_folder(other):
            yield other.relative_to(folder).as_posix()


def _in_the_way(folder: Path) -> list[str]:
    """Return what rezoo did not write, and a new run would replace or fail to write."""
    own = set(own_files(folder))
    kept = {CARD} if (folder / CARD).is_file() else set()
    names = [*run_files.PUBLISHED, *_STATE]
    names += [name for name in (CHECKPOINTS, LAST_WEIGHTS) if not (folder / name).is_dir()]
    found = [name for name in names if (folder / name).exists() and not _behind_link(folder, name)]
    return [name for name in found if name not in own | kept]


def _parents(name: str) -> tuple[PurePosixPath, ...]:
    """Return the folders of a file inside the run folder, the innermost first."""
    return tuple(PurePosixPath(name).parents)[:-1]


def _behind_link(folder: Path, name: str) -> bool:
    return any((folder / above).is_symlink() for above in _parents(name))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _manifest(folder: Path) -> set[str]:
    """Return the names in the manifest of a folder; empty if there is none."""
    try:
        return set(read_config(folder).files)
    except RezooError:
        return set()


def _is_config(path: Path) -> bool:
    """Return whether rezoo wrote a `config.json`; a link counts as if it did."""
    if path.is_symlink():
        return True
    try:
        return "rezoo_version" in read_document(path)
    except RezooError:
        return False


def _names(folder: Path) -> list[str]:
    """Return what is in a folder besides the lock and `checkpoints/local.json`."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in _FOLDERS and _is_folder(path):
            found += [f"{path.name}/{inner.name}" for inner in sorted(path.iterdir())]
        else:
            found.append(path.name)
    return [name for name in found if name not in (LOCK, LOCAL)]
