"""Format keras: a `.keras` file of Keras's own layers, batch normalization folded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from rezoo.evaluation.forward import compiled_forward
from rezoo.exporters.archives import append_metadata, read_metadata
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["keras"]


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.keras`; a zip file, so that what describes it goes in beside."""
    from rezoo.exporters.rebuilding import to_keras

    to_keras(bundle.whole).save(folder / FORMAT.file)
    append_metadata(folder / FORMAT.file, bundle.metadata(), bundle.labels())


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it; Keras has no number of threads of its own."""
    path = folder / FORMAT.file
    metadata = read_metadata(path)
    model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"Keras {keras.__version__} on {keras.config.backend()}",
        call=compiled_forward(model),
    )
