"""Format torch: a folder that timm loads; weights have PyTorch's names and are not folded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rezoo.artifacts.weights import save_model
from rezoo.errors import IncompatibleError
from rezoo.exporters.bundle import Bundle
from rezoo.registry import architectures


def write(bundle: Bundle, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the description."""
    config = bundle.source.config
    if not architectures.get(config.architecture).in_timm:
        raise IncompatibleError(
            f"timm has no {config.architecture}", hint="export to onnx instead."
        )
    if bundle.gives != "logits":
        raise IncompatibleError("a network of timm returns logits", hint="leave out --values.")
    # the folder has neither probabilities nor class means
    save_model(bundle.network, dataclasses.replace(config, calibration=None), folder)
    bundle.describe(folder)
