"""`csv:PATH`: photographs and labels from a table.

```
path,label,split               path,labels,split
birds/1.jpg,wren,train         street/1.jpg,car;person,train
birds/2.jpg,robin,test         street/2.jpg,,test
```

The columns are found by these names, in any order; others are ignored. Paths are relative to
the table's folder, or absolute. A cell of `labels` holds any number of classes, separated by
`;`: none, too. `split` may be left out, or empty for some rows: those are divided by the fixed
rule of `folder:`. UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data.examples import SPLITS, Examples, FileExamples, Splits
from rezoo.data.folder import SPLIT_NAMES, held_out
from rezoo.errors import IncompatibleError, NotFoundError, RezooError, SpecError

SEPARATOR = ";"
_WANTED = "wanted is a first line path,label or path,label,split"
_WANTED_ONE = f"{_WANTED}; or labels for several of them"

Rows = dict[str, tuple[tuple[str, ...], str]]


def open_csv(path: str | Path) -> Splits:
    """Open a table of photographs; class names are its labels, in order of code points.

    Raises:
        NotFoundError: The table or some of its files are missing, or it has no rows or no label.
        SpecError: Columns are missing or exclude each other, or a split has a name that is none.
        IncompatibleError: A row lacks a value, or a file stands twice with two labels.
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
    every = FileExamples(root, list(rows), targets)
    splits = np.array([split for _, split in rows.values()])
    notes = [_counted(targets)] if multi_label else []
    parts: dict[str, Examples] = {s: every.select(np.flatnonzero(splits == s)) for s in SPLITS}
    undecided = every.select(np.flatnonzero(splits == ""))
    if len(undecided):
        parts = _joined(parts, held_out(undecided, notes))
    parts = {split: part for split, part in parts.items() if len(part)}
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


def _counted(targets: np.ndarray) -> str:
    """Return in words how many labels images have."""
    labels = targets.sum(1)
    none = int((labels == 0).sum())
    text = f"an image has any number of labels, {labels.mean():.2f} on average"
    return f"{text}; {none} of {len(labels)} have none" if none else text


def _rows(table: Path) -> tuple[Rows, bool]:
    """Return path → (labels, split), with an empty split where none is given; if multi-label."""
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
            hint="keep one: label for one class an image, labels for any number of them.",
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
    if multi_label and None in row:  # what stands behind the last column
        raise IncompatibleError(
            f"{where}: more values than columns", hint=f"separate labels by {SEPARATOR!r}."
        )
    if split and split not in SPLIT_NAMES:
        raise SpecError(f"{where}: split {split!r}", hint=f"allowed are {', '.join(SPLIT_NAMES)}.")
    entry = (labels, SPLIT_NAMES[split] if split else "")
    before = rows.setdefault(os.path.normpath(path), entry)
    if before != entry:
        text = f"{where}: {path} stands above as {SEPARATOR.join(before[0])!r} {before[1]}"
        what = "the same labels" if multi_label else "one label"
        raise IncompatibleError(text.rstrip(), hint=f"{what} and one split for each file.")


def _names(cell: str) -> tuple[str, ...]:
    """Return the classes that a cell names, each once."""
    return tuple(sorted({name.strip() for name in cell.split(SEPARATOR)} - {""}))


def _joined(one: dict[str, Examples], other: dict[str, Examples]) -> dict[str, Examples]:
    """Return each split's examples of both; they are files below one folder."""
    result: dict[str, Examples] = {}
    for split in SPLITS:
        parts = [p for p in (one.get(split), other.get(split)) if isinstance(p, FileExamples)]
        paths = [path for part in parts for path in part.paths]
        targets = np.concatenate([part.labels() for part in parts])
        result[split] = FileExamples(parts[0].root, paths, targets)
    return result
