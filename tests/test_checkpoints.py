"""Damaged and foreign checkpoints: rezoo's own errors, and nothing is assigned.

tests/test_fuzz.py has changed positions, too.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import keras
import numpy as np
import pytest

from rezoo.errors import IncompatibleError, IntegrityError, RezooError
from rezoo.training import checkpoints
from rezoo.training.checkpoints import Progress
from rezoo.training.generations import Content, Generations

ROW = {"epoch": 1, "val_loss": 0.5, "val_top1": 0.9, "gradient_norm": None, "finished_utc": "now"}
GOOD = {**asdict(Progress(epoch=1, history=[ROW], best_epoch=1)), "signature": "sig"}
VALUES = {"a": np.ones((2, 3), np.float32), "n": np.array(7, np.int32)}


def restore(folder, metadata, values=VALUES):
    """Write a checkpoint and restore it; the variables are zero unless it succeeds."""
    files = Generations(folder)
    files.write(Content(values, metadata))
    files.previous.unlink(missing_ok=True)
    state = [("a", keras.Variable(np.zeros((2, 3), np.float32)))]
    state.append(("n", keras.Variable(0, dtype="int32")))
    try:
        return checkpoints.restore(files, state, "sig")
    except RezooError:
        assert not any(np.any(keras.ops.convert_to_numpy(variable)) for _, variable in state)
        raise


def test_a_good_checkpoint_is_restored(tmp_path):
    progress = restore(tmp_path, {"rezoo": json.dumps(GOOD)})
    assert progress == Progress(epoch=1, history=[ROW], best_epoch=1)
    diverged = {**GOOD, "history": [{**ROW, "val_loss": float("nan")}]}
    assert np.isnan(restore(tmp_path, {"rezoo": json.dumps(diverged)}).history[0]["val_loss"])


def test_a_long_history_is_restored(tmp_path):
    history = [{**ROW, "epoch": epoch, "note": "x" * 300} for epoch in range(5000)]
    progress = restore(tmp_path, {"rezoo": json.dumps({**GOOD, "history": history})})
    assert progress.history == history


@pytest.mark.parametrize("text", ["", "{", "0", "null", '["a"]', "[" * 100_000, "9" * 5000])
def test_metadata_that_are_no_table_are_damaged(tmp_path, text):
    with pytest.raises(IntegrityError, match=r"last\.safetensors is damaged") as caught:
        restore(tmp_path, {"rezoo": text})
    assert "--overwrite" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", -1),
        ("epoch", True),
        ("epoch", "1"),
        ("epoch", 2**70),
        ("step", 1.5),
        ("step", None),
        ("loss_sum", "\ud800"),
        ("hits", []),
        ("norms", {}),
        ("wall_time_s", None),
        ("history", {}),
        ("history", [1]),
        ("history", [{}]),
        ("history", [{"epoch": "1"}]),
        ("history", [{**ROW, "val_loss": [0.5]}]),
        ("best_epoch", 2),
        ("best_epoch", 1.0),
        ("left_out", float("nan")),
        ("left_out", [None]),
        ("watched", []),
        ("watched", {"given": []}),
        ("watched", {"given": {"kind": 1}}),
        ("watched", {"steps": "many"}),
    ],
)
def test_values_of_the_wrong_type_are_damage(tmp_path, key, value):
    with pytest.raises(IntegrityError, match="is damaged"):
        restore(tmp_path, {"rezoo": json.dumps({**GOOD, key: value})})


def test_a_position_without_a_key_is_damaged_and_does_not_begin_anew(tmp_path):
    for key in GOOD.keys() - {"signature", "left_out"}:
        meta = {name: value for name, value in GOOD.items() if name != key}
        with pytest.raises(IntegrityError, match=f"it has no {key}"):
            restore(tmp_path, {"rezoo": json.dumps(meta)})


def test_foreign_files_and_other_versions_do_not_fit(tmp_path):
    good = {"rezoo": json.dumps(GOOD)}
    with pytest.raises(IncompatibleError, match="is not a checkpoint of rezoo"):
        restore(tmp_path, {"format": "pt"})
    with pytest.raises(IncompatibleError, match="by another version: 'zzz'"):
        restore(tmp_path, {"rezoo": json.dumps({**GOOD, "zzz": [0]})})
    for values in (
        {},
        {"a": VALUES["a"]},
        {**VALUES, "b": VALUES["a"]},
        {**VALUES, "n": VALUES["a"]},
    ):
        with pytest.raises(IncompatibleError, match="does not fit the network"):
            restore(tmp_path, good, values)
