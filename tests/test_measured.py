"""The figures of predictions against scikit-learn and published definitions; their intervals."""

from __future__ import annotations

import dataclasses
import itertools
from bisect import bisect_left

import numpy as np
import pytest
from scipy.special import softmax as softmax_of
from scipy.stats import binom
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.scoring import confusion, multi_label
from rezoo.evaluation.scoring.confusion import class_scores, confused_pairs
from rezoo.evaluation.scoring.intervals import bootstrap, mean_of, percentile_interval, value_of
from rezoo.evaluation.scoring.measured import as_json, figures_of, undefined
from rezoo.evaluation.scoring.reliability import (
    bins_of,
    brier_scores,
    calibration_error,
    calibration_interval,
    confidences,
    reliability_curve,
)
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL

CASES = ["random", "ties", "an empty class", "one class", "one image", "all right", "all wrong"]


def predicted(case: str, classes: int) -> Predictions:
    random = np.random.default_rng(classes)
    count = 1 if case == "one image" else 300
    truth = random.integers(0, classes, count)
    logits = random.normal(0, 2, (count, classes)).astype(np.float32)
    logits[np.arange(count), truth] += 1.5
    if case == "ties":
        logits = np.round(logits)
    if case == "an empty class":
        truth[truth == 1] = 0
    if case == "one class":
        truth[:] = classes - 1
    if case == "all right":
        logits[np.arange(count), truth] += 50
    if case == "all wrong":
        logits[np.arange(count), truth] -= 50
    return collect(SINGLE_LABEL, lambda images: images, [(logits, truth)])


@pytest.mark.parametrize("classes", [2, 7, 100])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_figures_of_classes_are_those_of_scikit_learn(case, classes):
    found = predicted(case, classes)
    truth, answers, count = found.truth, found.top[:, 0], len(found)
    occurring = np.unique(truth)
    np.testing.assert_array_equal(
        confusion.confusion_matrix(found), confusion_matrix(truth, answers, labels=range(classes))
    )
    accuracy = value_of(confusion.mean_class_accuracy(found), count)
    assert accuracy == pytest.approx(balanced_accuracy_score(truth, answers))
    macro = f1_score(truth, answers, labels=occurring, average="macro", zero_division=0)
    assert value_of(confusion.macro_f1(found), count) == pytest.approx(macro)
    each = precision_recall_fscore_support(
        truth, answers, labels=range(classes), average=None, zero_division=np.nan
    )
    for score, precision, recall, f1, images in zip(class_scores(found), *each, strict=True):
        assert (score.count, score.predicted) == (images, (answers == score.index).sum())
        assert _or_nan(score.precision) == pytest.approx(precision, nan_ok=True)
        assert _or_nan(score.accuracy) == pytest.approx(recall, nan_ok=True)
        if images:
            assert score.f1 == pytest.approx(f1)
            assert sum(n for _, n in score.taken_for) == images - score.right
        else:
            assert (score.f1, score.interval, score.taken_for) == (None, None, ())


def _or_nan(value):
    return np.nan if value is None else value


