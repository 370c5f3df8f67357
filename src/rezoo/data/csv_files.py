"""`csv:PATH`: photographs and labels from a table.

```
path,label,split
birds/1.jpg,wren,train
birds/2.jpg,robin,test
```

The columns are found by these names, in any order; others are ignored. Paths are relative to
the table's folder, or absolute. `split` may be left out, or empty for some rows: those are
divided by the fixed rule of `folder:`. UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from rezoo.data.examples import SPLITS, Examples, FileExamples, Splits
from rezoo.data.folder import SPLIT_NAMES, held_out
from rezoo.errors import IncompatibleError, NotFoundError, RezooError, SpecError

_WANTED = "wanted is a first line path,label or path,label,split"


def open_csv(path: str | Path) -> Splits:
    """Open a table of photographs; class names are its labels, in order of code points.

    Raises:
        NotFoundError: The table or some of its files are missing, or it has no rows.
        SpecError: Columns are missing, or a split has a name that is none.
        IncompatibleError: A row lacks a value, or a file stands twice with two labels.
    """
    table = Path(path).expanduser()
    rows = _rows(table)
    root = table.parent
    missing = [p for p in rows if not (root / p).is_file()]
    if missing:
        raise NotFoundError(
            f"{len(missing)} of {len(rows)} files of {table} are missing: {', '.join(missing[:5])}",
            hint="paths are relative to the table's folder.",
        )
    class_names = tuple(sorted({label for label, _ in rows.values()}))
    numbers = {name: i for i, name in enumerate(class_names)}

    def examples(split: str) -> FileExamples:
        chosen = [p for p in rows if rows[p][1] == split]
        targets = [numbers[rows[p][0]] for p in chosen]
        return FileExamples(root, chosen, np.array(targets, np.int32))

    notes: list[str] = []
    parts: dict[str, Examples] = {split: examples(split) for split in SPLITS}
    undecided = examples("")
    if len(undecided):
        parts = _joined(parts, held_out(undecided, notes))
    parts = {split: part for split, part in parts.items() if len(part)}
    return Splits(parts=parts, class_names=class_names, notes=tuple(notes))


def _rows(table: Path) -> dict[str, tuple[str, str]]:
    """Return path → (label, split), with an empty split where none is given."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            if not {"path", "label"} <= set(columns):
                raise SpecError(f"{table} has the columns {', '.join(columns)}", hint=f"{_WANTED}.")
            rows: dict[str, tuple[str, str]] = {}
            for row in reader:
                _add(rows, row, f"{table}, line {reader.line_num}")
    except RezooError:
        raise
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {table}", hint="check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NotFoundError(f"cannot read {table}: {error}", hint=f"{_WANTED}, UTF-8.") from error
    if not rows:
        raise NotFoundError(f"{table} has no rows", hint=f"{_WANTED}.")
    return rows


def _add(rows: dict[str, tuple[str, str]], row: dict[str, str | None], where: str) -> None:
    path, label = ((row.get(key) or "").strip() for key in ("path", "label"))
    split = (row.get("split") or "").strip().lower()
    if not path or not label:
        raise IncompatibleError(f"{where}: path and label are needed", hint="fill the row.")
    if split and split not in SPLIT_NAMES:
        raise SpecError(f"{where}: split {split!r}", hint=f"allowed are {', '.join(SPLIT_NAMES)}.")
    known = os.path.normpath(path)
    entry = (label, SPLIT_NAMES[split] if split else "")
    if rows.setdefault(known, entry) != entry:
        raise IncompatibleError(
            f"{where}: {path} stands above as {rows[known][0]!r} {rows[known][1]}".rstrip(),
            hint="one label and one split for each file.",
        )


def _joined(one: dict[str, Examples], other: dict[str, Examples]) -> dict[str, Examples]:
    """Return each split's examples of both; they are files below one folder."""
    result: dict[str, Examples] = {}
    for split in SPLITS:
        parts = [p for p in (one.get(split), other.get(split)) if isinstance(p, FileExamples)]
        paths = [path for part in parts for path in part.paths]
        targets = np.concatenate([np.zeros(0, np.int32), *(part.labels() for part in parts)])
        result[split] = FileExamples(parts[0].root, paths, targets)
    return result
