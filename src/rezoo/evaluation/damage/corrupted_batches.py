"""The images of a split in batches, read again for each kind and severity of corruption."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from rezoo.evaluation.damage.corruptions import corrupt
from rezoo.evaluation.setting import Setting
from rezoo.models.devices import Devices


class CorruptedBatches:
    """This host's images of a split, with one corruption at a time.

    Args:
        setting: The network and the split, whose unreadable images are known.
        team: All hosts, each of which has a part of the images.
        seed: Of the random kinds.
        pool: Threads that change the images.
    """

    def __init__(
        self, setting: Setting, team: Devices, seed: int, pool: ThreadPoolExecutor
    ) -> None:
        self.setting, self.team = setting, team
        self._seed, self._pool = seed, pool
        self._mine = team.share(len(setting.faults.examples))
        self._faults = setting.faults.of_some(self._mine)
        known = setting.faults.reasons  # to all hosts, from the evaluation
        self._faults.reasons |= {
            i: known[index] for i, index in enumerate(self._mine.tolist()) if index in known
        }
        self._batches = setting.batches(self._faults)

    def __len__(self) -> int:
        return len(self._mine)

    def of(self, kind: str, severity: int) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield images, whole grey levels as uint8 `(B, H, W, C)`, and labels.

        Args:
            kind: A key of `corruptions.KINDS`.
            severity: 1 to 5.
        """
        change = partial(_changed, kind, severity, self._seed)
        indices, start = self._mine[self._faults.readable()], 0
        for images, labels in self._batches:
            levels = np.asarray(images)
            some = indices[start : start + len(levels)]
            start += len(levels)
            yield np.stack(list(self._pool.map(change, levels, some))), labels


def _changed(kind: str, severity: int, seed: int, image: np.ndarray, index: np.int64) -> np.ndarray:
    return corrupt(image, kind, severity, seed=seed, index=int(index))
