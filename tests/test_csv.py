"""`csv:PATH`: tables of photographs, and what is wrong with some."""

from __future__ import annotations

import json
import unicodedata

import pytest

import rezoo
from conftest import fails
from rezoo.data.csv_files import open_csv
from rezoo.data.datasets import load_dataset
from rezoo.errors import (
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    SpecError,
    UnsafeFileError,
)
from rezoo.training.request import default_folder
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture


@pytest.fixture
def table(photographs):
    """Write a table beside photographs: `table(header, *rows)`; returns its reference."""
    root = photographs({"a": 20, "b": 20})

    def write(*lines, encoding="utf-8"):
        (root / "table.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return f"csv:{root / 'table.csv'}"

    return write


def rows(folder, label, count=20, split=None):
    tail = "" if split is None else f",{split}"
    return [f"{folder}/{i:03d}.jpg,{label}{tail}" for i in range(count)]


def sizes(reference):
    return {split: len(part) for split, part in load_dataset(reference).splits.parts.items()}


def test_without_splits_the_rule_of_folders_divides(table):
    data = load_dataset(table("path,label", *rows("a", "wren"), *rows("b", "robin")))
    assert data.class_names == ("robin", "wren")
    assert {s: len(p) for s, p in data.splits.parts.items()} == {"train": 32, "val": 4, "test": 4}
    folder = load_dataset(data.reference.replace("csv:", "folder:").removesuffix("/table.csv"))
    for split in ("train", "val", "test"):
        ours, theirs = data.examples(split), folder.examples(split)
        assert sorted(map(ours.key, range(len(ours)))) == sorted(
            map(theirs.key, range(len(theirs)))
        )


def test_splits_of_the_table_and_undecided_rows(table):
    lines = [
        "Label , split,path,notes",
        *(f"wren,train,a/{i:03d}.jpg,x" for i in range(10)),
        *(f"robin,validation,b/{i:03d}.jpg," for i in range(4)),
        *(f"wren,TEST,a/{i:03d}.jpg," for i in range(10, 13)),
        *(f"robin,,b/{i:03d}.jpg," for i in range(4, 14)),
    ]
    assert sizes(table(*lines)) == {"train": 19, "val": 4, "test": 4}


def test_byte_order_mark_and_absolute_paths(table, tmp_path):
    root = tmp_path / "photographs"
    lines = ["path,label", *(f"{root}/a/{i:03d}.jpg,Ä" for i in range(10)), *rows("b", "b")]
    data = load_dataset(table(*lines, encoding="utf-8-sig"))
    assert data.class_names == ("b", "Ä")


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["file,class", "a/000.jpg,x"], SpecError, "has the columns file, class"),
        (["path,label"], NotFoundError, "has no rows"),
        ([], SpecError, "has the columns"),
        (
            ["path,label", "a/999.jpg,x", "b/000.jpg,y"],
            NotFoundError,
            r"table.csv: line 2: a/999\.jpg: no such file",
        ),
        (["path,label,split", "a/000.jpg,x,tset"], SpecError, "line 2: split 'tset'"),
        (
            ["path,label", "a/000.jpg,x", "./a/000.jpg,y"],
            IncompatibleError,
            "line 3: a/000.jpg is listed above, in line 2, as 'x'",
        ),
        (["path,label", "a/001.jpg,y", 'a/000.jpg,"x'], NotFoundError, "table.csv, line 3: unexp"),
        (["path,label", '"a/000.jpg" ,x'], NotFoundError, "table.csv, line 2: ',' expected"),
        (["path,label,Label", "a/000.jpg,x,y"], SpecError, "has 2 columns 'label'"),
        (["path,label,path", "a/000.jpg,x,y"], SpecError, "has 2 columns 'path'"),
        (["path,label", "a/000.jpg,big, red"], IncompatibleError, "line 2: 3 values for 2 columns"),
        (["path,label", f"{'x' * 300},x"], NotFoundError, "line 2: x+: File name too long"),
        (["path,label", "a/0\0.jpg,x"], NotFoundError, "line 2: a/0\0.jpg: embedded null byte"),
        (["path,label", "/dev/zero,x"], UnsafeFileError, "line 2: /dev/zero is a device"),
        (["a/000.jpg 65", "a/001.jpg 970"], SpecError, "first line of .* is an image"),
        (["path,labels", 'a/000.jpg,"x,y"'], SpecError, "line 2: 'x,y' seems to be several"),
        (["path,labels", "a/000.jpg,x|y"], SpecError, "line 2: 'x|y' seems to be several"),
        (["path,label", "a/000.jpg,"], IncompatibleError, "line 2: path and label"),
    ],
)
def test_tables_that_are_wrong(table, lines, error, message):
    with pytest.raises(error, match=message):
        load_dataset(table(*lines))


