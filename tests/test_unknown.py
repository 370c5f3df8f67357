"""Images of none of the classes: scores, thresholds, `predict`, exports, `rezoo eval --unknown`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.special import logsumexp

import rezoo
from conftest import encoded, picture
from rezoo.artifacts.calibrated import write_calibration
from rezoo.artifacts.weights import save_model
from rezoo.confidence import ENERGY, PROBABILITY, SIMILARITY, Calibration
from rezoo.data.datasets import DataOptions
from rezoo.data.overlap import same_content
from rezoo.errors import DataWarning, IncompatibleError, NotFoundError, RunWarning
from rezoo.evaluation.calibrating.unknown import (
    all_scores,
    auroc,
    auroc_interval,
    best_score,
    class_means,
    energy,
    held_out_auroc,
    probability,
    similarity,
    threshold_for,
)
from rezoo.evaluation.calibrating.unknown_images import (
    measure_unknown,
    opened_unknown,
    tell_apart,
    unknown_for,
)
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.runner import open_exported
from rezoo.specs import ModelConfig, Preprocessing
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

RANDOM = np.random.default_rng(0)  # of values that any draw would do for


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
def test_the_energy_is_that_of_the_definition(temperature):
    logits = RANDOM.normal(0, 30, (50, 7)).astype(np.float32)
    wanted = temperature * logsumexp(logits.astype(np.float64) / temperature, axis=1)
    np.testing.assert_allclose(energy(logits, temperature), wanted, rtol=1e-12)
    wanted = np.exp(logits / temperature - logsumexp(logits / temperature, axis=1)[:, None]).max(1)
    np.testing.assert_allclose(probability(logits, temperature), wanted, rtol=1e-5)


@pytest.mark.ci
def test_the_energy_is_that_of_torch():
    torch = pytest.importorskip("torch")
    logits = RANDOM.normal(0, 10, (50, 7))
    wanted = 2.0 * torch.logsumexp(torch.tensor(logits) / 2.0, dim=1).numpy()
    np.testing.assert_allclose(energy(logits, 2.0), wanted, rtol=1e-12)


def test_the_similarity_is_the_cosine_of_scikit_learn():
    from sklearn.metrics.pairwise import cosine_similarity

    features, truth = np.abs(RANDOM.normal(size=(40, 9))), np.arange(40) % 4
    means = class_means(features, truth, 6)  # two classes have no image
    plain = np.stack([features[truth == k].mean(0) for k in range(4)])
    wanted = cosine_similarity(features, plain).max(1)
    np.testing.assert_allclose(similarity(features, means), wanted, rtol=1e-6)
    assert not means[4:].any()
    assert similarity(np.zeros((1, 9)), means) == [0.0]


def test_the_auroc_counts_pairs_and_ties():
    known, unknown = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0])
    pairs = np.sign(known[:, None] - unknown) / 2 + 0.5
    assert auroc(known, unknown) == pytest.approx(pairs.mean())
    assert auroc(unknown, known) == pytest.approx(1 - pairs.mean())


def test_the_interval_of_the_auroc():
    known, unknown = RANDOM.normal(1, 1, 300), RANDOM.normal(0, 1, 100)
    low, high = auroc_interval(known, unknown)
    assert 0 < low < auroc(known, unknown) < high < 1
    assert 0.05 < high - low < 0.15
    assert auroc_interval(known + 100, unknown) == (pytest.approx(0.025 ** (1 / 100)), 1.0)
    assert auroc_interval(known - 100, unknown) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert auroc_interval(np.ones(3), np.zeros(1)) == (0.025, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "gap"), [((500, 60), 1.0), ((100, 100), 1.8), ((60, 30), 1.0)])
def test_the_interval_of_the_auroc_has_the_truth_as_often_as_it_says(counts, gap):
    from scipy.stats import norm

    random, truth = np.random.default_rng(1), norm.cdf(gap / np.sqrt(2))
    inside = []
    for _ in range(3000):
        known, unknown = random.normal(gap, 1, counts[0]), random.normal(0, 1, counts[1])
        low, high = auroc_interval(known, unknown)
        inside.append(low <= truth <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_threshold_refuses_at_most_the_chosen_part():
    scores = RANDOM.normal(size=200)
    for part in (0.005, 0.05, 0.29, 0.5):
        threshold = threshold_for(scores, part)
        assert (scores < threshold).mean() == pytest.approx(part, abs=1e-9)
    assert (np.zeros(100) < threshold_for(np.zeros(100), 0.05)).sum() == 0


def classes_in_a_plane(count=300):
    """Features of three classes in three directions, and logits that measure other directions."""
    truth = np.arange(count) % 6
    features = np.eye(6)[truth] * 5 + RANDOM.normal(0, 0.3, (count, 6))
    return features, RANDOM.normal(0, 1, (count, 6)), truth


def test_held_out_classes_choose_the_better_score():
    features, noise, truth = classes_in_a_plane()
    means = class_means(features, truth, 6)
    found = held_out_auroc(all_scores, noise, features, truth, means)
    assert found[SIMILARITY] > 0.95
    assert found[ENERGY] == pytest.approx(0.5, abs=0.1)
    assert best_score(found) == SIMILARITY
    found = held_out_auroc(all_scores, 3 * features, RANDOM.normal(size=(300, 6)), truth, means)
    assert best_score(found) == ENERGY
    assert found[ENERGY] > 0.95
    assert SIMILARITY not in held_out_auroc(all_scores, noise, features, truth, None)


def test_images_with_the_same_content_are_found(photographs, tmp_path):
    train = photographs({"a": 3, "b": 2})
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(train / "b" / "001.jpg", other / "x y.jpg")
    (other / "new.jpg").write_bytes(encoded(picture(77)))
    some = opened_unknown(f"folder:{other}", DataOptions())
    known = opened_unknown(f"folder:{train}", DataOptions())
    again = same_content(some.examples, known.examples)
    assert [some.examples.key(i) for i in again] == ["x y.jpg"]
    digits = rezoo.load_dataset("digits")
    assert same_content(digits.examples("val"), digits.examples("train")) == []
    everything = digits.examples("all")
    assert len(same_content(everything, digits.examples("test"))) >= len(digits.examples("test"))
    assert same_content(some.examples, digits.examples("train")) == []


def test_an_unknown_folder_must_have_images(tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        opened_unknown(f"folder:{tmp_path / 'absent'}", DataOptions())
    with pytest.raises(NotFoundError, match="no images in"):
        opened_unknown(f"folder:{tmp_path}", DataOptions())


SIZE, CLASSES = 16, 3


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder with a network of three layers."""
    folder = tmp_path_factory.mktemp("network")
    model = rezoo.create_model(NETWORK, num_classes=CLASSES, input_shape=(None, None, 3))
    for layer in model.layers:
        if layer.name == "fc":
            layer.kernel.assign(np.random.default_rng(4).normal(0, 3, layer.kernel.shape))
    names = ("<script>", "[/red]", "ok")
    pre = Preprocessing(input_size=(3, SIZE, SIZE), crop_pct=1.0)
    config = ModelConfig(
        architecture=NETWORK, num_classes=CLASSES, preprocessing=pre, class_names=names
    )
    save_model(model, config, folder)
    return folder


