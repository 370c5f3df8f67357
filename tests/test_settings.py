"""A user's settings of Keras: they change neither networks nor training."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import rezoo
from conftest import fails
from rezoo import registry
from rezoo.errors import SpecError
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.fingerprint import fingerprint
from rezoo.models.profile import profile
from rezoo.models.settings import keras_settings
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture


@pytest.fixture
def users_settings():
    """What a keras.json and a global dtype policy set; they are as before afterwards."""
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.dtype_policy()
    config.set_image_data_format("channels_first")
    config.set_floatx("float16")
    config.set_dtype_policy("mixed_float16")
    yield
    assert config.image_data_format() == "channels_first"
    assert config.floatx() == "float16"
    assert config.dtype_policy().name == "mixed_float16"
    config.set_image_data_format(before[0])
    config.set_floatx(before[1])
    config.set_dtype_policy(before[2])


def described(model):
    dtypes = {layer.name: layer.dtype_policy.name for layer in model.layers}
    layouts = {getattr(layer, "data_format", None) for layer in model.layers}
    return fingerprint(model), dtypes, layouts, model.input.dtype


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("test_resnet", 33),
        ("resnet20", 32),
        ("plain20", 32),
        pytest.param("resnet50_v1", 33, marks=pytest.mark.slow),
        pytest.param("vgg16_bn", 224, marks=pytest.mark.slow),
    ],
)
def test_networks_of_every_family_are_the_same(name, side, request):
    def build():
        model = start_from_zeros(lambda: create_model(name, num_classes=3))
        counted = profile(model, input_shape=(side, side, 3))
        return described(model), counted.macs, counted.params

    before = build()
    request.getfixturevalue("users_settings")
    after = build()
    assert after == before
    assert set(after[0][1].values()) == {"float32"}
    assert after[0][2] <= {"channels_last", None}


def test_networks_of_plugins_are_the_same(monkeypatch, users_settings):
    """Also those whose layers state neither layout nor dtype."""

    def build(*, name, input_shape, num_classes, classifier_activation):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.MaxPooling2D()(x))
        outputs = keras.layers.Dense(num_classes, classifier_activation, name="fc")(x)
        return keras.Model(inputs, outputs, name=name)

    spec = registry.ModelSpec(name="plain_keras", build=build)
    monkeypatch.setattr(registry.architectures, "get", lambda name: spec)
    model = create_model("plain_keras", num_classes=3, input_shape=(8, 10, 1))
    assert model.get_layer("pool").input.shape == (None, 3, 4, 4)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


@pytest.mark.ci
def test_training_gives_the_same_bits(tmp_path, request):
    def trained(folder):
        changes = {"epochs": 1, "batch_size": 128, "image_size": 8, "ema_decay": 0.9}
        run = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path / folder)
        return (run.folder / "model.safetensors").read_bytes(), run.metrics["val"]

    before = trained("before")
    request.getfixturevalue("users_settings")
    assert trained("after") == before


def test_the_precision_of_a_network_is_an_argument():
    model = create_model(NETWORK, num_classes=2, precision="mixed_bfloat16")
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert model.get_layer("conv1").kernel.dtype == "float32"
    assert model.get_layer("fc").compute_dtype == "float32"
    logits = model(np.zeros((1, 8, 8, 3), np.float32))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    with pytest.raises(SpecError, match="precision: 'float64'; allowed are float32, mixed_bfloat"):
        create_model(NETWORK, precision="float64")
    with pytest.raises(ZeroDivisionError), keras_settings("mixed_float16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy().name == "float32"


# other backends


@pytest.mark.parametrize(
    "command",
    [
        ["train", "resnet18", "--dataset", "digits"],
        ["benchmark", "resnet18"],
        ["info", "resnet18", "--layers"],
    ],
)
def test_the_torch_backend_is_refused_at_once(cli, command):
    answer = cli(*command, env={"KERAS_BACKEND": "torch"}, timeout=20)
    fails(answer, 6, "Keras's backend is 'torch'; rezoo computes on tensorflow or jax")
    assert "Hint: set KERAS_BACKEND to one of them" in answer.err


def test_the_torch_backend_of_a_keras_json_is_refused(cli, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    env = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    fails(cli("train", "resnet18", env=env), 6, "Keras's backend is 'torch'")
    answer = cli("doctor", "--json", env=env)
    document = json.loads(answer.out)
    assert document["backend"].startswith("Keras's backend is 'torch'; rezoo computes on")
    assert "torch" not in document.get("backends", [])
    assert cli("list", env=env).rc == 0


@pytest.mark.slow  # as the commands do, above
def test_functions_refuse_the_torch_backend():
    pytest.importorskip("torch")
    code = """
import rezoo
calls = [
    lambda: rezoo.create_model("resnet18"),
    lambda: rezoo.load("resnet18"),
    lambda: rezoo.train("resnet18", "digits"),
    lambda: rezoo.evaluate("runs/x", "digits"),
    lambda: rezoo.predict("runs/x", "photo.jpg"),
    lambda: rezoo.export("runs/x", "onnx"),
    lambda: rezoo.verify("runs/x"),
    lambda: rezoo.benchmark("resnet18"),
]
for call in calls:
    try:
        call()
    except rezoo.RezooError as error:
        print(error.exit_code, error)
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    line = "6 Keras's backend is 'torch'; rezoo computes on tensorflow or jax"
    assert done.stdout.splitlines() == [line] * 8, done.stderr


@pytest.mark.slow
def test_the_command_line_counts_alike_under_a_keras_json(cli, tmp_path):
    settings = {"image_data_format": "channels_first", "floatx": "float16"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    command = ("info", "resnet18", "--num-classes", "3", "--layers", "--json")
    found = json.loads(cli(*command, env={"KERAS_HOME": str(tmp_path)}).out)
    assert (found["macs"], found["params"]) == (1_813_562_880, 11_178_051)
