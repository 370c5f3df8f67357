"""The scripts of the guides run exports where there is neither rezoo nor TensorFlow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rezoo
from conftest import encoded, picture
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from test_exports import weights

pytestmark = pytest.mark.ci

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"
RAW = ("onnx", "openvino", "saved_model")
# What each fresh environment gets.
PACKAGES = {
    "onnx": ["onnxruntime", "pillow"],
    "openvino": ["openvino", "pillow"],
    "litert": ["ai-edge-litert", "pillow"],
    "stablehlo": ["jax", "flatbuffers", "pillow"],
    "keras": ["keras", "jax", "pillow"],
    "saved_model": ["tensorflow"],
}
FORBID = """
import sys


class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ImportError(f"{name} must not be needed")


sys.meta_path.insert(0, Forbidden())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "tiny", size=96)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The files of the guides."""
    folder = tmp_path_factory.mktemp("scripts")
    text = "".join((GUIDES / name).read_text("utf-8") for name in ("server.md", "phone.md"))
    blocks = re.findall(r'```python title="(\w+\.py)"\n(.*?)```', text, re.S)
    for name, text in blocks:
        (folder / name).write_text(text)
    assert {f"run_{name}.py" for name in FORMATS} | {"prepare.py"} == {n for n, _ in blocks}
    return folder


def answers(python, scripts, name, folder, photograph, env):
    """Run a script; return its labels and values."""
    done = subprocess.run(
        [python, scripts / f"run_{name}.py", folder, photograph],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3", **env},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return [label for _, label in rows[-3:]], [float(value) for value, _ in rows[-3:]]


def expected(folder, photograph):
    [found] = rezoo.predict(str(folder), photograph, top_k=3)
    return list(found.labels), list(found.probabilities)


def exported(folder, tmp_path, name):
    takes = "raw" if name in RAW else "tensor"
    options = {"takes": takes, "gives": "probabilities", "measure": False}
    export(str(folder), name, output=tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "saved_model" else name
        for name in PACKAGES
    ],
)
def test_scripts_of_the_guide(folder, scripts, tmp_path, name):
    if FORMATS[name].missing:
        pytest.skip(FORMATS[name].install)
    photograph = tmp_path / "photograph.png"
    photograph.write_bytes(encoded(picture(3, (150, 130)), "PNG"))
    target = exported(folder, tmp_path, name)
    names = {"rezoo"} if name == "saved_model" else {"rezoo", "tensorflow"}
    (tmp_path / "sitecustomize.py").write_text(FORBID.replace("{names}", repr(names)))
    env = {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "jax"}
    labels, values = answers(sys.executable, scripts, name, target, photograph, env)
    wanted_labels, wanted = expected(folder, photograph)
    assert labels == wanted_labels
    np.testing.assert_allclose(values, wanted, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PACKAGES))
def test_scripts_of_the_guide_in_fresh_environments(folder, scripts, tmp_path, name):
    """A minute each: a virtual environment with the runtime alone."""
    photograph = tmp_path / "photograph.png"
    photograph.write_bytes(encoded(picture(3, (150, 130)), "PNG"))
    target = exported(folder, tmp_path, name)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
    missing = subprocess.run([python, "-c", "import rezoo"], capture_output=True)
    assert missing.returncode == 1
    env = {"KERAS_BACKEND": "jax"}
    labels, values = answers(python, scripts, name, target, photograph, env)
    wanted_labels, wanted = expected(folder, photograph)
    assert labels == wanted_labels
    np.testing.assert_allclose(values, wanted, atol=2e-3)
