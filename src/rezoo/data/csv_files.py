"""`csv:PATH`: photographs and labels from a table.

```
path,label,split               path,labels,split
birds/1.jpg,wren,train         street/1.jpg,car;person,train
birds/2.jpg,robin,test         street/2.jpg,,test
```

The columns are found by these names, in any order; other columns are ignored. Paths are relative
to the folder of the table, or absolute. A cell of `labels` holds any number of classes, separated
by `;`, or none. `split` may be missing, or empty in some rows: these rows are divided by the fixed
rule of `folder:`. The encoding is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.folder import SPLIT_NAMES
from rezoo.data.image_sources import FileSource
from rezoo.data.splits import TEST_FRACTION
from rezoo.errors import IncompatibleError, NotFoundError, RezooError, SpecError

SEPARATOR = ";"
_WANTED = "the first line must be path,label or path,label,split"
_WANTED_ONE = f"{_WANTED}; the column labels is for several labels per image"

Rows = dict[str, tuple[tuple[str, ...], str]]


def open_csv(path: str | Path) -> Splits:
    """Open a table of photographs; class names are its labels, sorted by code points.

    Raises:
        NotFoundError: The table or some of its files are missing, or it has no rows or no label.
        SpecError: Columns are missing or exclude each other, or the name of a split is unknown.
        IncompatibleError: A row lacks a value, or a file is listed twice with different labels.
    """
    table = Path(path).expanduser()
    rows, multi_label = _rows(table)
    root = table.parent
    missing = [p for p in rows if not (root / p).is_file()]
    if missing:
        raise NotFoundError(
            f"{len(missing)} of {len(rows)} files of {table} are missing: {', '.join(missing[:5])}",
            hint="paths are relative to the table's folder.",
        )
    class_names = tuple(sorted({name for names, _ in rows.values() for name in names}))
    if not class_names:
        raise NotFoundError(f"{table} has no label in any row", hint="fill the column labels.")
    targets = _targets([names for names, _ in rows.values()], class_names, multi_label=multi_label)
    every = Examples(FileSource(root, list(rows), targets))
    named = np.array([split for _, split in rows.values()])
    notes = [_label_counts(targets)] if multi_label else []
    places = {split: np.flatnonzero(named == split) for split in ("", *SPLITS)}
    if len(places[""]):
        train, test = every.select(places[""]).hold_out(TEST_FRACTION)
        places["train"] = np.concatenate([places["train"], train.positions])
        places["test"] = np.concatenate([places["test"], test.positions])
        if len(test):
            notes.append(f"test: {len(test)} of {len(places[''])} images, held out by a fixed rule")
    parts = {split: every.select(places[split]) for split in SPLITS if len(places[split])}
    return Splits(parts=parts, class_names=class_names, notes=tuple(notes), multi_label=multi_label)


def _targets(
    rows: list[tuple[str, ...]], class_names: tuple[str, ...], *, multi_label: bool
) -> np.ndarray:
    """Return the class of each row, int32 `(N,)`, or zeros and ones, uint8 `(N, K)`."""
    numbers = {name: i for i, name in enumerate(class_names)}
    if not multi_label:
        return np.array([numbers[name] for (name,) in rows], np.int32)
    targets = np.zeros((len(rows), len(class_names)), np.uint8)
    for row, names in zip(targets, rows, strict=True):
        row[[numbers[name] for name in names]] = 1
    return targets


def _label_counts(targets: np.ndarray) -> str:
    """Return a note on the number of labels per image."""
    labels = targets.sum(1)
    none = int((labels == 0).sum())
    text = f"an image has any number of labels, {labels.mean():.2f} on average"
    return f"{text}; {none} of {len(labels)} have none" if none else text


def _rows(table: Path) -> tuple[Rows, bool]:
    """Return path → (labels, split), the split empty if none is given, and whether multi-label."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            multi_label = _is_multi_label(table, columns)
            rows: Rows = {}
            for row in reader:
                _add(rows, row, f"{table}, line {reader.line_num}", multi_label=multi_label)
    except RezooError:
        raise
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {table}", hint="check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NotFoundError(f"cannot read {table}: {error}", hint=f"{_WANTED}, UTF-8.") from error
    if not rows:
        raise NotFoundError(f"{table} has no rows", hint=f"{_WANTED}.")
    return rows, multi_label


def _is_multi_label(table: Path, columns: list[str]) -> bool:
    named = {"label", "labels"} & set(columns)
    if len(named) == 2:
        raise SpecError(
            f"{table} has a column label and a column labels",
            hint="keep one: label for one class per image, labels for any number of classes.",
        )
    if "path" not in columns or not named:
        raise SpecError(f"{table} has the columns {', '.join(columns)}", hint=f"{_WANTED_ONE}.")
    return named == {"labels"}


def _add(rows: Rows, row: dict[Any, Any], where: str, *, multi_label: bool) -> None:
    cell = row.get("labels" if multi_label else "label") or ""
    path, split = ((row.get(key) or "").strip() for key in ("path", "split"))
    split = split.lower()
    labels = _names(cell) if multi_label else (cell.strip(),)
    if not path or not all(labels):
        needed = "path is" if multi_label else "path and label are"
        raise IncompatibleError(f"{where}: {needed} needed", hint="fill the row.")
    if multi_label and None in row:  # cells after the last column
        raise IncompatibleError(
            f"{where}: more values than columns", hint=f"separate labels by {SEPARATOR!r}."
        )
    if split and split not in SPLIT_NAMES:
        raise SpecError(f"{where}: split {split!r}", hint=f"allowed are {', '.join(SPLIT_NAMES)}.")
    entry = (labels, SPLIT_NAMES[split] if split else "")
    before = rows.setdefault(os.path.normpath(path), entry)
    if before != entry:
        text = f"{where}: {path} is listed above as {SEPARATOR.join(before[0])!r} {before[1]}"
        what = "the same labels" if multi_label else "one label"
        raise IncompatibleError(text.rstrip(), hint=f"{what} and one split for each file.")


def _names(cell: str) -> tuple[str, ...]:
    """Return the classes that a cell names, each once."""
    return tuple(sorted({name.strip() for name in cell.split(SEPARATOR)} - {""}))
