"""`rezoo calibrate`: the temperature, its interval, and what is refused; the records of a run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

import rezoo
from conftest import fails
from hub_fixtures import TOKEN
from rezoo.artifacts.calibrated import write_calibration
from rezoo.artifacts.config import config_from_json, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds
from rezoo.artifacts.run_files import CALIBRATION
from rezoo.confidence import ENERGY, SIMILARITY, Calibration
from rezoo.data.image_sources import ArraySource
from rezoo.errors import DivergedError, IncompatibleError, IntegrityError, SpecError
from rezoo.evaluation.calibrating.calibration import calibrate
from rezoo.evaluation.calibrating.temperature import fit_temperature, temperature_interval
from rezoo.evaluation.predictions import cross_entropy
from rezoo.evaluation.scoring.reliability import calibration_error
from rezoo.publishing.push import push
from rezoo.utils.lock import locked
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

CALIBRATED = Calibration(
    temperature=1.5,
    temperature_interval=(1.25, 2.0),
    images=100,
    score=SIMILARITY,
    threshold=0.5,
    false_alarms=0.05,
    false_alarms_interval=(0.02, 0.11),
    held_out_auroc={"energy": 0.8, "similarity": 0.9, "probability": 0.7},
)


def drawn(count, classes, temperature, seed=0):
    """Logits whose right temperature is known, and classes drawn with its probabilities."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2 * temperature, (count, classes))
    sums = softmax(logits / temperature, axis=1).cumsum(1)
    return logits, (random.random(count)[:, None] > sums).sum(1).clip(0, classes - 1)


def test_two_classes_have_the_temperature_of_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    logits, truth = drawn(300, 2, 3.0)
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    slope = regression.fit(logits[:, 1:] - logits[:, :1], truth).coef_[0, 0]
    assert fit_temperature(logits, truth) == pytest.approx(1 / slope, rel=1e-4)


def test_several_labels_have_the_temperature_of_logistic_regression_on_all_of_them():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    logits = random.normal(0, 4, (200, 5))
    truth = random.random((200, 5)) < 1 / (1 + np.exp(-logits / 2))
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    slope = regression.fit(logits.reshape(-1, 1), truth.ravel()).coef_[0, 0]
    assert fit_temperature(logits, truth) == pytest.approx(1 / slope, rel=1e-4)


def test_a_case_that_can_be_computed_by_hand():
    """Three of four images right, all with a gap of 5: softmax 3/4 needs 5 / T = log 3."""
    logits = np.tile([5.0, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(5 / np.log(3))


def test_the_temperature_follows_the_scale_of_the_logits():
    logits, truth = drawn(500, 10, 1.0)
    once = fit_temperature(logits, truth)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3 * once, rel=1e-4)
    assert cross_entropy(logits, truth, once).mean() <= cross_entropy(logits, truth).mean()


def test_the_calibration_error_becomes_small():
    logits, truth = drawn(20_000, 10, 1.0)
    wrong = 3 * logits

    def error(temperature):
        sure = softmax(wrong / temperature, axis=1)
        return calibration_error(sure.max(1), sure.argmax(1) == truth)

    assert error(1.0) > 0.1
    assert error(fit_temperature(wrong, truth)) < 0.02


def test_the_loss_of_huge_logits_is_finite():
    logits = np.array([[1e30, -1e30, 0.0]])
    assert cross_entropy(logits, np.array([0])) == pytest.approx([0.0])
    assert np.isfinite(cross_entropy(logits, np.array([[True, False, True]]))).all()


@pytest.mark.ci
def test_the_temperature_is_that_of_torch():
    torch = pytest.importorskip("torch")
    logits, truth = drawn(400, 20, 2.0)
    z, y = torch.tensor(logits), torch.tensor(truth)
    log_t = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / log_t.exp(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(logits, truth) == pytest.approx(log_t.exp().item(), rel=1e-4)


def test_the_interval_has_the_width_that_theory_gives():
    """The standard error of log T is that of the Fisher information, 1 / sqrt(N I)."""
    logits, truth = drawn(2000, 5, 2.0)
    best = fit_temperature(logits, truth)
    low, high = temperature_interval(logits, truth, best)
    z = logits / best
    p = softmax(z, axis=1)
    information = ((p * z**2).sum(1) - (p * z).sum(1) ** 2).mean()
    width = 2 * 1.96 / np.sqrt(len(z) * information)
    assert low < best < high
    assert np.log(high / low) == pytest.approx(width, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 400])
def test_the_interval_has_the_true_temperature_as_often_as_it_says(count):
    inside = []
    for seed in range(1000):
        logits, truth = drawn(count, 5, 2.0, seed)
        low, high = temperature_interval(logits, truth, fit_temperature(logits, truth))
        inside.append(low <= 2.0 <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_a_config_keeps_a_calibration(finished_run):
    content = read_json(finished_run)
    read = config_from_json({**content, "calibration": CALIBRATED.to_json()})
    assert read.calibration == CALIBRATED
    assert read.extra.get("calibration") is None
    bare = replace(CALIBRATED, score="")
    assert set(bare.to_json()) == {"temperature", "temperature_interval", "images"}
    assert Calibration.from_json(bare.to_json()).score == ""


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("temperature", 0, "a number from 0.02 to 50"),
        ("temperature", -1.0, "temperature"),
        ("temperature", "1", "temperature"),
        ("temperature", True, "temperature"),
        ("temperature_interval", [1.0], "2 values"),
        ("temperature_interval", [1.0, 1e9], "2 values"),
        ("images", 0, "an integer from 1"),
        ("images", 1.5, "an integer"),
        ("score", "magic", "energy or similarity"),
        ("score", ["energy"], "energy or similarity"),
        ("threshold", 1e300, "threshold"),
        ("false_alarms", 2, "false_alarms"),
        ("held_out_auroc", {"energy": 7}, "held_out_auroc.energy"),
        ("held_out_auroc", [1], "an object"),
    ],
)
def test_values_of_a_config_that_are_refused(finished_run, key, value, words):
    content = read_json(finished_run)
    with pytest.raises(IncompatibleError, match="calibration") as caught:
        config_from_json({**content, "calibration": {**CALIBRATED.to_json(), key: value}})
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [3, [], {}, {"temperature": 1.0}, "x", False])
def test_a_calibration_that_is_none_is_refused(finished_run, value):
    with pytest.raises(IncompatibleError, match="calibration"):
        config_from_json({**read_json(finished_run), "calibration": value})


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a run that may be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


