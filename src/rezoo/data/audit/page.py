"""The folder of a report: a page, the same findings as JSON, and a list of examples to ignore.

A file there is replaced only if the last report wrote it and nobody edited it since: the JSON file
has the SHA-256 of the others.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.audit.findings import Example, Findings
from rezoo.data.audit.scan import decoded
from rezoo.data.dataset_references import short_name
from rezoo.data.examples import Splits
from rezoo.data.image_files import image_of
from rezoo.errors import RezooError, SpecError
from rezoo.utils.documents import read_document
from rezoo.utils.files import refuse_file, refuse_unwritable, storable, write_bytes, write_json
from rezoo.utils.names import printable
from rezoo.utils.pages import render

_LARGEST = 2**28  # bytes of a report: 100 for each finding on two million images
PAGE, DOCUMENT, IGNORE = "data-report.html", "data-report.json", "ignore.txt"
WRITTEN_BY = "rezoo data check"
_LIMITS = {"groups": 60, "members": 6, "examples": 24, "rows": 200, "names": 30}  # on the page
_SIDE = 112  # pixels of the images on the page


def default_folder(reference: str) -> Path:
    """Return `data-check-<name>`, with the last part of the reference."""
    return Path(f"data-check-{short_name(reference)}")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that the report may be written; nothing is changed.

    Raises:
        SpecError: A file there is not from a report, or was edited, and `overwrite` is False.
        ResourceError: The folder cannot be written.
    """
    refuse_file(folder)
    refuse_unwritable(folder)
    digests = _digests(folder / DOCUMENT)
    for path in (folder / name for name in (PAGE, DOCUMENT, IGNORE)):
        if overwrite or not os.path.lexists(path) or (path.name == DOCUMENT and digests):
            continue
        if path.name not in digests or _sha256(path.read_bytes()) != digests[path.name]:
            what = "was edited" if path.name in digests else "was not written by rezoo"
            raise SpecError(
                f"{path} {what}",
                hint="choose another folder with --output, or replace it with --overwrite.",
            )


def write_report(folder: Path, findings: Findings, opened: Splits) -> dict[str, Any]:
    """Write the three files of a report.

    Args:
        folder: The folder; it is created if necessary.
        findings: The findings.
        opened: The dataset, for the images on the page.

    Returns:
        The content of the JSON file.
    """
    lines = list(ignore_lines(findings))
    files = {
        PAGE: render_page(findings, opened).encode("utf-8", "backslashreplace"),
        IGNORE: "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"),
    }
    document: dict[str, Any] = {
        "written_by": WRITTEN_BY,
        **findings.to_dict(),
        "ignored": sum(bool(line) and line[0] != "#" for line in lines),
        "folder": str(folder),
        "sha256": {name: _sha256(content) for name, content in files.items()},
    }
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / DOCUMENT, document)
    return dict(storable(document))


def render_page(findings: Findings, opened: Splits) -> str:
    """Return the page, with small images of the examples in it."""
    shown = [m for g in findings.duplicates[: _LIMITS["groups"]] for m in g.members]
    for some in (findings.wrong_endings, findings.small, findings.large, findings.thin):
        shown += some[: _LIMITS["examples"]]
    classes = findings.classes
    if len(classes) > _LIMITS["rows"]:  # the smallest first
        classes = sorted(classes, key=lambda c: (min(c[s] for s in findings.examples), c["name"]))
    return render(
        "data_report.html",
        f=findings,
        problems={name: len(cases) for name, cases in findings.problems().items()},
        classes=classes,
        pictures=_pictures(opened, shown),
        limits=_LIMITS,
        printable=printable,
    )


def ignore_lines(findings: Findings) -> Iterator[str]:
    """Yield the lines of `ignore.txt`: examples to leave out, one key per line, `#` for comments.

    Listed are undecodable files and all but one member of each group of duplicates. The member in
    test is kept, else the one in val, else the largest: the test split does not change because
    of train. If the labels of a group differ, only a person can decide: its lines are comments.
    """
    agreeing = [g for g in findings.duplicates if len(g.labels) == 1]
    contradictory = [g for g in findings.duplicates if len(g.labels) > 1]
    yield "# One example per line; a line that begins with # is a comment. Edit as you like."
    if findings.undecodable:
        yield from ("", "# cannot be decoded")
    for example in findings.undecodable:
        yield from (_comment(example.note), _line(example.key))
    if agreeing:
        yield from ("", "# duplicates of the image named above them")
    for group in agreeing:
        kept, *others = group.members
        yield _comment(f"{group.kind}: {kept.key} ({kept.split}) is kept")
        yield from (_line(other.key) for other in others)
    if contradictory:
        yield from ("", "# duplicates with different labels: decide, and remove the #")
    for group in contradictory:
        yield _comment(f"{group.kind}:")
        yield from (_comment(f"{m.key}  ({m.split}, {m.label})") for m in group.members)


def _line(key: str) -> str:
    if key and key == key.strip() and key[0] != "#" and len(key.splitlines()) == 1:
        return key
    return _comment(f"this name cannot be listed, rename the file: {key!r}")


def _comment(text: str) -> str:
    return f"# {' '.join(printable(text).splitlines())}"


def _pictures(opened: Splits, examples: list[Example]) -> dict[tuple[str, int], str]:
    """Return small images as data URLs, by split and index; undecodable ones are left out."""
    found = {}
    for split, part in opened.parts.items():
        indices = np.unique(np.array([e.index for e in examples if e.split == split], np.int64))
        for place, pixels, _ in decoded(part, indices):
            image = image_of(pixels)
            image.thumbnail((_SIDE, _SIDE))
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=80)
            text = base64.b64encode(stream.getvalue()).decode()
            found[split, int(indices[place])] = f"data:image/jpeg;base64,{text}"
    return found


def _digests(path: Path) -> dict[str, str]:
    """Return the digests in a report's JSON file; empty if it is not one."""
    try:
        content = read_document(path, most=_LARGEST)
        return dict(content["sha256"]) if content["written_by"] == WRITTEN_BY else {}
    except (RezooError, KeyError, TypeError, ValueError):
        return {}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
