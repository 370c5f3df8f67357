"""Fetch a dataset of the Hugging Face Hub at a commit, and keep it as Arrow tables.

The `datasets` library downloads and converts; what it made is noted in a file beside it, so
that every later use reads the tables alone: without the library, the Hub or the network.

```
<data folder>/huggingface/<owner>--<name>/refs/<revision>      the commit that it meant last
<data folder>/huggingface/<owner>--<name>/<commit>/<config>.json   columns and tables
```
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.errors import (
    AccessError,
    HubWarning,
    IncompatibleError,
    IntegrityError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    ResourceError,
    RezooError,
    SpecError,
)
from rezoo.sources.hub_address import Address, is_commit
from rezoo.sources.hub_client import RETRY_WAITS_S, ask, endpoint, identity
from rezoo.utils import device
from rezoo.utils.files import write_bytes, write_json
from rezoo.utils.paths import data_dir

IMAGE, CLASSES = "Image", "ClassLabel"


@dataclass(frozen=True)
class Prepared:
    """A dataset on this machine.

    Attributes:
        commit: Of the repository.
        columns: Name → `kind`: `Image`, `ClassLabel` (with `names`), a plain type as `int64` or
            `string`, or another of the library's.
        tables: The dataset's split → its Arrow files.
    """

    commit: str
    columns: dict[str, dict[str, Any]]
    tables: dict[str, list[Path]]


def prepare(address: Address, config: str = "") -> Prepared:
    """Return a dataset of the Hub; the first use of a commit downloads and converts it.

    Args:
        address: The repository, at any revision. Where the Hub does not answer, a branch or tag
            means the commit that it meant last, with a warning.
        config: Which of its configurations; may be empty where it has one or a default.

    Raises:
        MissingExtraError: The `datasets` library is not installed.
        NotFoundError: No such repository or revision, or it has no data.
        NetworkError: It is needed and does not answer; `AccessError` where the Hub refuses.
        SpecError: A configuration must be chosen, or there is none of that name.
        IncompatibleError: It is not made of data files alone, or cannot be read.
        IntegrityError: Its files are damaged.
        ResourceError: No room for it.
    """
    home = data_dir() / "huggingface" / address.repo.replace("/", "--")
    commit = _commit(address, home / "refs" / address.revision)
    note = home / commit / f"{config or '_'}.json"
    known = _noted(note, commit)
    return known or _fetch(address.at(commit), config, note)


def name_of(address: Address) -> str:
    """Return what messages call a dataset: `hf://datasets/owner/name@revision`."""
    return f"hf://datasets/{address.repo}@{address.revision}"


def _commit(address: Address, memory: Path) -> str:
    """Return the commit that a revision means now, or meant last where the Hub is not reached."""
    if address.pinned:
        return address.revision
    from huggingface_hub import HfApi, constants

    try:
        last = memory.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        last = ""
    if constants.HF_HUB_OFFLINE:
        if not is_commit(last):
            raise _offline(address)
        return last
    api = HfApi(**identity())
    try:
        found = ask(
            name_of(address),
            lambda: api.dataset_info(address.repo, revision=address.revision),
            retries=(0.0,) if is_commit(last) else RETRY_WAITS_S,
        )
    except NetworkError as error:
        if not is_commit(last) or isinstance(error, AccessError):
            raise
        warnings.warn(HubWarning(f"{error}; using commit {last[:12]} from the disk."), stacklevel=2)
        return last
    commit = found.sha
    if not is_commit(commit):
        raise NetworkError(f"the answer for {name_of(address)} names no commit: {commit!r}")
    write_bytes(memory, str(commit).encode())
    return str(commit)


def _offline(address: Address) -> NetworkError:
    return NetworkError(
        f"{name_of(address)} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it",
        hint="use it once with a network and HF_HUB_OFFLINE=0.",
    )


def _noted(note: Path, commit: str) -> Prepared | None:
    try:
        told = json.loads(note.read_text("utf-8"))
        tables = {s: [note.parent / f for f in files] for s, files in told["tables"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    whole = all(path.is_file() for paths in tables.values() for path in paths)
    return Prepared(commit, told["columns"], tables) if whole else None


def _fetch(address: Address, config: str, note: Path) -> Prepared:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _offline(address)
    library = _library()
    _check_access(address)
    what = name_of(address)

    # tables that were lost are made again; without this, an empty folder counts as prepared
    mode = "reuse_cache_if_exists" if note.exists() else "reuse_dataset_if_exists"

    def call() -> Any:
        builder = None
        try:
            builder = library.load_dataset_builder(
                f"hf://datasets/{address.repo}",
                config or None,
                revision=address.revision,
                cache_dir=str(note.parent),
            )
            _check_room(what, builder.info.size_in_bytes or 0, note.parent)
            builder.download_and_prepare(download_mode=mode)
            return builder.as_dataset()
        except Exception as error:
            raise _explained(what, error, chosen=builder is not None) from error

    made = ask(what, call, moved=_grown(note.parent, address), retries=RETRY_WAITS_S)
    features = next(iter(made.values())).features if made else {}
    columns = {name: _described(library, kind) for name, kind in features.items()}
    tables = {
        split: [Path(file["filename"]).relative_to(note.parent).as_posix() for file in files]
        for split, files in made.cache_files.items()
    }
    write_json(note, {"columns": columns, "tables": tables})
    return Prepared(
        address.revision, columns, {s: [note.parent / f for f in tables[s]] for s in tables}
    )


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
    """Ask for one file: who may not read it hears so from the Hub, not from the library."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    api, what = HfApi(**identity()), name_of(address)
    info = ask(
        what,
        lambda: api.dataset_info(address.repo, revision=address.revision),
        retries=RETRY_WAITS_S,
    )
    names = [file.rfilename for file in info.siblings or ()]
    if f"{address.repo.partition('/')[2]}.py" in names:
        raise IncompatibleError(
            f"{what} is made by a program in its repository, and rezoo runs none",
            hint="ask its owners for Parquet files; its branch refs/convert/parquet may have them.",
        )
    if not names:
        raise NotFoundError(f"{what} has no files")
    # of a gated repository these two may be read by all
    gated = [name for name in names if name not in (".gitattributes", "README.md")] or names
    url = hf_hub_url(address.repo, gated[0], repo_type="dataset", revision=address.revision)
    ask(what, lambda: get_hf_file_metadata(url, **identity()), retries=RETRY_WAITS_S)


