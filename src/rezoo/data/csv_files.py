"""`csv:PATH`: photographs and labels from a table.

```
path,label,split               path,labels,split
birds/1.jpg,wren,train         street/1.jpg,car;person,train
birds/2.jpg,robin,test         street/2.jpg,,test
```

The columns are found by these names, in any order; other columns are ignored.
`csv:PATH:path=image,label=emotion` takes other names. Paths are relative to the folder of the
table, or absolute; a backslash is read as `/`. A cell of `labels` holds any number of classes,
separated by `;`, or none. `split` may be missing, or empty in some rows: these rows are divided by
the fixed rule of `folder:`. See `rezoo.data.csv_rows` for separators and encoding.
"""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rezoo.data.csv_rows import SEPARATOR, CsvTable, Row, parse_reference, read_table
from rezoo.data.examples import SPLITS, Examples, Splits
from rezoo.data.file_names import printed, require_utf8
from rezoo.data.image_sources import FileSource
from rezoo.data.listing import ONLY_REGULAR, irregular, joined
from rezoo.data.splits import TEST_FRACTION
from rezoo.errors import IncompatibleError, NotFoundError, RezooError, UnsafeFileError


def open_csv(path: str | Path) -> Splits:
    """Open a table of photographs.

    Class names are the labels in Unicode's composed form (NFC): sorted as numbers if all are whole
    numbers, else by code points. The faults of the result are rows that cannot be used: a value
    or the file is missing, or the file is listed above with other labels or another split.

    Args:
        path: The table, and behind a colon the names of its columns if they are others:
            `photos.csv:path=image,label=emotion`.

    Raises:
        NotFoundError: The table is missing, or it has no rows or no label.
        SpecError: Columns are missing or exclude each other.
        IntegrityError: The table is not UTF-8.
        RezooError: No row can be used; of the kind of the first fault.
    """
    where, columns = parse_reference(str(path))
    file = Path(os.path.expanduser(where))
    require_utf8(os.path.abspath(file))
    table = read_table(file, columns)
    rows = _existing(file.parent, table)
    faults = [fault for _, fault in sorted(table.faults.items())]
    if not rows:
        raise joined(faults, printed(file))
    class_names = _in_order({name for row in rows for name in row.labels})
    if not class_names:
        raise NotFoundError(f"{file} has no label in any row", hint="fill the column labels.")
    targets = _targets([row.labels for row in rows], class_names, multi_label=table.multi_label)
    every = Examples(FileSource(file.parent, [row.path for row in rows], targets))
    named = np.array([row.split for row in rows])
    notes = [*([_label_counts(targets)] if table.multi_label else []), *table.notes]
    places = {split: np.flatnonzero(named == split) for split in ("", *SPLITS)}
    if len(places[""]):
        train, test = every.select(places[""]).hold_out(TEST_FRACTION)
        places["train"] = np.concatenate([places["train"], train.positions])
        places["test"] = np.concatenate([places["test"], test.positions])
        if len(test):
            notes.append(f"test: {len(test)} of {len(places[''])} images, held out by a fixed rule")
    return Splits(
        parts={split: every.select(places[split]) for split in SPLITS if len(places[split])},
        class_names=class_names,
        notes=tuple(notes),
        multi_label=table.multi_label,
        faults=tuple(faults),
    )


def _existing(root: Path, table: CsvTable) -> list[Row]:
    """Return the rows whose files are there, each file once; add faults and notes to the table."""
    folder, real_folders = os.fspath(root), dict[str, str]()
    seen: dict[str, Row] = {}
    slashed, again = [], []
    for row in table.rows:
        try:
            path = _file_of(folder, row)
        except RezooError as error:
            table.faults[row.line] = error
            continue
        if path != row.path:
            slashed.append(row.line)
        if (path := os.path.normpath(path)) != row.path:
            row = dataclasses.replace(row, path=path)
        first = seen.setdefault(_real_path(folder, path, real_folders), row)
        if (first.labels, first.split) != (row.labels, row.split):
            table.faults[row.line] = _contradiction(first, row)
        elif first is not row:
            again.append((first, row))
    if slashed:
        table.notes.append(
            f"{len(slashed):,} paths are read with / or in another Unicode form (line {slashed[0]})"
        )
    if again:
        first, row = again[0]
        pair = f"line {row.line}: the file of line {first.line}"
        table.notes.append(f"{len(again):,} rows repeat an earlier one and are left out ({pair})")
    return list(seen.values())


def _file_of(root: str, row: Row) -> str:
    """Return the path of a row as the file system spells it; raise an error with its line."""
    for spelling in _spellings(row.path):
        try:
            reason = irregular(os.stat(os.path.join(root, spelling)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or str(error)
            raise NotFoundError(f"{_where(row)}: {reason}", hint="check the path.") from error
        if reason:
            raise UnsafeFileError(f"{_where(row)} is a {reason}", hint=ONLY_REGULAR)
        return spelling
    hint = "paths are relative to the table's folder."
    raise NotFoundError(f"{_where(row)}: no such file", hint=hint)


def _where(row: Row) -> str:
    return f"line {row.line}: {printed(row.path[:200])}"


def _spellings(path: str) -> Iterator[str]:
    yield path
    slashed = path.replace("\\", "/")
    if slashed != path:
        yield slashed
    if not path.isascii():
        yield from (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))


def _real_path(root: str, path: str, real_folders: dict[str, str]) -> str:
    """Return the path of a file without links; `real_folders` keeps those of its folders."""
    folder, name = os.path.split(os.path.join(root, path))
    if folder not in real_folders:
        real_folders[folder] = os.path.realpath(folder)
    real = os.path.join(real_folders[folder], name)
    return os.path.realpath(real) if os.path.islink(real) else real


def _contradiction(first: Row, row: Row) -> RezooError:
    where = f"line {row.line}: {row.path} is listed above, in line {first.line},"
    labels = SEPARATOR.join(first.labels)
    return IncompatibleError(
        f"{where} as {labels!r} {first.split}".rstrip(),
        hint="the same labels and one split for each file.",
    )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names in order: whole numbers by value, else by code points."""
    found = sorted(names)
    if all(name.isascii() and name.isdecimal() and len(name) < 10 for name in found):
        found.sort(key=int)
    return tuple(found)


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
