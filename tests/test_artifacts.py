"""Model folders: complete or refused, with a manifest, and never opened if code could run."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import rezoo
from rezoo.artifacts import manifest, weights
from rezoo.artifacts.config import config_to_json
from rezoo.artifacts.safetensors import TensorFile, write_tensors
from rezoo.errors import IncompatibleError, IntegrityError, NotFoundError, UnsafeFileError
from rezoo.models import tensors
from rezoo.models.factory import create_model
from rezoo.models.fingerprint import fingerprint
from rezoo.sources.references import resolve, resolve_weights
from rezoo.specs import ModelConfig
from rezoo.utils.files import record, write_json


@pytest.fixture(scope="module")
def network():
    return create_model("resnet18", num_classes=2)


@pytest.fixture(scope="module")
def saved(network) -> dict[str, np.ndarray]:
    return tensors.to_tensors(network)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a config and no weights yet."""
    config = ModelConfig(architecture="resnet18", num_classes=2)
    write_json(tmp_path / "net" / "config.json", config_to_json(config))
    return tmp_path / "net"


def fill_from(network, folder):
    with TensorFile(folder / "model.safetensors") as file:
        weights.load_weights(network, file)


def test_model_tensors_are_contiguous(saved):
    assert all(value.flags.c_contiguous for value in saved.values())
    counters = [value for name, value in saved.items() if name.endswith("num_batches_tracked")]
    assert {(value.shape, value.dtype.name) for value in counters} == {((), "int64")}
    assert len(saved) == 122


def test_model_round_trip(network, saved, folder):
    write_tensors(folder / "model.safetensors", saved)
    other = rezoo.load(str(folder))
    for name, value in tensors.to_tensors(other).items():
        np.testing.assert_array_equal(value, saved[name], err_msg=name)
    assert other.rezoo_config.num_classes == 2


def test_counters_may_be_absent(network, saved, folder):
    plain = {n: v for n, v in saved.items() if not n.endswith("num_batches_tracked")}
    write_tensors(folder / "model.safetensors", plain)
    fill_from(network, folder)


def test_w8_w10_all_differences_are_listed(network, saved, folder):
    wrong = dict(saved)
    del wrong["conv1.weight"], wrong["layer4.1.bn2.running_var"]
    wrong["layer9.0.conv1.weight\x1b[31m"] = np.zeros(1, np.float32)
    wrong["fc.weight"] = np.zeros((3, 512), np.float32)
    write_tensors(folder / "model.safetensors", wrong)
    before = tensors.to_tensors(network)
    with pytest.raises(IncompatibleError) as caught:
        fill_from(network, folder)
    text = str(caught.value)
    assert "2 missing: conv1.weight, layer4.1.bn2.running_var" in text
    assert r"1 unexpected: layer9.0.conv1.weight\x1b[31m" in text
    assert "1 of another shape: fc.weight is (3, 512), not (2, 512)" in text
    assert "nothing was loaded" in caught.value.hint
    for name, value in tensors.to_tensors(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_long_lists_are_shortened(network, folder):
    write_tensors(folder / "model.safetensors", {"x": np.zeros(1, np.float32)})
    with pytest.raises(IncompatibleError, match=r"102 missing: .* and 92 more; 1 unexpected: x"):
        fill_from(network, folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_w9_weights_that_are_not_finite(network, saved, folder, value):
    wrong = dict(saved)
    wrong["layer1.0.bn1.weight"] = np.full(64, value, np.float32)
    write_tensors(folder / "model.safetensors", wrong)
    with pytest.raises(
        IntegrityError, match=r"1 tensors have NaN .* first are layer1\.0\.bn1\.weight"
    ):
        fill_from(network, folder)


def test_w12_weights_of_whole_numbers(network, saved, folder):
    wrong = {**saved, "bn1.weight": np.ones(64, np.int32)}
    write_tensors(folder / "model.safetensors", wrong)
    with pytest.raises(IncompatibleError, match=r"bn1\.weight has int32, not float"):
        fill_from(network, folder)


@pytest.mark.parametrize(
    "dtype", [pytest.param(np.float16, marks=pytest.mark.ci), np.float64, ml_dtypes.bfloat16]
)
def test_w12_weights_of_other_precision(network, saved, folder, dtype):
    other = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in saved.items()}
    # not our own writer, which reads back what NumPy has a name for
    (folder / "model.safetensors").write_bytes(safetensors.numpy.save(other))
    fill_from(network, folder)
    np.testing.assert_allclose(
        tensors.to_tensors(network)["conv1.weight"], saved["conv1.weight"], atol=1e-2
    )
    tensors.assign(network, saved.__getitem__)


def test_new_head_keeps_the_rest(saved, folder):
    write_tensors(folder / "model.safetensors", saved)
    back = tensors.to_tensors(rezoo.load(str(folder), num_classes=5))
    assert back["fc.weight"].shape == (5, 512)
    np.testing.assert_array_equal(back["conv1.weight"], saved["conv1.weight"])


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.pth", "tf_model.h5"])
def test_w14_pickles_are_never_opened(folder, tmp_path, name):
    sprung = tmp_path / "sprung"
    (folder / name).write_bytes(pickle.dumps(Trap(str(sprung))))
    with pytest.raises(UnsafeFileError, match=rf"only {name}, which rezoo never opens"):
        rezoo.load(str(folder))
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(str(sprung))))
    with pytest.raises(UnsafeFileError, match="is a pickle"):
        rezoo.load(str(folder))
    assert not sprung.exists()


