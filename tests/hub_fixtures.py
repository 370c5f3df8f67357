"""A repository like timm's on the stand-in of the Hub, and a catalogue that pins it."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from hub_stand_in import StandIn, point_client_at

TOKEN = "hf_canaryCANARYcanaryCANARY01"
REPO = "timm/resnet50.a1_in1k"
ARCHITECTURE, CLASSES, SIZE = "test_resnet", 10, 32
# config.json of timm/resnet50.a1_in1k: 756 bytes with an indent of two and no line end.
PUBLISHED_CONFIG = {
    "architecture": "resnet50",
    "num_classes": 1000,
    "num_features": 2048,
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
        "origin_url": "https://github.com/huggingface/pytorch-image-models",
        "paper_ids": "arXiv:2110.00476",
    },
}


def no_waits(monkeypatch) -> None:
    """Let the client retry without waiting in between."""
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    for module in (file_download, _http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that this process talks to; no token is set."""
    with StandIn() as hub:
        point_client_at(monkeypatch, hub, tmp_path / "hf")
        no_waits(monkeypatch)
        hub.tokens = {TOKEN: "write", "hf_readREADreadREADreadREAD0123": "read"}
        yield hub


def network_tensors(name: str, *, num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return tensors of a network under timm's names, with statistics that are not trivial."""
    from rezoo.models import tensors
    from rezoo.models.factory import create_model

    random = np.random.default_rng(seed)
    values = {}
    for tensor, shape in tensors.shapes(create_model(name, num_classes=num_classes)).items():
        kind = tensor.rpartition(".")[2]
        if len(shape) > 1:
            fan = int(np.prod(shape[1:]))
            value = random.normal(0, np.sqrt(2 / fan), shape)
        else:
            low, high = {"running_var": (0.5, 2.0), "weight": (0.5, 1.0)}.get(kind, (-0.2, 0.2))
            value = random.uniform(low, high, shape)
        values[tensor] = value.astype(np.float32)
    return values


def timm_config(architecture=ARCHITECTURE, *, num_classes=CLASSES, size=SIZE, **cfg) -> bytes:
    """Return a config.json as timm writes it; `cfg` changes keys of `pretrained_cfg`."""
    pretrained = {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [3, size, size],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": num_classes,
        "first_conv": "conv1",
        "classifier": "fc",
        **cfg,
    }
    content = {
        "architecture": architecture,
        "num_classes": num_classes,
        "pretrained_cfg": pretrained,
    }
    return json.dumps(content, indent=2).encode()


@pytest.fixture(scope="session")
def small_repository() -> dict[str, bytes]:
    """The files of a small repository in timm's layout, as timm and its users leave them."""
    weights = network_tensors(ARCHITECTURE, num_classes=CLASSES)
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"---\nlibrary_name: timm\n---\n",
        "config.json": timm_config(),
        "model.safetensors": safetensors.numpy.save(weights),
        "pytorch_model.bin": b"\x80\x02never opened",
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def catalogue(folder, files, *, commit="", arch=ARCHITECTURE, tag="mine", repo="team/net", **more):
    """Write a catalogue that pins a repository; return its path."""
    entry = {
        "arch": arch,
        "tag": tag,
        "repo": repo,
        "commit": commit,
        "sha256": sha256(files["model.safetensors"]),
        "bytes": len(files["model.safetensors"]),
        "licence": "apache-2.0",
        "num_classes": CLASSES,
        "train_size": SIZE,
        "crop_pct": 0.95,
        "interpolation": "bicubic",
        "default": True,
        **more,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items() if value != ""]
    path = folder / "catalogue.toml"
    path.write_text("[[weights]]\n" + "\n".join(lines) + "\n")
    return path
