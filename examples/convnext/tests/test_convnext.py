"""ConvNeXt keeps the contract of rezoo, and gives timm's logits with timm's weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rezoo
from rezoo import registry
from rezoo.artifacts.safetensors import write_tensors

NAMES = ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large")
PAPER = {"convnext_tiny": 4.5, "convnext_small": 8.7, "convnext_base": 15.4, "convnext_large": 34.4}
RELATIVE = 1e-5  # of the largest logit


@pytest.mark.rezoo("convnext_tiny")
def test_contract(rezoo_check):
    """Each check of `rezoo plugin check convnext_tiny` is a test of its own."""
    rezoo_check()


@pytest.mark.parametrize("name", NAMES)
def test_macs_of_the_paper(name):
    """Table 1 of the paper has them in units of 10^9."""
    assert f"{registry.architectures.get(name).macs / 1e9:.1f}" == str(PAPER[name])


@pytest.fixture(scope="module")
def twin():
    """Return timm's network, with random weights that are not trivial."""
    timm = pytest.importorskip("timm")
    import torch

    torch.manual_seed(0)
    model = timm.create_model("convnext_tiny", num_classes=10)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # also the layer scale, which begins at 1e-6
            low, high = (-0.2, 0.2) if name.endswith("bias") else (0.5, 1.0)
            torch.nn.init.uniform_(parameter, low, high)
    return model.eval()


@pytest.mark.parametrize("size", [(96, 96), (97, 65)])
def test_weights_of_timm_give_its_logits(twin, tmp_path, size):
    """The folder is as timm writes it."""
    import torch

    state = {name: value.numpy() for name, value in twin.state_dict().items()}
    write_tensors(tmp_path / "model.safetensors", state)
    config = '{"architecture": "convnext_tiny", "num_classes": 10, "pretrained_cfg": {}}'
    (tmp_path / "config.json").write_text(config)
    images = np.random.default_rng(0).standard_normal((2, *size, 3), dtype=np.float32)
    with torch.no_grad():
        wanted = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    found = keras.ops.convert_to_numpy(rezoo.load(tmp_path)(images, training=False))
    assert np.abs(found - wanted).max() <= RELATIVE * np.abs(wanted).max()


def test_weights_of_rezoo_load_in_timm(tmp_path):
    """`rezoo export --to torch` writes the folder, opens it in timm and compares the logits."""
    from rezoo.artifacts.weights import save_model

    pytest.importorskip("timm")
    model = rezoo.create_model("convnext_tiny", num_classes=10)
    save_model(model, model.rezoo_config, tmp_path)
    passport = rezoo.export(
        str(tmp_path), "torch", output=tmp_path / "torch", image_size=64, measure=False
    )
    assert passport.comparison.relative <= RELATIVE
