"""`Runner`: an exported file, open in its own runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rezoo.exporters.formats import Format


@dataclass(frozen=True, kw_only=True, eq=False)
class Runner:
    """An exported network.

    Attributes:
        format: Name of its format.
        input: tensor: float32 `(N, H, W, C)`, prepared; raw: uint8 `(N, h, w, C)`.
        output: logits or probabilities.
        shape: `(height, width, channels)` of prepared images.
        batch: How many images it takes; None: any number.
        runtime: What runs it, with the version.
        metadata: What the file says of itself.
        call: Runs it.
    """

    format: str
    input: str
    output: str
    shape: tuple[int, int, int]
    batch: int | None
    runtime: str
    metadata: dict[str, Any]
    call: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(
        cls,
        kind: Format,
        metadata: dict[str, Any],
        *,
        runtime: str,
        call: Callable[[np.ndarray], np.ndarray],
    ) -> Runner:
        """Return the runner of an export that takes any number of images and describes itself."""
        return cls(
            format=kind.name,
            input=metadata["input"],
            output=metadata["output"],
            shape=tuple(metadata["input_shape"]),
            batch=None,
            runtime=runtime,
            metadata=metadata,
            call=call,
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return `(N, K)` float32."""
        return np.asarray(self.call(images), np.float32)
