"""int8 that keeps its accuracy: which layers must stay in float32.

Where int8 loses more than half a point of top-1 (or, without labels, changes one answer in
twenty), the layers are ranked by how much error each adds, and the worst 1, 2, 4, 8, … stay in
float32 until the accuracy is back or half of the layers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from rezoo.exporters.comparing import AGREEMENT, DROP, Comparison, compare, in_batches
from rezoo.exporters.samples import Samples

RANKED_ON = 32  # images
Trade = tuple[dict[str, Any], ...]
Run = Callable[[bytes], Callable[[np.ndarray], np.ndarray]]  # a file's content to what runs it


class Quantizer(Protocol):
    """A network whose activations have been looked at, to be quantized once or several times."""

    def content(self, keep: Sequence[str] = ()) -> bytes:
        """Return the quantized file; the layers in `keep` stay in float32."""

    def run(self, content: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """Return what runs such a file: prepared images `(N, H, W, C)` to outputs `(N, K)`."""

    def rank(self) -> list[str]:
        """Return the layers that may be kept, those that add most error first."""


def keep_accuracy(
    quantizer: Quantizer, samples: Samples, wanted: np.ndarray
) -> tuple[tuple[str, ...], Trade]:
    """Choose the layers that stay in float32.

    Args:
        quantizer: Of the format that is written.
        samples: What accuracy is measured on.
        wanted: The source's outputs for them.

    Returns:
        The layers, and what each attempt gave.
    """
    trade: list[dict[str, Any]] = []
    ranking: list[str] = []
    keep: tuple[str, ...] = ()
    best: tuple[float, tuple[str, ...]] | None = None
    while True:
        content = quantizer.content(keep)
        outputs = in_batches(quantizer.run(content), samples.inputs)
        found = compare(wanted, outputs, samples, quantize="int8")
        trade.append(_row(keep, found, len(content)))
        if best is None or _score(found) < best[0]:
            best = (_score(found), keep)
        if _is_kept(found):
            break
        ranking = ranking or quantizer.rank()
        count = 2 * len(keep) or 1
        if count > len(ranking) // 2:
            break
        keep = tuple(ranking[:count])
    return best[1], tuple(trade)


def _is_kept(found: Comparison) -> bool:
    if found.accuracy is not None:
        return found.accuracy.drop <= DROP
    return found.agreement >= AGREEMENT


def _score(found: Comparison) -> float:
    return found.accuracy.drop if found.accuracy else 1 - found.agreement


def _row(keep: tuple[str, ...], found: Comparison, size: int) -> dict[str, Any]:
    return {
        "kept_in_float32": list(keep),
        "top1": found.accuracy.after if found.accuracy else None,
        "drop": found.accuracy.drop if found.accuracy else None,
        "agreement": found.agreement,
        "rms_relative": found.rms_relative,
        "bytes": size,
    }
