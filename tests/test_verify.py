"""`rezoo verify`: each kind of damage is seen by the check that is made for it."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import rezoo
from conftest import encoded, fails, picture
from hub_fixtures import ARCHITECTURE, catalogue, timm_config
from rezoo.artifacts import manifest, run_files
from rezoo.artifacts.config import read_json
from rezoo.artifacts.safetensors import read_tensors, write_tensors
from rezoo.errors import NotFoundError, SpecError
from rezoo.publishing.verify import record_proof, verify
from rezoo.utils.files import write_json

pytestmark = pytest.mark.numerics


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a run that may be damaged."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def foreign(small_repository, tmp_path):
    """A folder with weights as others write them, without a record."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(small_repository[name])
    return folder


def outcome(folder) -> dict[str, bool | None]:
    return {check.what: check.holds for check in verify(folder).checks}


def failed(folder) -> list[str]:
    return [what for what, holds in outcome(folder).items() if holds is False]


def test_a_run_holds(run):
    found = outcome(run)
    assert set(found.values()) == {True}
    assert set(found) == {
        "config.json",
        *(name for name in run_files.LISTED if (run / name).exists()),
        "tensors",
        "fingerprint",
        "preprocessing",
        "logits",
    }


def test_one_flipped_bit(run):
    weights = run / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)
    assert failed(run) == ["model.safetensors"]
    assert outcome(run)["logits"] is None  # bytes that are not the right ones are not parsed


def test_truncation(run):
    os.truncate(run / "model.safetensors", 10_000)
    assert failed(run) == ["model.safetensors"]


def with_new_manifest(folder):
    manifest.update_manifest(folder, ("model.safetensors",))
    return folder


def test_two_swapped_tensors_of_equal_shape(run):
    """Even where the hashes were made anew, the logits tell."""
    path = run / "model.safetensors"
    values, _ = read_tensors(path)
    one, other = "layer1.0.conv1.weight", "layer1.0.conv2.weight"
    values[one], values[other] = values[other], values[one]
    write_tensors(path, values)
    assert failed(run) == ["model.safetensors"]
    assert failed(with_new_manifest(run)) == ["logits"]


def test_changed_mean(run):
    content = read_json(run)
    content["pretrained_cfg"]["mean"] = [0.51]
    write_json(run / "config.json", content)
    assert failed(run) == ["config.json", "preprocessing"]
    assert failed(with_new_manifest(run)) == ["preprocessing"]


def test_another_architecture(run):
    content = {**read_json(run), "fingerprint": "1:" + "0" * 64}
    write_json(run / "config.json", content)
    assert failed(with_new_manifest(run)) == ["fingerprint"]


def test_missing_and_edited_records(run):
    (run / "history.csv").unlink()
    (run / "metrics.json").write_text("{}")
    assert set(failed(run)) == {"history.csv", "metrics.json"}


def test_damaged_reference(run):
    write_tensors(run / "reference.safetensors", {"image.0": np.zeros((1, 1), np.uint8)})
    assert set(failed(run)) == {"reference.safetensors", "reference batch"}
    manifest.update_manifest(run, ("reference.safetensors",))
    assert failed(run) == ["reference batch"]


@pytest.mark.parametrize(
    "change",
    [
        {"image.3": np.zeros((0, 8, 1), np.uint8)},
        {"image.0": np.zeros((1, 1, 2), np.uint8)},
        {"image.0": np.zeros((1, 10_000_000, 1), np.uint8)},
        {"inputs": np.zeros((4, 8, 8, 1), bool)},
        {"logits": np.zeros((4, 10), np.int32)},
    ],
    ids=lambda change: repr(change)[:12],
)
def test_reference_batch_of_another_kind(run, change):
    path = run / "reference.safetensors"
    values, metadata = read_tensors(path)
    inputs = change.get("inputs", values["inputs"])
    change = {**change, "inputs": np.resize(inputs, values["inputs"].shape)}
    write_tensors(path, {**values, **change}, metadata=metadata)
    manifest.update_manifest(run, ("reference.safetensors",))
    checks = rezoo.verify(str(run)).checks
    (found,) = [check.found for check in checks if check.holds is False]
    assert "is not a reference batch of this network" in found


