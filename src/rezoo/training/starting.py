"""What happens before the first epoch: a new head is fitted to the features of the others."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from rezoo.training import linear_probe
from rezoo.training.checkpoints import Progress
from rezoo.training.reporters import Reporter
from rezoo.training.setup import Setup
from rezoo.training.step import TrainingStep


def fit_head(
    setup: Setup, step: TrainingStep, progress: Progress, reporter: Reporter
) -> dict[str, Any]:
    """Fit the head to the training images as the test transform shows them.

    The time it takes counts as training. Returns the figures of a step, without a rate and a norm.
    """
    begun = time.perf_counter()
    reporter.status(f"features of {setup.head_images:,} images for the head")
    inputs, labels = linear_probe.features(setup.network, setup.unaugmented_batches())
    reporter.status("logistic regression, its strength by cross-validation")
    classes = setup.config.num_classes
    found = linear_probe.fit(inputs, labels, classes, seed=setup.recipe.seed)
    head = linear_probe.head(setup.network)
    head.kernel.assign(found.kernel)
    head.bias.assign(found.bias)
    if step.update.average:
        step.update.average.restart()
    loss, hits = setup.objective(
        keras.ops.convert_to_tensor(inputs @ found.kernel + found.bias),
        keras.ops.convert_to_tensor(labels),
    )
    took = time.perf_counter() - begun
    progress.wall_time_s += took
    reporter.note(_words(found))
    return {
        "loss": float(np.asarray(loss)),
        setup.task.hits.key: int(np.asarray(hits)) / len(inputs),
        "gradient_norm": None,
        "learning_rate": 0.0,
        "images_per_s": len(inputs) / took,
    }


def _words(found: linear_probe.Probe) -> str:
    if not found.scores:
        return f"head fitted with strength C = {found.strength:g}: too few images to choose by"
    reached = found.scores[found.strength]
    return f"head fitted with strength C = {found.strength:g}: {reached:.2%} in cross-validation"
