"""The experiment of the lesson on degradation, with a network of three layers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import keras
import numpy as np
import pytest

import rezoo
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def degradation(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield __import__("degradation")
    sys.modules.pop("degradation")


@pytest.mark.ci
def test_the_experiment_is_trained_once_and_read_again(degradation, tmp_path, capsys):
    options = [NETWORK, "--runs", str(tmp_path)]
    assert degradation.main([*options, "--epochs", "1"]) == 0
    head, row, path = capsys.readouterr().out.strip().split("\n")[-3:]
    assert head.split() == ["epoch", NETWORK]
    assert row.split()[0] == "1"
    assert row.endswith("%")
    ElementTree.parse(path)
    weights = tmp_path / NETWORK / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert degradation.main([*options, "--epochs", "1"]) == 0
    assert row in capsys.readouterr().out
    assert weights.stat().st_mtime_ns == before
    assert degradation.main([*options, "--epochs", "2"]) == 2
    assert "--epochs 1" in capsys.readouterr().err


@pytest.mark.ci
def test_gammas_start_at_one_unless_the_run_is_resumed(degradation):
    model = rezoo.create_model("resnet20", input_shape=(8, 8, 1))
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    last = [x for x in norms if not np.any(x.gamma)]
    assert len(last) == 9
    callback = degradation.GammaOne()
    callback.set_model(model)
    model.optimizer = SimpleNamespace(iterations=np.int64(1))
    callback.on_train_begin()
    assert not any(np.any(x.gamma) for x in last)
    model.optimizer.iterations = np.int64(0)
    callback.on_train_begin()
    assert all(np.all(np.asarray(x.gamma) == 1) for x in norms)
