"""How often the intervals hold the value of the population: by simulation, 95 % ± 1.5.

    python -m pytest -m slow tests/test_coverage.py -s

prints the table. The population is a large sample of the same kind.
"""

from __future__ import annotations

import numpy as np
import pytest

from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.scoring import confusion, multi_label
from rezoo.evaluation.scoring.intervals import (
    bootstrap,
    mean_of,
    percentile_interval,
    wilson_interval,
)
from rezoo.evaluation.scoring.reliability import (
    brier_scores,
    calibration_error,
    calibration_interval,
)
from rezoo.tasks import SINGLE_LABEL

pytestmark = pytest.mark.slow
REPEATS, POPULATION = 1000, 300_000
TOLERANCE = 0.015


def drawn(random: np.random.Generator, count: int, classes: int) -> Predictions:
    """Draw images of classes that are not equally frequent, and logits of a fair network."""
    shares = np.linspace(1, 2, classes)
    truth = random.choice(classes, count, p=shares / shares.sum())
    logits = random.normal(0, 1.5, (count, classes))
    logits[np.arange(count), truth] += np.linspace(1.5, 4, classes)[truth]
    return collect(SINGLE_LABEL, lambda images: images, [(logits.astype(np.float32), truth)])


def statistics(found: Predictions):
    of = {
        "mean class accuracy": confusion.mean_class_accuracy(found),
        "macro F1": confusion.macro_f1(found),
        "loss": mean_of(found.losses),
        "Brier": mean_of(brier_scores(found)),
    }
    return of if found.width > 2 else {**of, "AUC": confusion.roc_auc(found)}


def values(found: Predictions) -> np.ndarray:
    once = np.ones((len(found), 1), np.float32)
    return np.array([float(of(once)[0]) for of in statistics(found).values()])


def report(case: str, coverage: dict[str, float]) -> None:
    print("\n", case, ", ".join(f"{name} {share:.1%}" for name, share in coverage.items()))


@pytest.mark.parametrize(("classes", "count"), [(2, 1000), (5, 400), (37, 1500)])
def test_bootstrap_intervals_cover_the_population(classes, count):
    random = np.random.default_rng(1)
    wanted = values(drawn(random, POPULATION, classes))
    hits = np.zeros(len(wanted))
    for seed in range(REPEATS):
        found = drawn(random, count, classes)
        of_each = statistics(found).values()
        resampled = bootstrap(
            count,
            lambda copies, of_each=of_each: np.stack([of(copies) for of in of_each]),
            seed=seed,
        )
        low, high = percentile_interval(resampled, values(found))
        hits += (low <= wanted) & (wanted <= high)
    coverage = dict(zip(statistics(found), hits / REPEATS, strict=True))
    report(f"{classes} classes, {count} images:", coverage)
    assert max(abs(share - 0.95) for share in coverage.values()) <= TOLERANCE


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_wilson_intervals_cover_the_population(p):
    """Exactly, as the mean over p: for one p the coverage of any interval oscillates."""
    near = np.linspace(p - 0.005, p + 0.005, 400)
    hits = np.random.default_rng(0).binomial(500, near, (REPEATS // 10, len(near)))
    ends = np.array([wilson_interval(right, 500) for right in range(501)])[hits]
    share = ((ends[..., 0] <= near) & (near <= ends[..., 1])).mean()
    report(f"proportion {p}, 500 images:", {"Wilson": share})
    assert abs(share - 0.95) <= TOLERANCE


GAPS = {
    "calibrated": lambda sure: sure,
    "too sure": lambda sure: 0.98 * sure**2,
    "a little too sure": lambda sure: sure - 0.03,
    "both": lambda sure: np.clip(sure + 0.06 * np.sin(12 * sure), 0, 1),
}


@pytest.mark.parametrize("kind", GAPS)
@pytest.mark.parametrize("count", [360, 1000, 3669])
def test_the_calibration_interval_covers_the_population(kind, count):
    random = np.random.default_rng(2)
    sure = 0.5 + 0.5 * random.beta(6, 0.7, POPULATION)
    wanted = calibration_error(sure, GAPS[kind](sure))  # accuracies in place of their outcomes
    hits = 0
    for seed in range(REPEATS):
        sure = 0.5 + 0.5 * random.beta(6, 0.7, count)
        right = random.random(count) < GAPS[kind](sure)
        low, high = calibration_interval(sure, right, seed=seed)
        hits += low <= wanted + 1e-12 and wanted <= high
    report(f"ECE, {kind}, {count} images:", {"interval": hits / REPEATS})
    # the shape of the curve is not known either: few images, more misses
    low, high = (0.935, 0.99) if kind == "calibrated" else (0.915, 0.97)
    assert low <= hits / REPEATS <= high


def test_the_bootstrap_covers_average_precision():
    random = np.random.default_rng(3)

    def sample(count):
        truth = random.random((count, 3)) < (0.1, 0.2, 0.4)
        return truth, random.normal(0, 1, (count, 3)) + 1.5 * truth

    truth, logits = sample(POPULATION)
    once = np.ones((POPULATION, 1), np.float32)
    wanted = multi_label.average_precisions(logits, truth)(once)[:, 0]
    hits = np.zeros(4)
    for seed in range(REPEATS // 2):
        truth, logits = sample(500)
        each = bootstrap(
            500, multi_label.average_precisions(logits, truth), resamples=500, seed=seed
        )
        low, high = percentile_interval(np.concatenate([each, each.mean(0, keepdims=True)]))
        target = np.append(wanted, wanted.mean())
        hits += (low <= target) & (target <= high)
    report("AP of 500 images:", dict(zip("abcm", hits / (REPEATS // 2), strict=True)))
    assert (np.abs(hits / (REPEATS // 2) - 0.95) <= 0.03).all()
