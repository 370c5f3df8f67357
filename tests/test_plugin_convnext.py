"""examples/convnext: timm's logits, every export, and the example's own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from peers import import_timm, logits_of
from plugin_site import add_distribution, install_package
from rezoo import registry
from rezoo.artifacts.weights import save_model
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from rezoo.models import tensors
from rezoo.models.factory import create_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "convnext"
SMALL = {"depths": (1, 1, 2, 1), "widths": (8, 16, 24, 32)}
RELATIVE = 1e-5  # of the largest logit
MODULE = f"""
import dataclasses
import rezoo_convnext

small = dataclasses.replace(
    rezoo_convnext.convnext_tiny, name="convnext_small_one", config={SMALL!r}
)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A ConvNeXt of few channels, with weights that are not trivial."""
    site = tmp_path_factory.mktemp("site")
    install_package(EXAMPLE, site)
    (site / "small_convnext.py").write_text(MODULE)
    points = {"rezoo.architectures": {"convnext_small_one": "small_convnext:small"}}
    add_distribution(site, "small-convnext", points)
    sys.path.insert(0, str(site))
    registry._scan.cache_clear()
    model = create_model("convnext_small_one", num_classes=10)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(0.2, 0.3, variable.shape).astype(np.float32))
    yield model
    sys.path.remove(str(site))
    for name in ("rezoo_convnext", "small_convnext"):
        sys.modules.pop(name, None)
    registry._scan.cache_clear()
    registry.load.cache_clear()


@pytest.mark.ci
@pytest.mark.backend
def test_logits_of_timm(small):
    timm = import_timm()
    import torch

    twin = timm.create_model(
        "convnext_tiny", num_classes=10, depths=SMALL["depths"], dims=SMALL["widths"]
    )
    state = {name: torch.from_numpy(v.copy()) for name, v in tensors.to_tensors(small).items()}
    twin.load_state_dict(state)  # every name and shape is timm's
    images = np.random.default_rng(1).standard_normal((2, 97, 65, 3), dtype=np.float32)
    wanted = logits_of(twin.eval(), images)
    assert np.abs(logits_of(small, images) - wanted).max() <= RELATIVE * np.abs(wanted).max()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.ci if name == "onnx" else pytest.mark.slow)
        for name in FORMATS
        if name != "torch"
    ],
)
def test_exports(small, tmp_path, name):
    """Layer normalization, GELU, layer scale and a linear layer at each position."""
    if FORMATS[name].missing:
        pytest.skip(f"{FORMATS[name].missing[0]} is not installed")
    save_model(small, small.rezoo_config, tmp_path)
    passport = export(str(tmp_path), name, output=tmp_path / name, image_size=64, measure=False)
    assert passport.comparison.relative <= RELATIVE


@pytest.mark.slow
def test_the_example_itself(tmp_path):
    """Its own tests, with a stand-in for torchvision, which timm imports and they do not use."""
    import_timm()
    install_package(EXAMPLE, tmp_path)
    code = (
        "import sys; from peers import import_timm; import_timm(); import pytest\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests']))"
    )
    places = (str(tmp_path), str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=EXAMPLE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout
