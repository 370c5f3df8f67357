"""Format stablehlo: what `jax.export` serializes, for the processor and CUDA, any batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from rezoo.exporters.archives import texts
from rezoo.exporters.formats import FORMATS, METADATA
from rezoo.exporters.runner import Runner

if TYPE_CHECKING:
    from rezoo.exporters.bundle import Bundle

FORMAT = FORMATS["stablehlo"]
_PLATFORMS = ("cpu", "cuda")


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.stablehlo`, and labels and facts beside it."""
    from rezoo.exporters.jax_graph import to_jax

    [batch] = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((batch, *bundle.graph.shape), jnp.float32)
    run = jax.jit(to_jax(bundle.whole))
    exported = jax.export.export(run, platforms=_PLATFORMS)(images)
    (folder / FORMAT.file).write_bytes(exported.serialize())
    for name, text in texts(bundle.metadata(), bundle.labels()).items():
        (folder / name).write_text(text, encoding="utf-8")


def open_runner(folder: Path, *, threads: int | None = None) -> Runner:
    """Open it in JAX, which chooses its number of threads itself."""
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    exported = jax.export.deserialize(bytearray((folder / FORMAT.file).read_bytes()))
    run = jax.jit(exported.call)
    return Runner.of(
        FORMAT,
        metadata,
        runtime=f"JAX {jax.__version__}",
        call=lambda images: np.asarray(run(images)),
    )
