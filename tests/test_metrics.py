"""Scores and intervals against scikit-learn, SciPy and published values; `evaluate`, `predict`."""

from __future__ import annotations

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

import rezoo
from rezoo.cli import benchmark as cli_benchmark
from rezoo.cli import predict as cli_predict
from rezoo.cli import verify as cli_verify
from rezoo.cli.eval import eval_command
from rezoo.cli.examine import examine
from rezoo.errors import NotFoundError, SpecError
from rezoo.evaluation.calibrating.unknown_images import measure_unknown
from rezoo.evaluation.damage.lesions import measure_lesions
from rezoo.evaluation.damage.robustness import measure_corruptions
from rezoo.evaluation.predictions import top_k
from rezoo.evaluation.scoring.intervals import wilson_interval
from rezoo.evaluation.scoring.metrics import measure
from rezoo.publishing.verify import record_proof
from rezoo.tasks import SINGLE_LABEL
from rezoo.training.train import Run


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_wilson_intervals(right, count, low, high):
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("count", [1, 7, 100, 50_000])
def test_wilson_intervals_equal_those_of_scipy(count):
    for right in {0, 1, count // 3, count - 1, count}:
        wanted = binomtest(right, count).proportion_ci(method="wilson")
        assert wilson_interval(right, count) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_wilson_interval_bounds():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for count in (1, 3, 50_000):
        for right in (0, 1, count - 1, count):
            low, high = wilson_interval(right, count)
            assert 0 <= low <= right / count <= high <= 1


@pytest.mark.parametrize("classes", [2, 4, 5, 10, 100])
def test_scores_equal_those_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    logits = random.normal(0, 3, (257, classes)).astype(np.float32)
    truth = random.integers(0, classes, 257)
    truth[:classes] = np.arange(classes)
    batches = [(logits[i : i + 32], truth[i : i + 32]) for i in range(0, 257, 32)]
    seen = []
    scores = measure(SINGLE_LABEL, lambda images: images, batches, progress=seen.append)
    labels = np.arange(classes)
    assert scores.count == 257
    assert seen[-2:] == [256, 257]
    assert scores.top1 == pytest.approx(accuracy_score(truth, logits.argmax(1)))
    if classes > 5:
        wanted = top_k_accuracy_score(truth, logits, k=5, labels=labels)
        assert scores.top5 == pytest.approx(wanted)
    else:
        assert scores.top5 == 1.0
    probabilities = softmax(logits.astype(np.float64), axis=1)
    assert scores.loss == pytest.approx(log_loss(truth, probabilities, labels=labels), rel=1e-6)
    assert scores.top1_interval == wilson_interval(round(scores.top1 * 257), 257)
    assert sum(n for _, n, _ in scores.per_class) == 257
    assert sum(right for *_, right in scores.per_class) == round(scores.top1 * 257)
    assert [index for index, *_ in scores.per_class] == sorted(set(truth.tolist()))


def test_scores_with_large_logits():
    logits = np.array([[1e4, 0.0], [0.0, 1e4], [-1e4, -1e4]], np.float32)
    scores = measure(SINGLE_LABEL, lambda images: images, [(logits, np.array([0, 0, 0]))])
    assert scores.loss == pytest.approx((0 + 1e4 + np.log(2)) / 3)


def test_scores_of_some_of_the_classes():
    """A dataset with two classes, a head with six."""
    logits = np.eye(6, dtype=np.float32)[[4, 1, 4]]
    scores = measure(
        SINGLE_LABEL, lambda x: x, [(logits, np.array([0, 1, 1]))], classes=np.array([4, 1])
    )
    assert scores.top1 == pytest.approx(2 / 3)
    assert scores.per_class == ((1, 2, 1), (4, 1, 1))


def test_scores_of_nothing():
    with pytest.raises(NotFoundError, match="no images"):
        measure(SINGLE_LABEL, lambda images: images, [])


def test_scores_as_json():
    scores = measure(SINGLE_LABEL, lambda x: x, [(np.eye(3, dtype=np.float32), np.arange(3))])
    fields = ["count", "loss", "top1", "top1_interval", "top5", "top5_interval"]
    assert list(scores.to_dict()) == fields


def test_top_k():
    logits = np.array([[1.0, 3.0, 2.0, 3.0]])
    assert top_k(logits, 3).tolist() == [[1, 3, 2]]  # ties in the order of the classes
    assert top_k(logits, 9).shape == (1, 4)


# what can be evaluated


@pytest.mark.ci
def test_a_path_and_a_model_are_evaluated_like_a_reference(trained, tmp_path):
    from sklearn.datasets import load_digits

    wanted = rezoo.evaluate(str(trained), "digits").scores
    model = rezoo.load(str(trained))
    assert rezoo.evaluate(Path(trained), "digits").scores == wanted
    result = rezoo.evaluate(model, "digits")
    assert (result.scores, result.origin) == (wanted, model.rezoo_origin)
    picture = tmp_path / "digit.png"
    pixels = load_digits().images[:1, ..., None] * 16
    keras.utils.save_img(picture, pixels[0], scale=False)
    answers = [rezoo.predict(m, picture)[0] for m in (str(trained), Path(trained), model)]
    assert len({answer.labels for answer in answers}) == 1


@pytest.mark.ci
def test_a_run_is_evaluated_on_its_own_data(trained):
    run = Run(folder=trained, metrics={})
    result = rezoo.evaluate(run)
    assert (result.dataset, result.split, result.scores.count) == ("digits", "test", 359)
    again = rezoo.evaluate(run.folder, rezoo.load_dataset("digits"))
    assert (again.dataset, again.scores) == ("digits", result.scores)
    with pytest.raises(SpecError, match="does not record its dataset"):
        rezoo.evaluate(rezoo.load(run))


@pytest.mark.parametrize("value", [None, 3, keras.Sequential(), np.zeros(3)])
def test_what_is_no_model_reference_is_refused(value):
    for function in (rezoo.load, rezoo.verify, rezoo.benchmark):
        with pytest.raises(SpecError, match="not a model reference"):
            function(value)


def test_what_is_no_dataset_is_refused(tmp_path):
    for value in (None, 3, np.zeros(3)):
        with pytest.raises(SpecError, match="not a dataset"):
            rezoo.load_dataset(value)
    with pytest.raises(NotFoundError, match="no such file"):
        rezoo.load_dataset(tmp_path / "labels.csv")
    digits = rezoo.load_dataset("digits")
    assert rezoo.load_dataset(digits) is digits


@pytest.mark.parametrize(
    ("command", "functions"),
    [
        (
            eval_command,
            (rezoo.evaluate, measure_corruptions, measure_unknown, rezoo.DataOptions),
        ),
        (examine, (measure_lesions, rezoo.DataOptions)),
        (cli_predict.predict, (rezoo.predict, rezoo.features)),
        (cli_benchmark.benchmark, (rezoo.benchmark,)),
        (cli_verify.verify, (rezoo.verify, record_proof)),
    ],
    ids=["eval", "examine", "predict", "benchmark", "verify"],
)
def test_options_and_keywords_have_the_same_names(command, functions):
    keywords = {name for f in functions for name in inspect.signature(f).parameters}
    options = {option.name for option in command.params}
    loading = set(inspect.signature(rezoo.load).parameters)  # the functions take its models
    # the columns of a table are a part of a dataset reference in Python
    of_the_command = {"as_json", "record", "columns", "restarts", "classes", "overwrite", "device"}
    files, maps = {"csv_file", "table", "predictions", "output", "into"}, {"explain", "wanted"}
    assert options - keywords - loading <= of_the_command | files | maps | {"lesion"}


def test_a_model_of_unknown_preprocessing_is_refused():
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(SpecError, match="has no rezoo_config"):
        rezoo.evaluate(model, "digits")