@pytest.fixture
def images():
    return np.stack([np.asarray(picture(i, (SIZE, SIZE))) for i in range(24)])


def calibrated(network, folder, score, images, temperature=0.6):
    """Copy a network with a calibration that refuses half of some images."""
    shutil.copytree(network, folder)
    random = np.random.default_rng(3)
    means = class_means(np.abs(random.normal(size=(30, 8))), np.arange(30) % CLASSES, CLASSES)
    found = Calibration(
        temperature=temperature,
        temperature_interval=(0.5, 0.8),
        images=100,
        score=score,
        held_out_auroc={score: 0.9},
    )
    from dataclasses import replace

    means = means if score == SIMILARITY else None
    write_calibration(folder, found, means)
    scores = sorted(answer.score for answer in rezoo.predict(folder, images))
    middle = (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2
    write_calibration(folder, replace(found, threshold=middle), means)
    return folder


@pytest.mark.ci
@pytest.mark.parametrize("score", [ENERGY, SIMILARITY])
def test_predict_says_unknown_and_gives_calibrated_probabilities(network, tmp_path, images, score):
    plain = rezoo.predict(network, images, top_k=CLASSES)
    assert {(answer.unknown, answer.score) for answer in plain} == {(None, None)}
    assert "unknown" not in plain[0].to_dict()
    run = calibrated(network, tmp_path / "run", score, images)
    found = rezoo.predict(run, images, top_k=CLASSES)
    assert sum(answer.unknown for answer in found) == len(images) // 2
    for before, after in zip(plain, found, strict=True):
        assert before.labels == after.labels
        wanted = np.array(before.probabilities) ** (1 / 0.6)
        np.testing.assert_allclose(after.probabilities, wanted / wanted.sum(), rtol=1e-4)
        content = after.to_dict()
        assert content["unknown"] is (content["score"] < found_threshold(run))
    model = rezoo.load(run)
    assert [a.unknown for a in rezoo.predict(model, images)] == [a.unknown for a in found]


def found_threshold(run):
    from rezoo.artifacts.config import read_config

    return read_config(run).calibration.threshold


@pytest.mark.ci
def test_a_model_without_its_class_means_refuses_nothing_and_says_so(network, tmp_path, images):
    model = rezoo.load(calibrated(network, tmp_path / "run", SIMILARITY, images))
    model.rezoo_class_means = None
    with pytest.warns(RunWarning, match="lacks its class means"):
        found = rezoo.predict(model, images)
    assert {answer.unknown for answer in found} == {None}


@pytest.mark.ci
def test_predict_prints_unknown(network, tmp_path, images, call):
    from PIL import Image

    run = calibrated(network, tmp_path / "run", ENERGY, images)
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    files = sorted(tmp_path.glob("*.png"))
    answer = call("predict", run, *files)
    assert answer.rc == 0, answer.err
    said = [line.split()[1:2] == ["unknown"] for line in answer.out.splitlines()]
    assert sum(said) == len(images) // 2
    rows = json.loads(call("predict", run, *files, "--json").out)
    assert sum(row["unknown"] for row in rows) == len(images) // 2


EXPORTS = [
    ("onnx", "none"),
    ("onnx", "float16"),
    *((to, "none") for to in ("keras", "saved_model", "openvino", "litert", "stablehlo")),
]
# Each format with one of the scores, and the first with both.
BOTH = [
    pytest.param(*export, score, marks=pytest.mark.slow if i and i % 2 == odd else ())
    for i, export in enumerate(EXPORTS)
    for odd, score in enumerate((ENERGY, SIMILARITY))
]


@pytest.mark.ci
@pytest.mark.parametrize(("to", "quantize", "score"), BOTH)
def test_an_export_gives_the_probabilities_and_refusals_of_predict(
    network, tmp_path, images, score, to, quantize
):
    if FORMATS[to].missing:
        pytest.skip(f"{to} is not installed")
    run = calibrated(network, tmp_path / "run", score, images)
    done = export(
        run, to, gives="probabilities", quantize=quantize, output=tmp_path / "out", measure=False
    )
    assert done.comparison.proven
    assert done.comparison.refusals.agreement == 1
    assert done.metadata["calibration"]["temperature"] == 0.6
    inputs = rezoo.preprocess(run, images)
    found, margin = open_exported(tmp_path / "out").both(inputs)
    answers = rezoo.predict(run, images, top_k=CLASSES)
    order = [("<script>", "[/red]", "ok").index(a.labels[0]) for a in answers]
    rtol = 1e-2 if quantize == "float16" else 1e-4
    np.testing.assert_array_equal(found.argmax(1), order)
    np.testing.assert_allclose(found.max(1), [a.probabilities[0] for a in answers], rtol=rtol)
    exact = np.array([found_threshold(run) - a.score for a in answers])
    sure = np.abs(exact) > (0.01 if quantize == "float16" else 1e-4)
    assert sure.sum() >= len(images) // 2
    np.testing.assert_array_equal((margin > 0)[sure], [a.unknown for a in np.array(answers)[sure]])


@pytest.mark.ci
def test_the_files_of_onnx_say_it_to_any_reader(network, tmp_path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = calibrated(network, tmp_path / "run", ENERGY, images)
    export(run, "onnx", gives="probabilities", output=tmp_path / "out", measure=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    outputs = session.get_outputs()
    assert [(o.name, len(o.shape)) for o in outputs] == [("probabilities", 2), ("unknown", 1)]
    told = json.loads(session.get_modelmeta().custom_metadata_map["rezoo"])
    assert told["second_output"]["name"] == "unknown"


@pytest.mark.ci
@pytest.mark.parametrize(
    ("to", "quantize"), [("onnx", "int8"), pytest.param("litert", "int8", marks=pytest.mark.slow)]
)
def test_an_int8_export_refuses_the_same_images(trained, tmp_path, to, quantize):
    if FORMATS[to].missing:
        pytest.skip(f"{to} is not installed")
    from rezoo.evaluation.calibrating.calibration import calibrate

    run = shutil.copytree(trained, tmp_path / "run")
    calibrate(run)
    done = export(
        run, to, gives="probabilities", quantize=quantize, output=tmp_path / "out", measure=False
    )  # calibrated with the digits that the run was trained on
    assert done.comparison.refusals.agreement > 0.93


@pytest.mark.ci
def test_exports_of_logits_have_one_output_and_no_temperature(network, tmp_path, images):
    run = calibrated(network, tmp_path / "run", ENERGY, images)
    done = export(run, "onnx", output=tmp_path / "out", measure=False)
    assert "calibration" not in done.metadata
    inputs = rezoo.preprocess(run, images)
    found, margin = open_exported(tmp_path / "out").both(inputs)
    assert margin is None
    np.testing.assert_allclose(found, rezoo.load(network)(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.ci
def test_several_labels_have_a_temperature_alone(network, tmp_path, images):
    from dataclasses import replace

    model = rezoo.load(network)
    found = Calibration(temperature=2.0, temperature_interval=(1.5, 2.5), images=50)
    config = replace(model.rezoo_config, multi_label=True)
    save_model(model, config, tmp_path)
    write_calibration(tmp_path, found)
    logits = np.asarray(model(rezoo.preprocess(network, images)))
    answers = rezoo.predict(tmp_path, images, top_k=1)
    wanted = (1 / (1 + np.exp(-logits / 2.0))).max(1)
    np.testing.assert_allclose([a.probabilities[0] for a in answers], wanted, rtol=1e-5)
    assert answers[0].unknown is None
    done = export(
        tmp_path, "onnx", gives="probabilities", output=tmp_path / "exports" / "x", measure=False
    )
    assert done.comparison.proven
    assert done.comparison.refusals is None


@pytest.mark.ci
def test_unknown_images_are_measured(trained, tmp_path, photographs):
    from rezoo.evaluation.calibrating.calibration import calibrate

    run = shutil.copytree(trained, tmp_path / "run")
    others = photographs({"": 40}, ending=".png")
    before = measure_unknown(run, f"folder:{others}")
    assert {row.score for row in before.separations} == {ENERGY, PROBABILITY}
    assert before.others.refused is None
    assert "no threshold" in before.notes[0]
    calibrate(run)
    found = measure_unknown(run, f"folder:{others}")
    assert found.separations[0].score == found.score
    assert found.others.count == 40
    assert found.known.count == 359
    low, high = found.known.interval
    assert low < found.known.fraction < high
    assert found.known.fraction == pytest.approx(0.05, abs=0.05)
    answers = rezoo.predict(run, [others])
    assert sum(answer.unknown for answer in answers) == found.others.refused
    # an evaluation has the scores of the known images, unless it has averaged views of them
    result, flipped = rezoo.evaluate(run), rezoo.evaluate(run, tta="flip")
    assert set(result.image_scores) == {row.score for row in found.separations}
    assert flipped.image_scores == {}
    for known in (result, flipped):
        unknown = unknown_for(known.setting, f"folder:{others}", DataOptions())
        assert tell_apart(known, unknown) == found
    for row in found.separations:
        assert row.interval[0] <= row.auroc <= row.interval[1]
    content = json.loads(json.dumps(found.to_dict()))
    assert set(content["auroc"]) >= {ENERGY, PROBABILITY}
    assert all("refused" in line for line in found.summary())
    with pytest.warns(DataWarning, match="are in the training set, by their content"):
        measure_unknown(run, "digits")


@pytest.mark.ci
def test_a_multi_label_network_has_no_unknown_images(network, tmp_path, photographs):
    from dataclasses import replace

    model = rezoo.load(network)
    save_model(model, replace(model.rezoo_config, multi_label=True), tmp_path / "m")
    table = tmp_path / "table.csv"
    photographs({"a": 4}, root=tmp_path)
    rows = (("<script>;ok", "train"), ("ok", "val"), ("ok;[/red]", "test"), ("ok", "test"))
    names = [f"a/{i:03}.jpg,{label},{split}" for i, (label, split) in enumerate(rows)]
    table.write_text("\n".join(["path,labels,split", *names]))
    with pytest.raises(IncompatibleError, match="is multi-label: an image may show none"):
        measure_unknown(tmp_path / "m", "digits", f"csv:{table}")