def test_command(call, run):
    answer = call("verify", run)
    assert answer.rc == 0, answer
    assert "Everything that is recorded holds." in answer.out
    answer = call("verify", run, "--json")
    assert json.loads(answer.out)["holds"] is True
    os.truncate(run / "model.safetensors", 10_000)
    answer = call("verify", run)
    assert answer.rc == 5
    assert "Does not hold: model.safetensors." in answer.out
    assert "Traceback" not in answer.err
    document = json.loads(call("verify", run, "--json").out)
    assert document["holds"] is False
    (found,) = [c for c in document["checks"] if c["what"] == "model.safetensors"]
    assert "10,000 bytes" in found["found"]


@pytest.mark.ci
def test_weights_from_elsewhere_become_provable(call, foreign):
    fails(call("verify", foreign), 3, "has no record to compare with", "--record")
    answer = call("verify", foreign, "--record")
    assert answer.rc == 0, answer
    assert "4 drawn pictures" in answer.out
    rezoo.load(str(foreign))
    fails(call("verify", foreign, "--record"), 2, "has a record already", "--overwrite")
    assert call("verify", foreign, "--record", "--overwrite").rc == 0
    content = bytearray((foreign / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (foreign / "model.safetensors").write_bytes(content)
    assert call("verify", foreign).rc == 5


@pytest.mark.ci
def test_reference_batch_of_ones_own_images(call, foreign, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(encoded(picture(i)))
    options = [x for path in paths for x in ("--image", path)]
    answer = call("verify", foreign, "--record", *options)
    assert answer.rc == 0, answer
    assert "3 images that the owner chose" in answer.out
    values, _ = read_tensors(foreign / "reference.safetensors")
    assert values["image.0"].shape == (40, 48, 3)
    assert values["inputs"].shape == (3, 32, 32, 3)


def test_files_that_are_no_images(call, foreign, tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"no image")
    fails(call("verify", foreign, "--record", "--image", path), 5, "x.jpg cannot be decoded")
    path.unlink()
    path.symlink_to("/dev/zero")
    fails(call("verify", foreign, "--record", "--image", path), 5, "x.jpg is a device")


def test_wrong_use(call, foreign):
    fails(call("verify", "resnet18"), 2, "has no weights", "published weights")
    fails(call("verify", foreign, "--overwrite"), 2, "need --record")
    with pytest.raises(SpecError, match="is not a folder"):
        record_proof("resnet18")


def test_repository(hub, small_repository, tmp_path, monkeypatch):
    commit = hub.add("team/net", small_repository)
    path = catalogue(tmp_path, small_repository, commit=commit)
    monkeypatch.setenv("REZOO_CATALOGUE", str(path))
    result = verify(ARCHITECTURE, pretrained=True)
    found = {check.what: check.holds for check in result.checks}
    assert result.holds
    assert found["config.json and catalogue"]
    assert found["model.safetensors"]
    assert found["reference batch"] is None
    assert result.origin.commit == commit


def test_repository_that_nobody_pinned(hub, small_repository, tmp_path):
    files = dict(small_repository)
    commit = hub.add("team/net", {**files, "config.json": timm_config()})
    result = verify(f"hf://team/net@{commit}")
    (weights,) = [c for c in result.checks if c.what == "model.safetensors"]
    assert weights.holds
    assert "as the Hub says" in weights.found


def test_nothing_to_compare_with(foreign):
    with pytest.raises(NotFoundError, match="no manifest, no catalogue, no Hub"):
        verify(str(foreign))


@pytest.mark.ci
def test_fingerprints_of_all_architectures():
    """They are in published files: a change of the rule needs another version.

    Made by `fingerprint(rezoo.create_model(name, num_classes=3))`, November 2026.
    """
    from rezoo.models.fingerprint import fingerprint

    golden = {
        "resnet18": "1:57314034334425e1b3b6ea348ef9658d5fb705a653ff22a94d070af406c494db",
        "resnet50": "1:b78825626734ebe6dde06f14bcd57ff2171cbc3d0279a6e1eb6b550703b6d043",
        "resnet50_v1": "1:41ce0d325176ff4dca013593b427a68425f6ffa413f1e18e6bb423804857c6d0",
        "resnet50d": "1:129d93f417d586fdc3df2b7e805a3c8863bec6598f2897fe559ec36a4d31eb5b",
        "test_resnet": "1:ae1d58dd2823f88d98cfc0336d88ebbc19cb87f00f6e0ede4d198ec044f7477b",
    }
    found = {n: fingerprint(rezoo.create_model(n, num_classes=3)) for n in golden}
    assert found == golden
    assert len(set(found.values())) == len(found)