@pytest.mark.parametrize("case", CASES)
def test_roc_auc_is_that_of_scikit_learn(case):
    found = predicted(case, 2)
    auc = value_of(confusion.roc_auc(found), len(found))
    if len(np.unique(found.truth)) < 2:
        assert auc is None
        assert figures_of(found)["auc"].value is None
        assert "ROC AUC is not defined: all images are of one class" in undefined(found)
        assert "1 class has no image" in undefined(found)[0]
    else:
        scores = found.logits[:, 1].astype(np.float64) - found.logits[:, 0]
        assert auc == pytest.approx(roc_auc_score(found.truth, scores))
        assert not undefined(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("classes", [2, 7])
def test_brier_score_is_that_of_scikit_learn(case, classes):
    found = predicted(case, classes)
    probabilities = softmax_of(found.logits.astype(np.float64), axis=1)
    labels = np.arange(classes)
    wanted = brier_score_loss(found.truth, probabilities, labels=labels, scale_by_half=False)
    assert brier_scores(found).mean() == pytest.approx(wanted)
    np.testing.assert_allclose(confidences(found), probabilities.max(1))


def published_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Compute ECE as `calibration.get_ece_em` of Kumar et al. 2019 does, with 15 bins."""
    parts = np.array_split(np.sort(confidence), min(15, len(confidence)))
    edges = [(a[-1] + b[0]) / 2 for a, b in itertools.pairwise(parts)]
    edges = sorted({*edges, 1.0})
    bins = np.array([bisect_left(edges, c) for c in confidence])
    return sum(
        (bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean())
        for b in np.unique(bins)
    )


@pytest.mark.parametrize("count", [1, 7, 15, 97, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_calibration_error_is_that_of_a_published_implementation(count, ties):
    random = np.random.default_rng(count)
    confidence = random.uniform(0.2, 1, count)
    if ties:
        confidence = np.round(confidence, 1)
    right = random.random(count) < confidence**2
    error = calibration_error(confidence, right)
    assert error == pytest.approx(published_error(confidence, right))
    order = random.permutation(count)
    assert calibration_error(confidence[order], right[order]) == pytest.approx(error)
    curve = reliability_curve(confidence, right)
    assert curve.error == error
    assert curve.count.sum() == count
    assert (np.diff(curve.confidence) > 0).all()
    assert ((curve.low <= curve.accuracy) & (curve.accuracy <= curve.high)).all()


def test_bins_have_equally_many_images():
    counts = np.bincount(bins_of(np.random.default_rng(0).random(1000)))
    assert (len(counts), counts.min(), counts.max()) == (15, 66, 67)
    assert bins_of(np.full(1000, 0.5)).tolist() == [0] * 1000


def test_resamples_are_samples_with_replacement():
    seen = []
    bootstrap(50, lambda copies: seen.append(copies) or copies.sum(0), resamples=200)
    copies = np.concatenate(seen, axis=1)
    assert (copies.sum(0) == 50).all()
    share = np.bincount(copies.astype(int).ravel(), minlength=4)[:4] / copies.size
    np.testing.assert_allclose(share, binom.pmf(range(4), 50, 1 / 50), atol=0.02)


def test_intervals_do_not_depend_on_blocks(monkeypatch):
    found = predicted("random", 7)
    statistic = confusion.macro_f1(found)
    whole = bootstrap(len(found), statistic, resamples=50, seed=3)
    monkeypatch.setattr("rezoo.evaluation.scoring.intervals._BLOCK_VALUES", 1000)
    np.testing.assert_allclose(bootstrap(len(found), statistic, resamples=50, seed=3), whole)


@pytest.mark.parametrize("case", ["random", "ties", "an empty class"])
def test_a_resample_gives_the_figures_of_its_images(case):
    """A statistic of copies is the figure of an array that has each image as often."""
    found = predicted(case, 2 if case == "ties" else 7)
    copies = np.random.default_rng(1).multinomial(300, np.full(300, 1 / 300), 4).T
    repeated = [found.at(np.repeat(np.arange(300), column)) for column in copies.T]
    of_each = [confusion.mean_class_accuracy, confusion.macro_f1]
    if found.width == 2:
        of_each.append(confusion.roc_auc)
    for of in of_each:
        wanted = [value_of(of(part), 300) for part in repeated]
        np.testing.assert_allclose(of(found)(copies.astype(np.float32)), wanted)
    losses = mean_of(found.losses)(copies.astype(np.float32))
    np.testing.assert_allclose(losses, [part.losses.mean() for part in repeated], rtol=1e-5)


def test_undefined_resamples_are_left_out():
    values = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan] * 4])
    low, high = percentile_interval(values)
    assert (low[0], high[0]) == pytest.approx(np.percentile([1, 3, 2], [2.5, 97.5]))
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize(("case", "classes"), [*((case, 2) for case in CASES), ("random", 7)])
def test_every_figure_has_an_interval_that_holds_it(case, classes):
    figures = figures_of(predicted(case, classes))
    keys = ["loss", "top1", "top5", "mean_class_accuracy", "macro_f1", "auc", "ece", "brier"]
    assert list(figures) == [key for key in keys if key != "auc" or classes == 2]
    for key, figure in figures.items():
        if figure.value is None:
            assert (figure.interval, figure.shown, figure.shown_interval) == (
                None,
                "not defined",
                "",
            )
            continue
        low, high = figure.interval
        assert low <= high
        if key != "ece":  # its estimate is too large on average
            assert low - 1e-9 <= figure.value <= high + 1e-9
    assert as_json(figures)["top1_interval"] == list(figures["top1"].interval)


def test_figures_without_logits():
    found = predicted("random", 7)
    without = dataclasses.replace(found, logits=found.logits[:, :0])
    assert list(figures_of(without)) == ["loss", "top1", "top5", "mean_class_accuracy", "macro_f1"]


def test_the_interval_of_the_calibration_error():
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 2000)
    calibrated = random.random(2000) < sure
    low, high = calibration_interval(sure, calibrated)
    assert (low, high < 0.03) == (0, True)
    assert (low, high) == calibration_interval(sure, calibrated)
    low, high = calibration_interval(sure, random.random(2000) < sure - 0.2)
    assert 0.15 < low < 0.2 < high < 0.25


def test_classes_of_a_part_of_the_head():
    """A dataset with two classes, one of them without images, a head with six."""
    logits = np.eye(6, dtype=np.float32)[[4, 1, 0]]
    found = collect(
        SINGLE_LABEL, lambda x: x, [(logits, np.zeros(3, int))], classes=np.array([4, 1])
    )
    assert [(c.index, c.count, c.predicted, c.right) for c in class_scores(found)] == [
        (1, 0, 1, 0),
        (4, 3, 1, 1),
    ]
    assert class_scores(found)[1].taken_for == ((0, 1), (1, 1))
    assert confused_pairs(found) == ((4, 0, 1), (4, 1, 1))
    assert confusion.confusion_matrix(found).shape == (6, 6)


@pytest.mark.parametrize("case", ["random", "ties", "an empty class", "nothing is predicted"])
def test_figures_of_several_labels_are_those_of_scikit_learn(case):
    random = np.random.default_rng(4)
    truth = random.random((200, 5)) < 0.3
    logits = (random.normal(0, 1, (200, 5)) + 1.5 * truth - 0.7).astype(np.float32)
    if case == "ties":
        logits = np.round(logits)
    if case == "an empty class":
        truth[:, 2] = False
    if case == "nothing is predicted":
        logits -= 100
    found = collect(MULTI_LABEL, lambda x: x, [(logits, truth.astype(np.float32))])
    figures, occurs = figures_of(found), truth.any(0)
    answers = logits > 0
    wanted = {
        "micro_f1": f1_score(truth, answers, average="micro", zero_division=0),
        "macro_f1": f1_score(
            truth[:, occurs], answers[:, occurs], average="macro", zero_division=0
        ),
        "exact_match": (truth == answers).all(1).mean(),
        "map": average_precision_score(truth[:, occurs], logits[:, occurs], average="macro"),
    }
    for key, value in wanted.items():
        assert figures[key].value == pytest.approx(value)
        low, high = figures[key].interval
        assert low <= value <= high
    copies = random.multinomial(200, np.full(200, 1 / 200), 3).T
    for of, average in ((multi_label.micro_f1, "micro"), (multi_label.macro_f1, "macro")):
        for column, value in zip(
            copies.T, of(truth, answers)(copies.astype(np.float32)), strict=True
        ):
            rows = np.repeat(np.arange(200), column)
            known = truth[rows].any(0) if average == "macro" else slice(None)
            again = f1_score(
                truth[rows][:, known], answers[rows][:, known], average=average, zero_division=0
            )
            assert value == pytest.approx(again)
    assert bool(undefined(found)) == (case == "an empty class")
