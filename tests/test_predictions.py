"""The predictions for each image of a split, and their file."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest

from conftest import fails
from rezoo.errors import DivergedError, IntegrityError, NotFoundError
from rezoo.evaluation.predict import Prediction
from rezoo.evaluation.prediction_table import answers_as_csv
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.scoring.metrics import scored
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL


def some(task=SINGLE_LABEL) -> Predictions:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (20, 7)).astype(np.float32)
    labels = random.integers(0, 7, 20)
    labels = np.eye(7, dtype=np.float32)[labels] if task.multi_label else labels
    batches = [(logits[:13], labels[:13]), (logits[13:], labels[13:])]
    return collect(task, lambda images: images, batches)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_a_file_gives_the_same_predictions(tmp_path, task):
    import dataclasses

    keys = tuple(f"a class/é\U0001f98a {i}\n.jpg" for i in range(20))
    labels = ("<script>", "[/red]", "ابجد", "x" * 300, "e", "f", "g")
    before = dataclasses.replace(some(task), keys=keys, labels=labels, facts={"split": "test"})
    before.write(tmp_path / "p.npz")
    after = Predictions.read(tmp_path / "p.npz")
    assert (after.keys, after.labels, after.facts) == (keys, labels, {"split": "test"})
    for name in ("truth", "logits", "top", "losses", "classes"):
        ours, theirs = getattr(before, name), getattr(after, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert scored(after) == scored(before) or task.multi_label
    assert scored(after).to_dict() == scored(before).to_dict()
    with np.load(tmp_path / "p.npz") as file:
        assert file["keys"][3] == keys[3]


def test_rows_of_predictions():
    found = some()
    assert len(found.at(found.right)) == found.right.sum()
    np.testing.assert_array_equal(found.at(np.array([5, 2])).truth, found.truth[[5, 2]])


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(DivergedError, match="not finite"):
        collect(SINGLE_LABEL, lambda x: x, [(np.full((2, 3), np.nan), np.array([0, 1]))])


def test_logits_too_large_for_the_file_are_the_largest_number():
    found = collect(SINGLE_LABEL, lambda x: x, [(np.array([[1e9, 0.0]]), np.array([1]))])
    assert found.logits.tolist() == [[65504, 0]]
    assert found.losses.tolist() == [1e9]


def _changed(content: bytes, name: str, array: np.ndarray) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        arrays = {**{n: file[n] for n in file.files}, name: array}
    written = io.BytesIO()
    np.savez(written, **arrays)
    return written.getvalue()


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "p.npz"
    with pytest.raises(NotFoundError):
        Predictions.read(path)
    some().write(path)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("truth.npy", bytes(1000))
    bad = [b"", b"PK", good[:-30], bytes(flipped), compressed.getvalue(), b"{}"]
    bad += [
        _changed(good, "truth", np.arange(3, dtype=np.int32)),
        _changed(good, "truth", np.full(20, 7, np.int32)),
        _changed(good, "truth", np.zeros(20, "U3")),
        _changed(good, "top", np.full((20, 5), 99, np.int32)),
        _changed(good, "facts", np.array("[1]")),
        _changed(good, "facts", np.array("{")),
        _changed(good, "keys", np.array(["a"])),
    ]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"p\.npz has no predictions of rezoo"):
            Predictions.read(path)


def test_answers_as_csv_have_a_row_for_each_image_and_no_formulas():
    answers = [
        Prediction("=cmd|'/c calc'!A1.jpg", ("@cat", "-1"), (0.75, 0.25), unknown=False, score=2.0),
        Prediction("notes.jpg", error="+not an image", index=1),
        Prediction("", ('a "b",\nc',), (1.0,), index=2, unknown=True, score=0.5),
    ]
    rows = [*csv.reader(io.StringIO(answers_as_csv(answers).decode()))]
    assert rows == [
        ["image", "class_1", "probability_1", "class_2", "probability_2", "unknown", "error"],
        ["'=cmd|'/c calc'!A1.jpg", "'@cat", "0.750000", "-1", "0.250000", "no", ""],
        ["notes.jpg", "", "", "", "", "", "'+not an image"],
        ["2", 'a "b",\nc', "1.000000", "", "", "yes", ""],
    ]
    assert answers_as_csv([]) == b"image,error\n"


@pytest.mark.ci
def test_predict_writes_and_prints_a_table(call, trained, photographs, tmp_path):
    folder = photographs({"=a": 2})
    (folder / "notes.jpg").write_text("no image")
    file = tmp_path / "answers.csv"
    answer = call("predict", trained, folder, "--csv", file, "--top-k", "2", "--json")
    assert answer.rc == 5
    table = [*csv.DictReader(io.StringIO(file.read_text("utf-8")))]
    for row, found in zip(table, json.loads(answer.out), strict=True):
        assert row["image"] == found["path"]
        shown = [(row[f"class_{i}"], row[f"probability_{i}"]) for i in (1, 2)]
        wanted = [(x["label"], f"{x['probability']:.6f}") for x in found.get("predictions", ())]
        assert shown == (wanted or [("", ""), ("", "")])
        assert row["error"] == found.get("error", "")
    printed = call("predict", trained, folder, "--csv", "-", "--top-k", "2")
    assert printed.out == file.read_text("utf-8")
    fails(call("predict", trained, folder, "--csv", file), 2, "answers.csv exists", "--overwrite")
    fails(call("predict", trained, folder, "--csv", "-", "--json"), 2, "both print the answers")
    fails(call("predict", trained, folder, "--csv", "a", "--features", "b.npz"), 2, "exclude each")
