"""Folders that earlier versions wrote still load, and the format changes only on purpose.

`golden/<version>.json` is the `config.json` of a folder that `write_golden` of that version
made. Its weights are made again from a rule, and have to have the SHA-256 that it lists.
After a wanted change of the format: `python tests/test_golden.py`, under a new version.
"""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parent / "golden"


def ruled_tensors(shapes):
    """Return values that depend on place alone: no random generator, which might change."""
    values = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        places = np.arange(math.prod(shape), dtype=np.int64) + 1009 * number
        value = ((places * 7919) % 2003).astype(np.float32) / 2003 - np.float32(0.5)
        if name.endswith("running_var"):
            value = value + np.float32(1)
        values[name] = value.reshape(shape)
    return values


def write_golden(folder: Path) -> None:
    from rezoo.artifacts import manifest, weights
    from rezoo.models import tensors
    from rezoo.models.factory import create_model
    from rezoo.specs import ModelConfig, Origin, Preprocessing

    model = create_model("test_resnet", num_classes=2, input_shape=(None, None, 1))
    tensors.assign(model, ruled_tensors(tensors.shapes(model)).__getitem__)
    config = ModelConfig(
        architecture="test_resnet",
        num_classes=2,
        preprocessing=Preprocessing(input_size=(1, 40, 32), mean=(0.4,), std=(0.3,)),
        class_names=("Katze", "犬 | <b>"),
        licence="mit",
        base=Origin(repo="team/net", commit="1" * 40, sha256="2" * 64, licence="mit"),
    )
    weights.save_model(model, config, folder)
    manifest.write_manifest(folder)


def goldens():
    return sorted(GOLDEN.glob("*.json"))


@pytest.mark.parametrize("path", goldens(), ids=lambda path: path.stem)
def test_w21_folders_of_earlier_versions_load(path, tmp_path):
    import rezoo
    from rezoo.artifacts.manifest import checksum_holds
    from rezoo.artifacts.safetensors import write_tensors
    from rezoo.models import tensors

    content = json.loads(path.read_text("utf-8"))
    assert checksum_holds(content)
    model = rezoo.create_model("test_resnet", num_classes=2, input_shape=(None, None, 1))
    values = ruled_tensors(tensors.shapes(model))
    counters = {
        name.replace("running_var", tensors.COUNTER): np.zeros((), np.int64)
        for name in values
        if name.endswith("running_var")
    }
    write_tensors(tmp_path / "model.safetensors", {**values, **counters})
    (tmp_path / "config.json").write_bytes(path.read_bytes())
    loaded = rezoo.load(str(tmp_path))  # compares the SHA-256 and the fingerprint
    config = loaded.rezoo_config
    assert config.class_names == ("Katze", "犬 | <b>")
    assert config.preprocessing.size == (40, 32)
    assert (config.base.repo, config.base.commit) == ("team/net", "1" * 40)
    for name, value in tensors.to_tensors(loaded).items():
        if name in values:
            np.testing.assert_array_equal(value, values[name])


def test_this_version_writes_the_same(tmp_path):
    """The bytes of config.json, but for the version that wrote it."""
    write_golden(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text("utf-8"))
    kept = json.loads(goldens()[-1].read_text("utf-8"))
    for content in (written, kept):
        content.pop("rezoo_version")
        content.pop("checksum")
    assert list(written) == list(kept)
    assert written == kept


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write_golden(Path(name))
        GOLDEN.mkdir(exist_ok=True)
        target = GOLDEN / f"{version('rezoo')}.json"
        target.write_bytes((Path(name) / "config.json").read_bytes())
        print(target)
