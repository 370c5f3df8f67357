"""The predictions for each image of a split, and their file."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from rezoo.errors import DivergedError, IntegrityError, NotFoundError
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
