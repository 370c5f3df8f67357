"""`csv:PATH`: tables of photographs, and what is wrong with some."""

from __future__ import annotations

import json

import pytest

import rezoo
from conftest import fails
from rezoo.data.datasets import load_dataset
from rezoo.errors import IncompatibleError, NotFoundError, SpecError
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
        (["path,label", "a/999.jpg,x", "b/000.jpg,y"], NotFoundError, "1 of 2 files"),
        (["path,label", "a/000.jpg,"], IncompatibleError, "line 2: path and label are needed"),
        (["path,label,split", "a/000.jpg,x,tset"], SpecError, "line 2: split 'tset'"),
        (
            ["path,label", "a/000.jpg,x", "./a/000.jpg,y"],
            IncompatibleError,
            "listed above as 'x'",
        ),
        (["path,label", 'a/000.jpg,"x'], NotFoundError, "cannot read"),
    ],
)
def test_tables_that_are_wrong(table, lines, error, message):
    with pytest.raises(error, match=message):
        load_dataset(table(*lines))


def test_other_encodings_and_missing_tables(table, tmp_path):
    with pytest.raises(NotFoundError, match="cannot read"):
        load_dataset(table("path,label", "a/000.jpg,Ä", encoding="latin-1"))
    with pytest.raises(NotFoundError, match="no such file"):
        load_dataset(f"csv:{tmp_path / 'nosuch.csv'}")


@pytest.mark.ci
def test_train_and_eval(table, call, tmp_path):
    reference = table("path,label", *rows("a", "wren"), *rows("b", "robin"))
    options = ["--epochs", "1", "--image-size", "16", "--batch-size", "8"]
    run = tmp_path / "run"
    answer = call("train", NETWORK, "--dataset", reference, *options, "--output", run)
    assert answer.rc == 0, answer
    answer = call("eval", run, "--json")
    assert json.loads(answer.out)["count"] == 4
    card = (run / "README.md").read_text()
    assert "photographs that are not public" in card.lower()
    assert str(tmp_path) not in card
    assert "4 drawn pictures" in json.dumps(rezoo.verify(str(run)).to_dict())
    fails(call("train", NETWORK, "--dataset", "csv:"), 2, "write csv:PATH")
