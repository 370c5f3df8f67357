"""Fetch a dataset of the Hugging Face Hub at a commit, and keep it as Arrow tables.

The `datasets` library downloads and converts. A note in JSON lists the tables that it wrote, so
that later uses read the tables alone: without the library, the Hub or a network.

```
<data folder>/huggingface/<owner>--<name>/refs/<revision>          its commit at the last use
<data folder>/huggingface/<owner>--<name>/<commit>/<config>.json   the note: columns and tables
```
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.errors import (
    AccessError,
    HubNote,
    HubWarning,
    IncompatibleError,
    IntegrityError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    RezooError,
    SpecError,
)
from rezoo.sources.hub_address import Address, is_commit
from rezoo.sources.hub_client import causes, endpoint, file_metadata, hub_errors, repository
from rezoo.utils.documents import read_document
from rezoo.utils.files import require_room, write_bytes, write_json
from rezoo.utils.lock import locked
from rezoo.utils.paths import data_dir

IMAGE, CLASSES = "Image", "ClassLabel"


@dataclass(frozen=True)
class HubTables:
    """A dataset of the Hub on this machine.

    Attributes:
        commit: Of the repository.
        columns: Name → `kind`: `Image`, `ClassLabel` (with `names`), a plain type such as `int64`
            or `string`, or the name of another feature of the library.
        tables: The dataset's split → its Arrow files.
    """

    commit: str
    columns: dict[str, dict[str, Any]]
    tables: dict[str, list[Path]]


def prepare(address: Address, config: str = "") -> HubTables:
    """Return a dataset of the Hub; the first use of a commit downloads and converts it.

    Args:
        address: The repository, at any revision. If the Hub does not answer, the commit of the
            last use is taken, with a warning.
        config: Name of a configuration; may be empty if there is only one or a default.

    Raises:
        MissingExtraError: The `datasets` library is not installed.
        NotFoundError: No such repository or revision, or it has no data.
        NetworkError: The Hub is needed and does not answer; `AccessError` if it refuses.
        SpecError: The configuration is missing or unknown.
        IncompatibleError: It has a loading script, or cannot be read.
        IntegrityError: Its files are damaged.
        ResourceError: Too little room on the disk.
        RunLockedError: A process on another host prepares it.
    """
    address = dataclasses.replace(address, kind="dataset")
    home = data_dir() / "huggingface" / address.repo.replace("/", "--")
    pinned = _resolve(address, home / "refs" / address.revision)
    note = home / pinned.revision / f"{config or '_'}.json"
    if (known := _read_note(note)) is None:
        with locked(note.parent, what=f"preparing {pinned}", wait=_say):
            if _read_note(note) is None:  # another process may have been first
                _convert(pinned, config, note)
            known = _read_note(note)
    if known is None:
        raise IntegrityError(f"{pinned}: its tables in {note.parent} are incomplete")
    return known


def _say(text: str) -> None:
    warnings.warn(HubNote(text), stacklevel=5)


def _resolve(address: Address, memory: Path) -> Address:
    """Return the address at the commit of its revision, written to `memory` for later."""
    if address.pinned:
        return address
    from huggingface_hub import constants

    last = memory.read_text("utf-8", "replace") if memory.is_file() else ""
    try:
        commit = repository(address).sha
    except NetworkError as error:
        if not is_commit(last) or isinstance(error, AccessError):
            raise
        if not constants.HF_HUB_OFFLINE:
            text = f"{error}; using commit {last[:12]} from the disk."
            warnings.warn(HubWarning(text), stacklevel=2)
        return address.at(last)
    if not is_commit(commit):
        raise NetworkError(f"the answer for {address} names no commit: {commit!r}")
    if commit != last:  # a folder that cannot be written serves what is there
        write_bytes(memory, commit.encode())
    return address.at(commit)


def _read_note(note: Path) -> HubTables | None:
    """Return the noted dataset; None if the note or one of its tables is missing."""
    try:
        content = read_document(note)
        tables = {s: [note.parent / f for f in files] for s, files in content["tables"].items()}
    except (RezooError, KeyError, AttributeError, TypeError):
        return None
    whole = all(path.is_file() for paths in tables.values() for path in paths)
    return HubTables(note.parent.name, content["columns"], tables) if whole else None


def _convert(address: Address, config: str, note: Path) -> None:
    """Download and convert a dataset, and write the note."""
    library = _library()
    _check_access(address)
    # Missing tables are made again. By default, an empty folder counts as prepared.
    mode = "reuse_cache_if_exists" if note.exists() else "reuse_dataset_if_exists"
    builder = None
    try:
        with hub_errors(str(address)):
            builder = library.load_dataset_builder(
                f"hf://datasets/{address.repo}",
                config or None,
                revision=address.revision,
                cache_dir=str(note.parent),
            )
            size = builder.info.size_in_bytes or 0
            require_room(str(address), size, note.parent, variable="TFDS_DATA_DIR")
            builder.download_and_prepare(download_mode=mode)
            made = builder.as_dataset()
    except RezooError:
        raise
    except Exception as error:
        raise _explain(address, error, chosen=builder is not None) from error
    features = next(iter(made.values())).features if made else {}
    tables = {
        split: [Path(file["filename"]).relative_to(note.parent).as_posix() for file in files]
        for split, files in made.cache_files.items()
    }
    columns = {name: _describe(library, feature) for name, feature in features.items()}
    write_json(note, {"columns": columns, "tables": tables})


def _library() -> Any:
    try:
        import datasets
        from datasets import load_dataset_builder  # noqa: F401 - a folder may have this name
    except ImportError as error:
        raise MissingExtraError(
            "datasets of the Hugging Face Hub need the datasets library",
            hint='pip install "rezoo[hf]"',
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


def _check_access(address: Address) -> None:
    """Request one file, so that a refusal comes from the Hub and not from the library."""
    names = [file.rfilename for file in repository(address).siblings or ()]
    if f"{address.repo.partition('/')[2]}.py" in names:
        raise IncompatibleError(
            f"{address} has a loading script, and rezoo runs no code of a repository",
            hint="ask its owners for Parquet files; its branch refs/convert/parquet may have them.",
        )
    if not names:
        raise NotFoundError(f"{address} has no files")
    # everybody may read these two of a gated repository
    gated = [name for name in names if name not in (".gitattributes", "README.md")] or names
    file_metadata(address, gated[0])


def _explain(address: Address, error: Exception, *, chosen: bool) -> RezooError:
    """Return the error of rezoo for one of the library, which may wrap one of the client."""
    from datasets import exceptions

    last = list(causes(error))[-1]
    text = (str(last).strip().splitlines() or [type(last).__name__])[0]
    page = f"{endpoint()}/datasets/{address.repo}"
    if isinstance(error, (exceptions.DataFilesNotFoundError, FileNotFoundError)):
        return NotFoundError(f"{address}: {text}", hint=f"look at {page}")
    if isinstance(error, ConnectionError):
        return NetworkError(f"{address}: {text}", hint="check the network and try again.")
    if isinstance(error, ValueError) and not chosen:  # a configuration is missing or unknown
        return SpecError(
            f"{address}: {' '.join(str(error).split())}",
            hint=f"write hf:{address.repo}:config=NAME",
        )
    damaged = isinstance(error, (ValueError, exceptions.DatasetsError))
    if isinstance(error, exceptions.DatasetGenerationCastError) or not damaged:
        return IncompatibleError(f"{address} cannot be read: {text}")
    return IntegrityError(
        f"{address} is damaged: {text}", hint="try another revision, or report it to its owners."
    )


def _describe(library: Any, feature: Any) -> dict[str, Any]:
    if isinstance(feature, library.ClassLabel):
        return {"kind": CLASSES, "names": list(feature.names)}
    if isinstance(feature, library.Value):
        return {"kind": str(feature.dtype)}
    return {"kind": type(feature).__name__}
