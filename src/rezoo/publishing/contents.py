"""What of a folder is published: the bytes of its files, checked.

Each file is read once, from a regular file that is no link. These bytes are compared with the
manifest, searched for secrets and sent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezoo.artifacts import run_files
from rezoo.artifacts.card import MARK, model_card
from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, refuse_special_files, with_manifest
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.publishing.secrets import find_secret
from rezoo.utils.files import FileRecord, read_regular
from rezoo.utils.pages import for_others

_NEEDED = (CONFIG, WEIGHTS, run_files.REFERENCE)
_MAX_BYTES = 8 * 1024**3  # the weights of the largest network here are a quarter of this


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The files of a folder that are published.

    Attributes:
        folder: The folder.
        files: Name → bytes to be sent. The config and the card are written for the repository,
            the report is without what must stay on this machine, and the others are those of the
            folder.
        kept: Name → bytes that the folder gets afterwards: the card, and the config with the
            manifest of its own report.
        records: Name → size and SHA-256 of the bytes to be sent.
        found: Name → SHA-256 of the file in the folder.
    """

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    kept: Mapping[str, bytes] = field(repr=False)
    records: Mapping[str, FileRecord]
    found: Mapping[str, str]

    def refuse_changed(self) -> None:
        """Raise `IntegrityError` if a file of the folder has changed since it was read."""
        for name, sha256 in self.found.items():
            if _record_of(_read(self.folder / name)).sha256 != sha256:
                raise IntegrityError(
                    f"{self.folder / name} was changed while the push was prepared",
                    hint="wait until nothing writes to the folder, then push again.",
                )


def read_contents(folder: Path, repo: str, licence: str) -> Contents:
    """Read the files to be published: `config.json`, what it lists, and the card.

    Args:
        folder: The run folder.
        repo: `owner/name`, for the card.
        licence: Licence of the weights; if empty, that of the base weights.

    Raises:
        SpecError: The folder is not a finished run.
        NotFoundError: A file is missing.
        IntegrityError: A file differs from the manifest, or the card is not UTF-8.
        UnsafeFileError: A file is a link, a FIFO or a device, or has what looks like a secret.
        IncompatibleError: The manifest lists a file that is not one of a run.
    """
    config = read_json(folder)
    listed = read_config(folder).files
    refuse_special_files(folder)
    _check_manifest(folder, config, listed)
    found = {CONFIG: _read(folder / CONFIG)}
    for name, expected in listed.items():
        found[name] = _read(folder / name)
        if name != run_files.CARD:  # a card may be edited by hand
            measured = _record_of(found[name])
            expected.check(folder / name, size=measured.size or 0, sha256=measured.sha256)
    if os.path.lexists(folder / run_files.CARD):
        found[run_files.CARD] = _read(folder / run_files.CARD)
    card = _card(folder, found.get(run_files.CARD, b""), repo, licence)
    own = {**found, run_files.CARD: card}
    records = {name: _record_of(content) for name, content in own.items() if name != CONFIG}
    own[CONFIG] = _config(config, records, licence)
    sent = dict(own)
    if run_files.REPORT in own:
        sent[run_files.REPORT] = for_others(own[run_files.REPORT])
        records[run_files.REPORT] = _record_of(sent[run_files.REPORT])
    sent[CONFIG] = _config(config, records, licence)
    records[CONFIG] = _record_of(sent[CONFIG])
    _refuse_secrets(folder, sent)
    return Contents(
        folder=folder,
        files=sent,
        kept={name: own[name] for name in (CONFIG, run_files.CARD)},
        records={name: records[name] for name in run_files.PUBLISHED if name in records},
        found={name: _record_of(content).sha256 for name, content in found.items()},
    )


def _check_manifest(
    folder: Path, config: Mapping[str, Any], listed: Mapping[str, FileRecord]
) -> None:
    holds = checksum_holds(config)
    missing = [name for name in _NEEDED if not os.path.lexists(folder / name)]
    if holds is None or missing:
        what = f"it has no {', '.join(missing) or 'manifest'}"
        raise SpecError(
            f"{folder} is not a finished run: {what}",
            hint="finish it with --resume; for weights of another origin, write a manifest with "
            f"rezoo verify {folder} --record.",
        )
    if not holds:
        raise IntegrityError(
            f"{folder / CONFIG} was changed after its manifest was written",
            hint=f"rezoo verify {folder} shows the differences; --record --overwrite writes a "
            "new manifest.",
        )
    for name in listed:
        if name not in run_files.LISTED:
            raise IncompatibleError(
                f"{folder / CONFIG} lists {name}, which is not a file of a run",
                hint=f"rezoo verify {folder} --record --overwrite lists the files of a run only.",
            )
        if not os.path.lexists(folder / name):
            raise NotFoundError(f"{folder} has no {name}, which its {CONFIG} lists")


def _read(path: Path) -> bytes:
    return read_regular(path, most=_MAX_BYTES, follow_links=False)


def _card(folder: Path, own: bytes, repo: str, licence: str) -> bytes:
    """Return the card: the user's own if it was edited by hand, or else one for the repository."""
    try:
        text = own.decode()
    except UnicodeDecodeError as error:
        line = own.count(b"\n", 0, error.start) + 1
        raise IntegrityError(
            f"{folder / run_files.CARD}, line {line}, is not UTF-8",
            hint="save it in the encoding UTF-8, which the Hub reads.",
        ) from error
    keep = text and MARK not in text
    return own if keep else model_card(folder, repo=repo, licence=licence).encode()


def _config(config: dict[str, Any], files: Mapping[str, FileRecord], licence: str) -> bytes:
    """Return `config.json` with the licence and a manifest of files."""
    if licence and isinstance(config.get("pretrained_cfg"), dict):
        config = {**config, "pretrained_cfg": {**config["pretrained_cfg"], "license": licence}}
    whole = with_manifest(config, files)
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _refuse_secrets(folder: Path, files: Mapping[str, bytes]) -> None:
    from huggingface_hub import get_token

    for name, content in files.items():
        if secret := find_secret(name, content, token=get_token() or ""):
            raise UnsafeFileError(
                f"{folder / name}, {secret.place}, contains what looks like {secret.kind}",
                hint="remove it, and revoke it if it is real: it may have been copied already.",
            )


def _record_of(content: bytes) -> FileRecord:
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))