def written(run):
    """Write a calibration with class means into a run; return the means."""
    means = np.eye(10, 64, dtype=np.float32)
    write_calibration(run, CALIBRATED, means)
    return means


def test_manifest_and_card_have_a_calibration_that_is_written(run):
    written(run)
    assert checksum_holds(read_json(run))
    config = read_config(run)
    assert config.calibration == CALIBRATED
    assert set(config.files) >= {CALIBRATION, "README.md"}
    card = (run / "README.md").read_text()
    assert "temperature 1.500 (95 % interval 1.250 to 2.000, from 100 validation images)" in card
    assert "unknown if its similarity is below 0.5" in card
    assert "not calibrated" not in card
    config.files["README.md"].check(run / "README.md", size=len(card.encode()))


def test_a_threshold_of_the_energy_removes_the_class_means(run):
    written(run)
    write_calibration(run, replace(CALIBRATED, score=ENERGY))
    assert not (run / CALIBRATION).exists()
    assert CALIBRATION not in read_config(run).files
    assert checksum_holds(read_json(run))


def test_a_card_that_was_edited_by_hand_is_kept(run):
    (run / "README.md").write_text("mine")
    written(run)
    assert (run / "README.md").read_text() == "mine"


def test_a_config_that_was_edited_is_not_signed(run):
    content = read_json(run)
    (run / "config.json").write_text(json.dumps({**content, "num_features": 7}))
    with pytest.raises(IntegrityError, match="was changed after its manifest"):
        written(run)
    assert not (run / CALIBRATION).exists()


@pytest.mark.ci
def test_models_that_are_cloned_or_saved_keep_the_calibration(run, tmp_path):
    import keras

    means = written(run)
    model = rezoo.load(run)
    np.testing.assert_array_equal(model.rezoo_class_means, means)
    assert keras.models.clone_model(model).rezoo_config.calibration == CALIBRATED
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.rezoo_config.calibration == CALIBRATED
    assert rezoo.load(run, num_classes=3).rezoo_config.calibration is None


