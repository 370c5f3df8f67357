"""The rows of a table of photographs: separator, columns, cells. No image file is looked at."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rezoo.data.file_names import printed, split_of
from rezoo.data.image_files import ENDINGS, MAX_FILE_BYTES
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    RezooError,
    SpecError,
)
from rezoo.utils.files import read_regular
from rezoo.utils.names import normalized

SEPARATOR = ";"  # of the labels in a cell
ROLES = ("path", "label", "labels", "split")
_LABELS = {"label", "labels"}
_SEPARATORS = (",", ";", "\t")  # of columns
_ROLE = rf"(?:{'|'.join(ROLES)})=[^,=:]+"
_REFERENCE = re.compile(rf"(?P<path>.+):(?P<columns>{_ROLE}(?:,{_ROLE})*)", re.DOTALL)
_COLUMNS = "the first line names the columns: path,label or path,label,split"
_OWN_NAMES = "--columns path=COLUMN,label=COLUMN takes other names"
_ONE_OF = "the column labels is for several labels per image"


@dataclass(frozen=True)
class Row:
    """One row: an image and its labels."""

    line: int  # the last line of the row; the first line of the table is 1
    path: str  # as written in the table
    labels: tuple[str, ...]  # one, or if multi-label any number, sorted; in Unicode's form NFC
    split: str  # train, val, test, or empty


@dataclass(eq=False)
class CsvTable:
    """The rows of a table."""

    multi_label: bool
    separated: bool = False  # whether the labels of some row contain the separator
    rows: list[Row] = field(default_factory=list)
    faults: dict[int, RezooError] = field(default_factory=dict)  # line → why it cannot be used
    notes: list[str] = field(default_factory=list)


def parse_reference(text: str) -> tuple[Path, dict[str, str]]:
    """Return the path of a table, and role → name of its column, of `PATH[:role=column,…]`.

    Raises:
        SpecError: A role is named twice, or both label and labels are.
    """
    match = _REFERENCE.fullmatch(text)
    if not match:
        return Path(text), {}
    pairs = [part.split("=") for part in match["columns"].split(",")]
    columns = {role: name.strip().lower() for role, name in pairs}
    if len(columns) < len(pairs) or columns.keys() >= _LABELS:
        raise SpecError(
            f"columns {match['columns']!r}: a role is named twice",
            hint=f"name a column for each of path, label (or labels) and split; {_ONE_OF}.",
        )
    return Path(match["path"]), columns


def with_columns(reference: str, columns: str) -> str:
    """Return a reference `csv:PATH` with the columns of `--columns` added.

    Args:
        reference: A dataset reference.
        columns: `path=COLUMN,label=COLUMN`, and the like.

    Raises:
        SpecError: The reference is not `csv:PATH`, or the text has another form.
    """
    if not reference.startswith("csv:") or parse_reference(reference)[1]:
        raise SpecError(
            f"--columns is for csv:PATH, not for {reference!r}", hint="leave out --columns."
        )
    if not parse_reference(changed := f"{reference}:{columns}")[1]:
        raise SpecError(
            f"--columns {columns!r} is not of the form path=COLUMN,label=COLUMN",
            hint=f"allowed before = are {', '.join(ROLES)}; names have no comma, colon or =.",
        )
    return changed


def read_table(path: Path, names: Mapping[str, str]) -> CsvTable:
    """Read a table; rows that cannot be used become faults.

    Args:
        path: A CSV file in UTF-8, with or without a byte order mark. Columns are separated by
            commas, semicolons or tabs: what separates the wanted columns of the first line.
        names: Role → name of its column, in lower case, if it is not the role itself.

    Raises:
        NotFoundError: There is no such file, it cannot be read, or it has no rows.
        SpecError: Columns are missing, exclude each other or occur twice; the labels of a
            multi-label table are separated by something else.
        IntegrityError: It is not a regular file, or not UTF-8.
    """
    text = _text(path)
    separator, columns, places = _columns(path, text, names)
    table = CsvTable(multi_label="labels" in places)
    blank: list[int] = []
    for line, cells in _records(path, text, separator):
        if not any(map(str.strip, cells)):
            blank += [line] if cells else []
            continue
        try:
            table.rows.append(_row(line, cells, len(columns), places))
        except RezooError as error:
            table.faults[line] = error
        if table.multi_label and len(cells) > places["labels"]:
            table.separated |= SEPARATOR in cells[places["labels"]]
    if blank:
        table.notes.append(f"{len(blank):,} empty rows are left out (line {blank[0]})")
    if not table.rows and not table.faults:
        raise NotFoundError(f"{printed(path)} has no rows", hint=f"{_COLUMNS}.")
    if table.multi_label and not table.separated:
        _check_separator(path, table.rows)
    return table


def _text(path: Path) -> str:
    """Return the text of a table."""
    content = read_regular(path, most=MAX_FILE_BYTES)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise IntegrityError(f"{path} is in UTF-16", hint="save it as CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start : error.start + 1]
        raise IntegrityError(
            f"{path}, line {line}: byte {wrong!r} is not UTF-8", hint="save it as CSV in UTF-8."
        ) from error


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield `(line, cells)` of each record after the first."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    line, begun = 0, False
    try:
        for cells in reader:
            line = reader.line_num
            if begun:
                yield line, cells
            begun = begun or bool(cells)
    except csv.Error as error:
        raise NotFoundError(
            f"cannot read {path}, line {line + 1}: {error}",
            hint='a value with " in it is written "like ""this""".',
        ) from error