@pytest.mark.parametrize("ending", [".keras", ".h5", ".pt", ".pth", ".bin", ".pkl", ".npz"])
def test_w14_w15_w16_w17_files_that_can_run_code(tmp_path, ending):
    sprung = tmp_path / "sprung"
    path = tmp_path / f"model{ending}"
    path.write_bytes(pickle.dumps(Trap(str(sprung))))
    with pytest.raises(UnsafeFileError, match=f"rezoo opens no {ending} files"):
        rezoo.load(str(path))
    assert not sprung.exists()


def test_w19_shards_are_not_followed(folder):
    index = {"weight_map": {"conv1.weight": "../../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(IncompatibleError, match="several files"):
        rezoo.load(str(folder))


# the manifest and the fingerprint


def with_manifest(network, folder):
    weights.save_model(network, ModelConfig(architecture="resnet18", num_classes=2), folder)
    manifest.write_manifest(folder)
    return folder


def test_w2_folder_with_a_manifest_refuses_other_bytes(network, tmp_path):
    folder = with_manifest(network, tmp_path)
    rezoo.load(str(folder))
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"its config\.json says"):
        rezoo.load(str(folder))


def test_manifest_names_every_file_and_itself(network, tmp_path):
    from rezoo.artifacts.manifest import checksum_holds

    folder = with_manifest(network, tmp_path)
    content = json.loads((folder / "config.json").read_text())
    found = record(folder / "model.safetensors")
    assert content["files"]["model.safetensors"] == {"sha256": found.sha256, "size": found.size}
    assert checksum_holds(content)
    content["pretrained_cfg"]["mean"][0] += 1e-9
    assert checksum_holds(content) is False
    manifest.remove_manifest(folder)
    bare = json.loads((folder / "config.json").read_text())
    assert "files" not in bare
    assert checksum_holds(bare) is None


@pytest.mark.ci
def test_w11_same_shapes_of_another_network(tmp_path):
    """v1 and v1.5 have the same tensors and compute different things."""
    names = {"resnet50": "resnet50_v1", "resnet50_v1": "resnet50"}
    for name, other in names.items():
        folder = tmp_path / name
        config = ModelConfig(architecture=name, num_classes=2)
        weights.save_model(create_model(name, num_classes=2), config, folder)
        content = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", {**content, "architecture": other})
        with pytest.raises(IncompatibleError, match="but the computation differs") as caught:
            rezoo.load(str(folder))
        assert content["fingerprint"] in str(caught.value)


def test_fingerprint_is_of_the_computation():
    def net(*, kernel=3, stride=1, padding="same", activation=None, name="a", size=None, head=2):
        x = inputs = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(
            4, kernel, strides=stride, padding=padding, activation=activation, name=name
        )(x)
        x = keras.layers.GlobalAveragePooling2D(name=f"{name}pool")(x)
        return fingerprint(keras.Model(inputs, keras.layers.Dense(head, name="fc")(x)))

    assert net() == net(name="b") == net(size=32) == net(head=7)
    others = [net(kernel=5), net(stride=2), net(padding="valid"), net(activation="relu")]
    assert len({net(), *others}) == 5


def test_w20_config_of_a_newer_rezoo(network, tmp_path):
    folder = with_manifest(network, tmp_path)
    content = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**content, "format_version": 99, "rezoo_version": "9.9"})
    with pytest.raises(IncompatibleError, match=r"format_version 99, written by rezoo 9\.9"):
        rezoo.load(str(folder))


def test_weights_that_are_not_finite_load_where_they_are_asked_for(network, saved, folder):
    write_tensors(
        folder / "model.safetensors", {**saved, "fc.bias": np.full(2, np.nan, np.float32)}
    )
    model = rezoo.load(str(folder), allow_nonfinite=True)
    assert np.isnan(tensors.to_tensors(model)["fc.bias"]).all()


def test_references_may_be_paths_and_runs(finished_run, tmp_path, monkeypatch):
    """A `Path` is always a folder; the result of `train` stands for its folder."""

    @dataclass
    class Run:
        folder: Path

    for reference in (finished_run, str(finished_run), Run(finished_run)):
        assert resolve(reference).folder == finished_run
        assert resolve_weights(reference).reference == str(finished_run)
    assert rezoo.load(finished_run).rezoo_config.architecture == "test_resnet"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no such folder: test_resnet"):
        resolve(Path("test_resnet"))
    Path("weights").write_text("")
    with pytest.raises(NotFoundError, match="is a file"):
        resolve(Path("weights"))