@pytest.mark.ci
@pytest.mark.parametrize("damage", ["other bytes", pytest.param("absent", marks=pytest.mark.slow)])
def test_verify_and_load_see_class_means_that_changed(run, damage):
    written(run)
    if damage == "absent":
        (run / CALIBRATION).unlink()
    else:
        content = bytearray((run / CALIBRATION).read_bytes())
        content[-1] ^= 1
        (run / CALIBRATION).write_bytes(content)
    checks = {check.what: check.holds for check in rezoo.verify(run).checks}
    assert [what for what, holds in checks.items() if holds is False] == [CALIBRATION]
    kind = rezoo.RezooError if damage == "absent" else IntegrityError
    with pytest.raises(kind, match=CALIBRATION):
        rezoo.load(run)


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_repository_keeps_the_calibration(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    means = written(run)
    done = push(run, "me/digits")
    shutil.rmtree(run)
    model = rezoo.load(done.reference)
    assert model.rezoo_config.calibration == CALIBRATED
    np.testing.assert_array_equal(model.rezoo_class_means, means)
    assert rezoo.verify(done.reference).holds
    with pytest.raises(SpecError, match="not in a local folder"):
        calibrate(done.reference)


@pytest.mark.ci
def test_new_weights_remove_the_calibration(run):
    from rezoo.artifacts.weights import save_model

    written(run)
    model = rezoo.load(run)
    save_model(model, replace(model.rezoo_config, calibration=None), run)
    assert not (run / CALIBRATION).exists()
    assert read_config(run).calibration is None


@pytest.mark.ci
def test_a_run_is_calibrated(run, call):
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    answer = call("calibrate", run, "--json")
    assert answer.rc == 0, answer.err
    found = json.loads(answer.out)
    assert found["split"] == "val"
    assert found["images"] == 143
    low, high = found["temperature_interval"]
    assert low < found["temperature"] < high
    assert found["loss_after"] < found["loss_before"]
    assert found["false_alarms"] == pytest.approx(7 / 143)
    assert found["score"] == max(SIMILARITY, ENERGY, key=found["held_out_auroc"].get)
    changed = {
        p.name for p in run.iterdir() if p.is_file() and before.get(p.name) != p.read_bytes()
    }
    assert changed <= {"config.json", "README.md", CALIBRATION}
    again = call("calibrate", run)
    assert "temperature" in again.out
    assert "rezoo eval" in again.err
    told = json.loads(call("info", run, "--json").out)["calibration"]
    assert told == {key: found[key] for key in told}
    shown = call("info", run).out
    assert f"{found['temperature']:.3f} (95 % interval {low:.3f} to {high:.3f}, from 143" in shown
    assert f"unknown           {found['score']} below {found['threshold']:.4g}" in shown
    assert rezoo.verify(run).holds
    result = rezoo.evaluate(run)
    assert result.figures["loss_calibrated"].value < result.figures["loss"].value
    assert {"ece_calibrated", "brier_calibrated"} <= set(result.figures)
    # what predict says about the validation images is what was measured
    data = rezoo.load_dataset("digits").splits["val"]
    assert isinstance(data.source, ArraySource)
    answers = rezoo.predict(run, data.source.images[data.positions])
    assert sum(answer.unknown for answer in answers) == 7
    truth = data.labels()
    sure = [a.probabilities[a.labels.index(str(t))] if str(t) in a.labels else 0.0
            for a, t in zip(answers, truth, strict=True)]  # fmt: skip
    known = np.array(sure) > 0
    assert -np.log(np.array(sure)[known]).sum() / len(truth) <= found["loss_after"] + 1e-4


@pytest.mark.ci
def test_a_run_that_is_trained_anew_is_not_calibrated(run):
    written(run)
    changes = {"epochs": 1, "batch_size": 128, "image_size": 8}
    rezoo.train(NETWORK, "digits", changes=changes, output=run, overwrite=True)
    assert read_config(run).calibration is None
    assert not (run / CALIBRATION).exists()


def test_a_run_in_use_is_refused(run, call):
    with locked(run, what="training"):
        fails(call("calibrate", run), 1, "is in use")


@pytest.mark.parametrize(
    ("arguments", "rc", "words"),
    [
        (["test_resnet"], 2, "no weights"),
        (["RUN", "--false-alarms", "0"], 2, "allowed is above 0, up to 0.5"),
        (["RUN", "--false-alarms", "nan"], 2, "allowed is above 0"),
        (["RUN", "--batch-size", "0"], 2, "x>=1"),
        (["RUN", "--dataset", "no_such"], 2, "unknown dataset 'no_such'"),
        (["./absent"], 3, "no such folder: ./absent"),
    ],
)
def test_wrong_arguments(run, call, arguments, rc, words):
    fails(call("calibrate", *(run if a == "RUN" else a for a in arguments)), rc, words)


def test_a_run_without_recorded_data_needs_a_dataset(run, call):
    shutil.rmtree(run / "checkpoints")
    fails(call("calibrate", run), 2, "does not record its dataset", "name a dataset")


def table(tmp_path, rows):
    """Write photographs of digits as a table with splits; rows are (label, split, count)."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    lines = ["path,label,split"]
    for label, split, count in rows:
        for i in np.flatnonzero(digits.target == label)[:count]:
            pixels = (digits.images[i] * 15.9).astype(np.uint8)
            name = f"{split}-{label}-{i}.png"
            Image.fromarray(pixels).save(tmp_path / name)
            lines.append(f"{name},{label},{split}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return f"csv:{tmp_path / 'table.csv'}"


@pytest.mark.ci
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(i, "val", 1) for i in range(10)], ("too small to calibrate: with its 10 images",)),
        ([(3, "val", 30)], ("have one class",)),
    ],
)
def test_validation_splits_that_are_too_small(run, call, tmp_path, rows, words):
    every = [(i, split, 2) for i in range(10) for split in ("train", "test")]
    dataset = table(tmp_path, [*every, *rows])
    before = (run / "config.json").read_bytes()
    fails(call("calibrate", run, "--dataset", dataset), 2, *words)
    assert (run / "config.json").read_bytes() == before


@pytest.mark.ci
def test_logits_that_are_not_finite_are_refused(run):
    from rezoo.artifacts.safetensors import read_tensors, write_tensors

    values, metadata = read_tensors(run / "model.safetensors")
    values["fc.bias"] = values["fc.bias"] * 0 + np.float32(3e38)
    values["fc.weight"] = values["fc.weight"] * np.float32(1e38)
    write_tensors(run / "model.safetensors", values, metadata=metadata)
    content = {k: v for k, v in read_json(run).items() if k not in ("files", "checksum")}
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(DivergedError, match="not finite"):
        calibrate(run)
