"""How networks are measured: one function a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rezoo.evaluation.forward import Forward
from rezoo.evaluation.metrics import Scores, score
from rezoo.evaluation.multi_label import MultiLabelScores, score_multi_label
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL, Task

AnyScores = Scores | MultiLabelScores

_SCORES: dict[str, Callable[..., AnyScores]] = {
    SINGLE_LABEL.name: score,
    MULTI_LABEL.name: score_multi_label,
}


def measure(
    task: Task,
    forward: Forward,
    batches: Iterable[tuple[Any, Any]],
    *,
    classes: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> AnyScores:
    """Run a network over labelled batches and measure it by its task; args as `score` has them."""
    return _SCORES[task.name](forward, batches, classes=classes, progress=progress)