def test_other_encodings_and_missing_tables(table, tmp_path):
    with pytest.raises(IntegrityError, match=r"line 3: byte b'\\xc4' is not UTF-8"):
        load_dataset(table("path,label", "a/001.jpg,y", "a/000.jpg,Ä", encoding="latin-1"))
    with pytest.raises(IntegrityError, match="in UTF-16"):
        load_dataset(table("path,label", "a/000.jpg,Ä", encoding="utf-16"))
    with pytest.raises(NotFoundError, match="no such file"):
        load_dataset(f"csv:{tmp_path / 'nosuch.csv'}")


def test_separators_quotes_and_line_ends(table):
    lines = ["path,label", *rows("a", "wren, small"), *rows("b", "robin")]
    cells = [line.split(",", 1) for line in lines]
    for separator in (";", "\t", ", "):
        text = [f'"{path}"{separator}"{label}"' for path, label in cells]
        for end in ("\r", ""):
            data = load_dataset(table(*(line + end for line in text)))
            assert data.class_names == ("robin", "wren, small")
            assert len(data.examples("all")) == 40


def test_empty_rows_are_left_out_and_counted(table):
    reference = table("", "path,label", *rows("a", "x"), ",", "", " , ,", *rows("b", "y"))
    data = load_dataset(reference)
    assert len(data.examples("all")) == 40
    assert "2 empty rows are left out (line 23)" in data.splits.notes


def test_backslashes_and_unicode_forms_of_paths(table, tmp_path):
    root = tmp_path / "photographs"
    (root / "a").rename(root / unicodedata.normalize("NFD", "ä"))
    names = [line.replace("/", "\\") for line in rows("ä", "x") + rows("b", "y")]
    data = load_dataset(table("path,label", *names))
    assert len(data.examples("all")) == 40
    assert "40 paths are read with / or in another Unicode form (line 2)" in data.splits.notes
    assert (
        sum(
            len(images)
            for images, _ in data.batches("all", preprocessing=data.preprocessing, image_size=8)
        )
        == 40
    )


def test_labels_in_two_unicode_forms_are_one_class(table):
    labels = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    data = load_dataset(table("path,label", *rows("a", labels[0]), *rows("b", labels[1])))
    assert data.class_names == ("é",)


def test_one_file_under_two_spellings_is_one_row(table, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "photographs")
    once = [*rows("a", "x"), *rows("b", "y")]
    again = [f"../link/{line}" for line in once[::2]]
    data = load_dataset(table("path,label", *once, *once[:1], *again))
    assert len(data.examples("all")) == 40
    note = "21 rows repeat an earlier one and are left out (line 42: the file of line 2)"
    assert note in data.splits.notes
    apart = table("path,label,split", "a/000.jpg,x,train", "../link/a/000.jpg,x,test")
    with pytest.raises(IncompatibleError, match=r"line 3: .* above, in line 2, as 'x' train"):
        load_dataset(apart)


