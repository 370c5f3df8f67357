"""Stochastic depth: which branches training drops, and that nothing else changes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import rezoo
from hub_fixtures import TOKEN
from rezoo.errors import Interrupted, SpecError
from rezoo.models import tensors
from rezoo.models.drop_path import Add
from rezoo.models.fingerprint import fingerprint
from rezoo.publishing.push import push
from rezoo.training.generations import read_whole
from rezoo.training.reporters import Reporter

NETWORK = "test_resnet"
SMALL = {"image_size": 16, "batch_size": 128, "epochs": 2, "stochastic_depth": 0.3}


def built(rate, *, name=NETWORK, seed=0, **options):
    keras.utils.set_random_seed(seed)
    return rezoo.create_model(name, num_classes=3, stochastic_depth=rate, seed=seed, **options)


def summed(rate, seed=0, images=4000):
    """Return the outputs `(images,)` for branches of 1 and shortcuts of 0, and the layer."""
    layer = Add(rate=rate, seed=seed)
    branch = np.ones((images, 2, 3, 4), np.float32)
    outputs = keras.ops.convert_to_numpy(layer([branch, 0 * branch], training=True))
    assert (outputs == outputs[:, :1, :1, :1]).all()  # whole branches
    return outputs[:, 0, 0, 0], layer


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_branches_are_dropped_and_the_mean_is_kept(rate):
    outputs, layer = summed(rate)
    values = np.unique(outputs)
    np.testing.assert_allclose(values, [0.0, 1 / (1 - rate)], rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / len(outputs))
    assert (outputs == 0).mean() == pytest.approx(rate, abs=4 * error)
    assert outputs.mean() == pytest.approx(1.0, abs=4 * error / (1 - rate))
    again = summed(rate)[0]
    np.testing.assert_array_equal(again, outputs)  # depends on the seed alone
    assert (summed(rate, seed=1)[0] != outputs).any()
    branch = np.ones((len(outputs), 1, 1, 1), np.float32)
    later = keras.ops.convert_to_numpy(layer([branch, 0 * branch], training=True))
    assert (later[:, 0, 0, 0] != outputs).any()  # the next step draws anew


def test_shortcuts_are_kept():
    layer = Add(rate=0.5, seed=0)
    shortcut = np.random.default_rng(0).normal(size=(64, 2, 2, 1)).astype(np.float32)
    outputs = keras.ops.convert_to_numpy(layer([0 * shortcut, shortcut], training=True))
    np.testing.assert_array_equal(outputs, shortcut)


@pytest.mark.ci
def test_rates_are_linear_in_the_depth():
    model = built(0.3, name="resnet18")
    sums = [layer for layer in model.layers if isinstance(layer, Add)]
    assert [layer.rate for layer in sums] == pytest.approx([0.3 * i / 7 for i in range(8)])
    assert len({layer.seed for layer in sums}) == 8
    assert not any(isinstance(layer, Add) for layer in built(0.0, name="resnet18").layers)


@pytest.mark.parametrize(
    "name",
    [NETWORK, *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "resnet26d"))],
)
@pytest.mark.ci
def test_all_else_is_unchanged(name):
    plain, deep = built(0.0, name=name), built(0.4, name=name)
    assert fingerprint(deep) == fingerprint(plain)
    assert [layer.name for layer in deep.layers] == [layer.name for layer in plain.layers]
    ours, theirs = tensors.to_tensors(deep), tensors.to_tensors(plain)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[n], theirs[n]) for n in theirs)  # the initial weights, too
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    answers = [keras.ops.convert_to_numpy(m(images, training=False)) for m in (deep, plain)]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [
        ("plain18", 0.1, "no two residual blocks"),
        ("vgg16", 0.1, "'vgg16' does not support it"),
        ("resnet18", 1.0, "allowed is 0 to below 1"),
        ("resnet18", -0.1, "allowed is 0 to below 1"),
    ],
)
def test_rates_that_are_refused(name, rate, message):
    with pytest.raises(SpecError, match=message):
        built(rate, name=name)


def test_the_layer_can_be_saved_by_keras():
    layer = Add(rate=0.25, seed=7, name="add")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.rate, again.seed, again.name) == (0.25, 7, "add")


class StopAt(Reporter):
    interval_s = 0.0

    def step(self, epoch, step, figures):
        if (epoch, step) == (1, 3):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "deep"
    return rezoo.train(NETWORK, "digits", changes=SMALL, output=folder)


@pytest.mark.slow
def test_a_run_resumes_to_the_same_bits(run, tmp_path):
    with pytest.raises(Interrupted):
        rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path, reporter=StopAt())
    rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path, resume=True)
    for name in ("model.safetensors", "reference.safetensors"):
        assert (tmp_path / name).read_bytes() == (run.folder / name).read_bytes()
    ours, theirs = (
        read_whole(f / "checkpoints" / "last.safetensors").values for f in (tmp_path, run.folder)
    )
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.ci
def test_the_run_folder_is_that_of_a_plain_network(run, tmp_path, call):
    model = rezoo.load(str(run.folder))
    assert not any(isinstance(layer, Add) for layer in model.layers)
    plain = rezoo.create_model(NETWORK, num_classes=10, input_shape=(None, None, 1))
    assert model.rezoo_config.fingerprint == fingerprint(plain)
    answer = call("verify", run.folder)
    assert answer.rc == 0, answer.err
    changes = {**SMALL, "epochs": 1, "learning_rate": 1e-3}
    tuned = rezoo.train(str(run.folder), "digits", changes=changes, output=tmp_path / "tuned")
    assert np.isfinite(tuned.metrics["val"]["loss"])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.ci
def test_the_run_can_be_pushed(run, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = shutil.copytree(run.folder, tmp_path / "run")
    done = push(folder, "me/deep", licence="cc-by-4.0")
    model = rezoo.load(done.reference)
    assert model.rezoo_config.fingerprint == rezoo.load(str(run.folder)).rezoo_config.fingerprint


_ON_JAX = """
import numpy as np
import rezoo
from rezoo.models.drop_path import Add

changes = {"image_size": 16, "batch_size": 256, "epochs": 1, "stochastic_depth": 0.5}
run = rezoo.train("test_resnet", "digits", changes=changes, output="run")
assert np.isfinite(run.metrics["val"]["loss"])
layer = Add(rate=0.5, seed=0)
branch = np.ones((2000, 1, 1, 1), np.float32)
found = np.asarray(layer([branch, 0 * branch], training=True))
assert set(np.unique(found)) == {0.0, 2.0}
assert abs(found.mean() - 1) < 0.1
print("fine")
"""


@pytest.mark.slow
def test_on_jax(tmp_path):
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", _ON_JAX],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]
