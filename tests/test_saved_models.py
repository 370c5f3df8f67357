"""Networks as plain Keras models: cloned, saved, and opened in another process."""

from __future__ import annotations

import dataclasses
import pickle
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import rezoo
from rezoo.specs import ModelConfig, Origin, Preprocessing
from rezoo.utils.files import FileRecord
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

CONFIG = ModelConfig(
    architecture=NETWORK,
    num_classes=2,
    preprocessing=Preprocessing(
        input_size=(1, 8, 8), mean=(0.4,), std=(0.3,), test_input_size=(1, 16, 16), crop_pct=0.9
    ),
    class_names=("Katze", "犬"),
    class_descriptions=("cat", "dog"),
    licence="mit",
    base=Origin(repo="team/net", commit="1" * 40, sha256="2" * 64),
    files={"model.safetensors": FileRecord("3" * 64, 7, "its config.json")},
    extra={"note": [1, {"a": None}]},
)


@pytest.fixture(scope="module")
def model():
    model = rezoo.create_model("test_resnet", num_classes=2, input_shape=(None, None, 1))
    model.rezoo_config = dataclasses.replace(CONFIG, architecture="test_resnet")
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 32, 32, 1), np.float32)


def test_a_clone_keeps_the_preprocessing(model, images):
    clone = keras.models.clone_model(model)
    assert clone.rezoo_config == model.rezoo_config
    assert keras.models.clone_model(clone).rezoo_config == model.rezoo_config
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(images), model(images))
    features = keras.Model(model.input, model.get_layer("global_pool").output)
    assert not hasattr(features, "rezoo_config")  # another network


@pytest.mark.ci
def test_a_saved_model_keeps_the_preprocessing(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.rezoo_config == model.rezoo_config
    np.testing.assert_array_equal(again(images), model(images))
    assert pickle.loads(pickle.dumps(model)).rezoo_config == model.rezoo_config


def test_a_new_network_has_a_preprocessing():
    model = rezoo.create_model(NETWORK, num_classes=3, input_shape=(40, None, 1))
    assert model.rezoo_config == ModelConfig(
        architecture=NETWORK,
        num_classes=3,
        preprocessing=Preprocessing(input_size=(1, 40, 224), mean=(0.5,), std=(0.5,)),
    )
    assert rezoo.create_model("test_resnet").rezoo_config.preprocessing.size == (160, 160)
    assert rezoo.load(NETWORK, input_shape=(8, 8, 1)).rezoo_config.preprocessing.channels == 1
    assert rezoo.create_model(NETWORK, input_shape=(8, 8, 4)).rezoo_config is None
    assert keras.models.clone_model(model).rezoo_config == model.rezoo_config


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, rezoo",
        pytest.param("import rezoo, keras", marks=pytest.mark.slow),
        pytest.param("import rezoo, tensorflow.keras", marks=pytest.mark.slow),
    ],
)
@pytest.mark.ci
def test_a_saved_model_opens_in_another_process(model, images, tmp_path, imports):
    """After `import rezoo`, which loads no Keras by itself."""
    deep = rezoo.create_model("resnet20", stochastic_depth=0.1)  # all layers of rezoo's own
    deep.save(tmp_path / "deep.keras")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys, numpy as np
{imports}
import keras
keras.saving.load_model("deep.keras")
model = keras.saving.load_model("model.keras")  # in safe mode
np.save("logits.npy", model.predict(np.load("images.npy"), verbose=0))
print(model.rezoo_config.class_descriptions, sys.meta_path[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("('cat', 'dog')")
    assert "rezoo" not in done.stdout
    wanted = model.predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.ci
def test_all_layers_of_networks_are_known_to_keras():
    """A saved network of any family opens after `import rezoo`."""
    files = (Path(rezoo.__file__).parent / "models").glob("*.py")
    decorated = r"@keras\.saving\.register_keras_serializable\(package=\"rezoo\"\)\nclass (\w+)"
    layers = [name for file in files for name in re.findall(decorated, file.read_text("utf-8"))]
    assert {"StandardizedConv2D", "PartsSum", "GroupNormalization"} <= {*layers}
    code = "import rezoo, keras; print(*keras.saving.get_custom_objects(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert {f"rezoo>{name}" for name in layers} <= {*done.stdout.splitlines()}, done.stderr
