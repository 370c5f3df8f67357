"""The folder of a data check: three files, and none of anybody else's is written over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.audit import ignore_list, page
from rezoo.data.audit.findings import Example, Findings
from rezoo.data.examples import Examples
from rezoo.data.images import decode
from rezoo.errors import SpecError
from rezoo.utils.files import refuse_file, refuse_unwritable, write_bytes, write_json

REPORT, DOCUMENT, IGNORE = "data-report.html", "data-report.json", "ignore.txt"
WRITTEN_BY = "rezoo data check"
_SIDE = 112  # of the pictures on the page


def default_folder(reference: str) -> Path:
    """Return `data-check-<name>`, with the last part of a path."""
    return Path(f"data-check-{Path(reference.split(':', 1)[-1]).name or 'data'}")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Make sure that the three files may be written, without touching anything.

    Raises:
        SpecError: A file of that name is not rezoo's, or was edited, and nobody said to replace it.
        ResourceError: The folder cannot be written.
    """
    refuse_file(folder)
    for name, ours in ((REPORT, _our_page), (DOCUMENT, _our_document), (IGNORE, _our_list)):
        path = folder / name
        if os.path.lexists(path) and not overwrite and not ours(path):
            what = "was edited" if _begins(path, ignore_list.MARK) else "was not written by rezoo"
            raise SpecError(
                f"{path} {what}",
                hint="choose another folder with --output, or replace it with --overwrite.",
            )
    refuse_unwritable(folder)


def write(folder: Path, findings: Findings, parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Write the page, the document and the list; return the document."""
    document = {"written_by": WRITTEN_BY, **findings.to_dict()}
    document["ignored"] = len(ignore_list.ignored(findings))
    document["folder"] = str(folder)
    document = _plain(document)
    html = page.report(findings, small_pictures(parts, page.pictured(findings)))
    write_bytes(folder / REPORT, html.encode("utf-8", "backslashreplace"))
    write_json(folder / DOCUMENT, document)
    text = ignore_list.ignore_text(findings)
    write_bytes(folder / IGNORE, text.encode("utf-8", "surrogateescape"))
    return document


def small_pictures(parts: Mapping[str, Examples], examples: Sequence[Example]) -> dict[int, bytes]:
    """Return small JPEG files of examples by their rows; what cannot be decoded is left out."""
    found: dict[int, bytes] = {}
    for split, part in parts.items():
        some = {e.index: e.row for e in examples if e.split == split}
        if not some:
            continue
        chosen = part.select(np.array(list(some), np.int64))
        stream = tf.data.Dataset.range(len(chosen)).map(
            _shrinker(chosen), num_parallel_calls=tf.data.AUTOTUNE, deterministic=False
        )
        rows = list(some.values())
        found |= {rows[int(i)]: data for i, data in stream.ignore_errors().as_numpy_iterator()}
    return found


def _shrinker(examples: Examples) -> Any:
    @tf.autograph.experimental.do_not_convert
    def shrink(index: Any) -> Any:
        image, _ = examples.fetch(index)
        if examples.encoded:
            image = decode(image, 3)
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        size = tf.maximum(tf.cast(sides * (_SIDE / tf.reduce_max(sides)), tf.int32), 1)
        small = tf.clip_by_value(tf.round(tf.image.resize(image, size, antialias=True)), 0, 255)
        return index, tf.io.encode_jpeg(tf.cast(small, tf.uint8), quality=80)

    return shrink


def _plain(value: Any) -> Any:
    """Make text of names that are no Unicode, which JSON cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _our_page(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return page.MARK in file.read(2000)
    except (OSError, ValueError):
        return False


def _our_document(path: Path) -> bool:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("written_by") == WRITTEN_BY


def _our_list(path: Path) -> bool:
    try:
        return ignore_list.is_unedited(path.read_bytes().decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return False


def _begins(path: Path, mark: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(mark)) == mark.encode()
    except OSError:
        return False
