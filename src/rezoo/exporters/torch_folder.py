"""Format torch: the folder that timm loads, with weights under PyTorch's names, not folded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.exporters.archives import texts
from rezoo.exporters.formats import FORMATS, METADATA
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["torch"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, and labels and facts beside them.

    Raises:
        IncompatibleError: timm has no such network, or probabilities are wanted.
    """
    from rezoo.artifacts.weights import save_model
    from rezoo.registry import architectures
    from rezoo.sources.load import build

    config = bundle.source.config
    if not architectures.get(config.architecture).in_timm:
        raise IncompatibleError(
            f"timm has no {config.architecture}", hint="export to onnx, which PyTorch's users run."
        )
    if bundle.function:
        raise IncompatibleError(
            "a network of timm gives logits", hint="leave out --output-values probabilities."
        )
    save_model(build(bundle.source), dataclasses.replace(config, files={}), folder)
    for name, text in texts(bundle.metadata(), bundle.labels()).items():
        (folder / name).write_text(text, encoding="utf-8")


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it with timm."""
    import timm
    import torch

    if threads:
        torch.set_num_threads(threads)
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    model = model.to(memory_format=torch.channels_last)

    def call(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"PyTorch {torch.__version__}, timm {timm.__version__}",
        call=call,
    )