def test_faults_of_rows_are_counted(table):
    bad = ["a/000.jpg,z", "nosuch.jpg,x", "a/001.jpg,", "a/002.jpg,x,y", *rows("c", "x", count=9)]
    with pytest.raises(IncompatibleError) as caught:
        load_dataset(table("path,label", *rows("a", "x"), *rows("b", "y"), *bad))
    text = str(caught.value)
    assert ": 13 faults: line 42: a/000.jpg is listed above, in line 2, as 'x'; line 43: n" in text
    assert text.endswith("and 8 more")
    assert "`rezoo data check` lists all faults" in caught.value.hint


def test_whole_numbers_are_sorted_as_numbers(table):
    numbers = ["10", "9", "100", "0"]
    lines = [f"a/{i:03d}.jpg,{number}" for i, number in enumerate(numbers)]
    opened = open_csv(table("path,label", *lines).removeprefix("csv:"))
    assert opened.class_names == ("0", "9", "10", "100")
    assert opened["all"].labels().tolist() == [2, 1, 3, 0]
    lines[0] = "a/000.jpg,x"
    opened = open_csv(table("path,label", *lines).removeprefix("csv:"))
    assert opened.class_names == ("0", "100", "9", "x")


def test_other_column_names(table, call):
    lines = [f"joy,a/{i:03d}.jpg,1,dev" for i in range(9)]
    lines += [f"fear,b/{i:03d}.jpg,1,dev" for i in range(9)]
    reference = table("emotion,Image,label,part", *lines)
    data = load_dataset(f"{reference}:path=image,label=emotion,split=part")
    assert data.class_names == ("fear", "joy")
    assert sizes(data.reference) == {"test": 18}
    columns = ("--columns", "path=Image,label=emotion")
    answer = call("data", "prepare", reference, *columns, "--json")
    assert answer.rc == 0, answer
    document = json.loads(answer.out)
    assert document["classes"] == 2
    assert document["dataset"] == f"{reference}:path=Image,label=emotion"
    assert default_folder("test_resnet", document["dataset"]).name == "test_resnet-table.csv"


@pytest.mark.parametrize(
    ("columns", "dataset", "message"),
    [
        ("path", "csv:t.csv", "is not of the form path=COLUMN,label=COLUMN"),
        ("file=x", "csv:t.csv", "is not of the form"),
        ("path=a,path=b", "csv:t.csv", "a role is named twice"),
        ("label=a,labels=b", "csv:t.csv", "a role is named twice"),
        ("path=a", "folder:t", "--columns is for csv:PATH"),
        ("path=a", "csv:t.csv:label=b", "--columns is for csv:PATH"),
        ("path=nosuch", "csv:{table}", "has the columns path, label"),
        ("split=nosuch", "csv:{table}", "has no column 'nosuch'"),
    ],
)
def test_columns_that_are_wrong(table, call, columns, dataset, message):
    path = table("path,label", *rows("a", "x")).removeprefix("csv:")
    dataset = dataset.format(table=path)
    fails(call("data", "check", dataset, "--columns", columns), 2, message)


@pytest.mark.ci
def test_train_and_eval(table, call, tmp_path):
    reference = table("image,bird", *rows("a", "wren"), *rows("b", "robin"))
    options = ["--epochs", "1", "--image-size", "16", "--batch-size", "8"]
    run = tmp_path / "run"
    columns = ("--columns", "path=image,label=bird")
    answer = call("train", NETWORK, "--dataset", reference, *columns, *options, "--output", run)
    assert answer.rc == 0, answer
    answer = call("eval", run, "--json")  # the run's own dataset, with its columns
    assert json.loads(answer.out)["count"] == 4
    card = (run / "README.md").read_text()
    assert "photographs that are not public" in card.lower()
    assert str(tmp_path) not in card
    assert "4 drawn pictures" in json.dumps(rezoo.verify(str(run)).to_dict())
    fails(call("train", NETWORK, "--dataset", "csv:"), 2, "write csv:PATH")