def _columns(
    path: Path, text: str, names: Mapping[str, str]
) -> tuple[str, list[str], dict[str, int]]:
    """Return the separator, the names of the columns, and role → number of its column."""
    first = re.match(r"[\r\n]*([^\r\n]*)", text)[1]  # type: ignore[index]  # matches always
    wanted = {role: names.get(role, role) for role in ROLES}
    if named := _LABELS & names.keys():
        wanted = {role: name for role, name in wanted.items() if role not in _LABELS - named}
    most: list[str] = []
    for separator in _SEPARATORS:
        cells = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        columns = [cell.strip().lower() for cell in cells]
        places = {role: columns.index(name) for role, name in wanted.items() if name in columns}
        if "path" in places and _LABELS & places.keys():
            _check_columns(path, columns, wanted, names)
            return separator, columns, places
        most = max(most, columns, key=len)
    cells = re.split(r"[,;\t ]+", first)
    if cells[0].lower().endswith(ENDINGS):
        raise SpecError(
            f"the first line of {path} is an image: {first[:80]!r}",
            hint="write the line path,label above it, and separate the columns by commas: "
            f"{','.join(cells[:2])}",
        )
    raise SpecError(
        f"{path} has the columns {', '.join(most)[:200]}",
        hint=f"{_COLUMNS}; {_ONE_OF}; {_OWN_NAMES}.",
    )


def _check_columns(
    path: Path, columns: Sequence[str], wanted: Mapping[str, str], names: Mapping[str, str]
) -> None:
    if {role for role, name in wanted.items() if name in columns} >= _LABELS:
        raise SpecError(
            f"{path} has a column label and a column labels",
            hint="keep one: label for one class per image, labels for any number of classes.",
        )
    if missing := [name for name in names.values() if name not in columns]:
        raise SpecError(
            f"{path} has no column {missing[0]!r}", hint=f"it has {', '.join(columns)}."
        )
    if twice := [name for name in wanted.values() if columns.count(name) > 1]:
        raise SpecError(
            f"{path} has {columns.count(twice[0])} columns {twice[0]!r}",
            hint=f"keep one; {_OWN_NAMES}.",
        )


def _row(line: int, cells: Sequence[str], width: int, places: Mapping[str, int]) -> Row:
    """Return one row; raises an error that names the line."""
    values = {role: cells[i].strip() for role, i in places.items() if i < len(cells)}
    path, named = values.get("path", ""), values.get("split", "")
    split = split_of(named) if named else ""
    if any(map(str.strip, cells[width:])):
        raise IncompatibleError(
            f"line {line}: {len(cells)} values for {width} columns",
            hint='put a value that contains the separator into quotes ("a, b")'
            + (f"; separate labels by {SEPARATOR!r}." if "labels" in places else "."),
        )
    if "labels" in places:
        labels = tuple(sorted({name.strip() for name in values.get("labels", "").split(SEPARATOR)}))
        labels = tuple(filter(None, labels))
    else:
        labels = (values.get("label", ""),)
    if not path or not all(labels):
        needed = "path is" if "labels" in places else "path and label are"
        raise IncompatibleError(f"line {line}: {needed} needed", hint="fill the row.")
    if split is None:
        raise SpecError(f"line {line}: split {named!r}", hint="allowed are train, val and test.")
    labels = tuple(normalized(name) for name in labels)
    return Row(line, path, labels, split)


def _check_separator(path: Path, rows: Sequence[Row]) -> None:
    """Raise `SpecError` for a cell that seems to have several labels, separated otherwise."""
    for row in rows:
        if row.labels and (other := re.search(r"[,|]", row.labels[0])):
            name = row.labels[0]
            raise SpecError(
                f"{path}, line {row.line}: {name!r} seems to be several labels",
                hint=f"separate labels by {SEPARATOR!r}. If {other[0]!r} is part of a name, end "
                f"one cell of the table with {SEPARATOR!r}: {name}{SEPARATOR}",
            )
