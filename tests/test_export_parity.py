"""The format torch, opened by timm; the other runtimes run the file that everybody gets."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import encoded, picture
from peers import import_timm
from rezoo.exporters.export import export
from rezoo.exporters.runner import open_exported
from test_export_scripts import answers, expected, folder, scripts  # noqa: F401 - fixtures

pytestmark = pytest.mark.ci

STUB = f"""
import sys

sys.path.insert(0, {str(Path(__file__).parent)!r})
import peers

peers.import_timm()
"""


@pytest.fixture
def with_timm(tmp_path, monkeypatch):
    """Let processes that are started import timm where torchvision is absent."""
    import_timm()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def test_timm_opens_the_folder(folder, tmp_path, with_timm):  # noqa: F811
    passport = export(str(folder), "torch", output=tmp_path / "out", measure=False)
    assert passport.comparison.holds
    assert passport.comparison.relative <= 1e-5
    assert "timm" in passport.runtime
    run = open_exported(tmp_path / "out")
    assert run(np.zeros((3, 96, 96, 3), np.float32)).shape == (3, 5)


def test_script_of_the_guide(folder, scripts, tmp_path, with_timm):  # noqa: F811
    export(str(folder), "torch", output=tmp_path / "out", measure=False)
    photograph = tmp_path / "photograph.png"
    photograph.write_bytes(encoded(picture(3, (150, 130)), "PNG"))
    env = {"PYTHONPATH": str(with_timm), "HOME": os.environ["HOME"]}
    labels, logits = answers(sys.executable, scripts, "torch", tmp_path / "out", photograph, env)
    wanted, probabilities = expected(folder, photograph)
    assert labels == wanted
    ratios = np.exp(np.subtract(logits, logits[0]))
    np.testing.assert_allclose(ratios, np.divide(probabilities, probabilities[0]), atol=2e-3)