def _check_room(what: str, size: int, folder: Path) -> None:
    existing = next(p for p in (folder, *folder.parents) if p.is_dir())
    free = device.free_disk_bytes(existing)
    if free < size:
        raise ResourceError(
            f"{what} needs {size:,} bytes; {existing} has {free:,} free",
            hint="free some space, or set TFDS_DATA_DIR to a folder on another disk.",
        )


def _grown(folder: Path, address: Address) -> Callable[[], int]:
    """Return a function that tells how many bytes there are by now; it looks once a second."""
    from huggingface_hub import constants

    fetched = Path(constants.HF_HUB_CACHE) / f"datasets--{address.repo.replace('/', '--')}"
    last = [0.0, 0]

    def moved() -> int:
        if time.monotonic() - last[0] > 1:
            last[:] = time.monotonic(), _bytes_in(folder) + _bytes_in(fetched)
        return int(last[1])

    return moved


def _bytes_in(folder: Path) -> int:
    """Return the bytes of all files of a folder, of which others may vanish meanwhile."""
    walk = os.walk(folder)  # unlike `rglob`, it passes over a folder that is gone
    return sum(_size(Path(at) / name) for at, _, names in walk for name in names)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # renamed meanwhile
        return 0


def _explained(what: str, error: Exception, *, chosen: bool) -> Exception:
    """Return what lies behind an error of the library: the client's, the system's or rezoo's."""
    import httpx2
    from datasets import exceptions
    from huggingface_hub import errors

    for cause in _causes(error):
        if isinstance(cause, (RezooError, httpx2.HTTPError, errors.HfHubHTTPError)):
            return cause
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
    last = list(_causes(error))[-1]
    text = (str(last).strip().splitlines() or [type(last).__name__])[0]
    if isinstance(error, (exceptions.DataFilesNotFoundError, FileNotFoundError)):
        return NotFoundError(f"{what}: {text}", hint=f"look at {endpoint()}/{what[5:]}")
    if isinstance(error, ConnectionError):
        return NetworkError(f"{what}: {text}", hint="check the network and try again.")
    if isinstance(error, ValueError) and not chosen:  # a configuration is missing or unknown
        return SpecError(
            f"{what}: {' '.join(str(error).split())}",
            hint=f"write hf:{what[14:].partition('@')[0]}:config=NAME",
        )
    if isinstance(error, exceptions.DatasetGenerationCastError) or not isinstance(
        error, (ValueError, exceptions.DatasetsError)
    ):
        return IncompatibleError(f"{what} cannot be read: {text}")
    return IntegrityError(
        f"{what} is damaged: {text}", hint="try another revision, or tell its owners."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _described(library: Any, feature: Any) -> dict[str, Any]:
    if isinstance(feature, library.ClassLabel):
        return {"kind": CLASSES, "names": list(feature.names)}
    if isinstance(feature, library.Value):
        return {"kind": str(feature.dtype)}
    return {"kind": type(feature).__name__}
