"""Format torch: a folder that timm loads; weights have PyTorch's names and are not folded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.exporters.formats import FORMATS, METADATA
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:  # it imports Keras, which is no part of the runtime
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["torch"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the description.

    Raises:
        IncompatibleError: timm has no such network, or the output is not logits.
    """
    from rezoo.artifacts.weights import save_model
    from rezoo.registry import architectures
    from rezoo.sources.load import build

    config = bundle.source.config
    if not architectures.get(config.architecture).in_timm:
        raise IncompatibleError(
            f"timm has no {config.architecture}", hint="export to onnx instead."
        )
    if bundle.function:
        raise IncompatibleError(
            "a network of timm returns logits", hint="leave out --values probabilities."
        )
    save_model(build(bundle.source), dataclasses.replace(config, files={}), folder)
    bundle.describe(folder)


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open the folder with timm."""
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

    return Runner(
        format=FORMAT.name,
        runtime=f"PyTorch {torch.__version__}, timm {timm.__version__}",
        metadata=metadata,
        call=call,
    )
