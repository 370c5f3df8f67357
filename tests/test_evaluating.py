"""`rezoo eval` and `rezoo.evaluate` from data to figures, files and the run folder."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score

import rezoo
from conftest import encoded, fails, picture
from rezoo.artifacts import manifest
from rezoo.artifacts.run_files import PREDICTIONS
from rezoo.cli.console import escaped
from rezoo.data.corners import five_crops
from rezoo.data.transforms import test_levels as levels_of
from rezoo.errors import DivergedError, IncompatibleError, NotFoundError, SpecError
from rezoo.evaluation.averaging import averaged
from rezoo.evaluation.prediction_table import harmless, write_csv
from rezoo.evaluation.predictions import Predictions
from rezoo.evaluation.recording import record_evaluation
from rezoo.specs import Preprocessing
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL
from rezoo.utils.files import write_json

HOSTILE = (
    "<script>alert(1)</script>",
    "[/red]",
    "\N{FOX FACE}\N{ZERO WIDTH JOINER}",
    "x" * 300,
    "\N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}ab",
    "=cmd()",
    '"quoted", with a comma',
    "-1",
    "two\nlines",
    "&amp;",
)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def digits():
    """Eight images of each digit, as `evaluate` takes them, with labels."""
    found = load_digits()
    rows = np.concatenate([np.flatnonzero(found.target == digit)[:8] for digit in range(10)])
    images = (found.images[rows] * 255 / 16).astype(np.uint8)
    return images, found.target[rows]


# the command


@pytest.mark.ci
def test_json_csv_and_npz_agree(call, trained, tmp_path):
    before = contents(trained)
    files = ("--csv", tmp_path / "a.csv", "--predictions", tmp_path / "a.npz")
    answer = call("eval", trained, "--json", *files)
    assert answer.rc == 0, answer
    assert contents(trained) == before
    result, found = json.loads(answer.out), Predictions.read(tmp_path / "a.npz")
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth, answers = ([row[c] for row in rows] for c in ("truth", "prediction"))
    assert [row["key"] for row in rows] == list(found.keys)
    assert [found.labels[i] for i in found.truth] == truth
    assert [found.labels[i] for i in found.top[:, 0]] == answers
    probabilities = softmax(found.logits.astype(np.float64), axis=1)
    for rank in range(5):
        column = [float(row[f"probability_{rank + 1}"]) for row in rows]
        wanted = probabilities[np.arange(len(found)), found.top[:, rank]]
        np.testing.assert_allclose(column, wanted, atol=1e-6)
    assert result["count"] == len(rows) == len(found) == 359
    assert result["top1"] == pytest.approx(accuracy_score(truth, answers))
    macro = f1_score(truth, answers, average="macro", labels=np.unique(truth))
    assert result["macro_f1"] == pytest.approx(macro)
    assert result["loss"] == pytest.approx(np.mean([float(row["loss"]) for row in rows]), abs=1e-5)
    cells = {(t, p): n for t, p, n in result["confusion"]}
    assert sum(cells.values()) == 359
    labels = result["labels"]
    for (t, p), n in cells.items():
        assert n == sum(pair == (labels[t], labels[p]) for pair in zip(truth, answers, strict=True))
    assert sum(result["reliability"]["count"]) == 359
    for entry in result["classes"]:
        assert entry["right"] == cells.get((entry["index"], entry["index"]), 0)
    fails(call("eval", trained, *files), 2, "a.csv exists", "--overwrite")
    assert call("eval", trained, *files, "--overwrite").rc == 0


def test_files_that_cannot_be_written_are_named_at_once(call, trained, tmp_path):
    fails(call("eval", trained, "--csv", tmp_path), 2, "is a folder")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").write_bytes(b"")
    inside = tmp_path / "photos" / "p.csv"
    fails(
        call("eval", trained, "--dataset", f"folder:{tmp_path}/photos", "--csv", inside),
        2,
        "is inside the dataset",
    )
    fails(call("eval", trained, "--tta", "five"), 2, "'five'", "ten-crop")


@pytest.mark.ci
def test_the_table_has_every_figure_with_its_interval(call, trained):
    answer = call("eval", trained, "--classes")
    for name in ("loss", "top-1", "top-5", "mean class accuracy", "macro F1", "ECE", "Brier score"):
        assert re.search(rf"{name} +[\d.]+%? +[\d.]+%? to [\d.]+", answer.out), name
    for title in ("359 images", "precision", "most often taken for"):
        assert title in answer.out


@pytest.mark.ci
def test_only_record_changes_a_run(call, finished_run, trained, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = contents(run)
    rezoo.evaluate(run)
    assert contents(run) == before
    answer = call("eval", run, "--record", "--json")
    assert answer.rc == 0, answer
    result = json.loads(answer.out)
    kept = json.loads((run / "metrics.json").read_text())["test"]
    for key in ("top1", "macro_f1", "macro_f1_interval", "ece", "brier", "loss_interval"):
        assert kept[key] == result[key]
    assert f"| test | top-1 | {result['top1']:.2%} |" in (run / "README.md").read_text()
    found = Predictions.read(run / PREDICTIONS["test"])
    assert (len(found), found.facts["split"]) == (359, "test")
    assert call("verify", run).rc == 0
    answer = call("eval", run, "--record", "--split", "val", "--corruptions", "jpeg", "--json")
    assert answer.rc == 0, answer
    assert len(Predictions.read(run / PREDICTIONS["val"])) == 143
    of_val = json.loads(answer.out)["corruptions"]
    recorded = json.loads((run / "metrics.json").read_text())
    assert recorded["test"] == kept
    corruptions = recorded["corruptions"]
    assert corruptions == {key: of_val.get(key) for key in corruptions} | {
        "weights_sha256": kept["weights_sha256"]
    }
    assert not {"model", "dataset"} & set(corruptions)  # they may be paths
    page = (run / "report.html").read_text()
    assert "On the val split with each image corrupted, 143 images: top-1 at severities" in page
    assert "rezoo eval . --dataset digits --split val" in page
    assert call("verify", run).rc == 0
    assert not {*PREDICTIONS.values()} & {*json.loads((run / "config.json").read_text())["files"]}
    answer = call("eval", run, "--record", "--tta", "flip")
    assert answer.rc == 2
    assert "not as the weights require" in answer.err
    answer = call("push", run, "me/digits", "--dry-run", "--json")
    assert "predictions" not in answer.out
    with pytest.raises(SpecError, match="not a run on this machine"):
        record_evaluation(rezoo.evaluate(rezoo.load(run), "digits"))


# names


@pytest.fixture(scope="module")
def hostile(finished_run, tmp_path_factory):
    """A run and its data with hostile names of classes and files."""
    root = tmp_path_factory.mktemp("hostile")
    run = shutil.copytree(finished_run, root / "run")
    config = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", {**config, "label_names": list(HOSTILE)})
    manifest.write_manifest(run)
    lines = [["path", "label", "split"]]
    for place, name in enumerate(HOSTILE):
        file = root / f'it\'s "{place}",\na file;=1.png'
        file.write_bytes(encoded(picture(place, (8, 8), grey=True), "PNG"))
        lines.append([file.name, name, "test"])
    with open(root / "data.csv", "w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows(lines)
    return run, f"csv:{root / 'data.csv'}"


@pytest.mark.ci
def test_hostile_names_stay_right_in_table_csv_and_json(call, hostile, tmp_path):
    run, data = hostile
    files = ("--csv", tmp_path / "a.csv", "--predictions", tmp_path / "a.npz")
    answer = call("eval", run, "--dataset", data, "--json", *files)
    assert answer.rc == 0, answer
    result = json.loads(answer.out)
    assert result["labels"] == list(HOSTILE)
    assert {c["name"] for c in result["classes"]} == set(HOSTILE)
    found = Predictions.read(tmp_path / "a.npz")
    assert found.labels == HOSTILE
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["truth"] for row in rows} == {harmless(name) for name in HOSTILE}
    assert tuple(row["key"] for row in rows) == found.keys
    assert all("\n" in row["key"] for row in rows)
    answer = call("eval", run, "--dataset", data, "--classes")
    assert answer.rc == 0
    for name in ("<script>alert(1)</script>", "[/red]", "=cmd()", "&amp;"):
        assert name in answer.out
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in answer.out
    page = rezoo.evaluate(run, data)._repr_html_()
    assert "<script" not in page


def test_only_formulas_get_an_apostrophe():
    for name in ("=1+1", "@SUM(A1)", "+cmd", "-x", "\t=1"):
        assert harmless(name) == f"'{name}"
    for name in ("-1", "+1.5", "a=1", "", "1-2", "-inf"):
        assert harmless(name) == name


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    found = predictions(["a\udcff.png"])
    write_csv(found, tmp_path / "a.csv")
    assert b"a\xff.png" in (tmp_path / "a.csv").read_bytes()


def predictions(keys):
    count = len(keys)
    return Predictions(
        truth=np.zeros(count, np.int32),
        logits=np.zeros((count, 2), np.float16),
        top=np.tile(np.arange(2, dtype=np.int32), (count, 1)),
        losses=np.zeros(count, np.float32),
        classes=np.arange(2, dtype=np.int32),
        keys=tuple(keys),
        labels=("a", "b"),
    )


def test_several_labels_as_csv(tmp_path):
    found = dataclasses.replace(
        predictions(["one", "two"]),
        truth=np.array([[True, True], [False, False]]),
        logits=np.array([[3, -3], [-1, -2]], np.float32),
        classes=np.array([1, 0], np.int32),
        top=np.array([[1, 0], [1, 0]], np.int32),
    )
    write_csv(found, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        one, two = csv.DictReader(file)
    assert (one["truth"], one["prediction"], one["class_1"]) == ("b;a", "b", "b")
    assert (two["truth"], two["prediction"]) == ("", "")
    assert float(one["probability_1"]) == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)


# Python


@pytest.mark.ci
def test_arrays_are_measured_as_predict_classifies_them(trained, digits):
    images, labels = digits
    model = rezoo.load(trained)
    result = rezoo.evaluate(model, (images, labels))
    answers = [p.labels[0] for p in rezoo.predict(model, images[..., None])]
    given = [result.predictions.labels[i] for i in result.predictions.top[:, 0]]
    assert given == answers
    assert (result.dataset, result.split, result.scores.count) == ("arrays", "test", 80)
    assert result.figures["top1"].value == accuracy_score(labels.astype(str), answers)
    assert result.confusion.sum(1).tolist() == [8] * 10
    named = rezoo.evaluate(model, (images[..., None], labels.astype(str)))
    assert named.scores == result.scores
    coloured = rezoo.evaluate(model, (np.repeat(images[..., None], 3, -1), labels))
    assert coloured.figures["top1"].value == pytest.approx(result.figures["top1"].value, abs=0.05)
    with pytest.raises(NotFoundError, match="no split 'val'"):
        rezoo.evaluate(model, (images, labels), split="val")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y: (x / 255, y), SpecError, "float64; images are uint8"),
        (lambda x, y: (x[0], y), SpecError, r"the images have the shape \(8, 8\)"),
        (lambda x, y: (x, y[:3]), SpecError, "80 images and 3 labels"),
        (lambda x, y: (x, y, y), SpecError, r"3 arrays; allowed are two"),
        (lambda x, y: (x, y + 5), IncompatibleError, "has the label 10; a label is an integer"),
        (lambda x, y: (x, y / 1), IncompatibleError, "a label is an integer from 0 to 9"),
        (lambda x, y: (x, ["ten"] * 80), SpecError, "'ten' is no class of the network"),
    ],
)
def test_arrays_of_another_kind_are_refused(trained, digits, change, error, message):
    with pytest.raises(error, match=message):
        rezoo.evaluate(trained, change(*digits))


@pytest.mark.ci
def test_a_result_in_a_notebook(trained, digits):
    from matplotlib.figure import Figure

    images, labels = digits
    result = rezoo.evaluate(trained, (images[labels > 2], labels[labels > 2]))
    page = result._repr_html_()
    for text in ("macro F1", " to ", "56 images", "3 classes have no image"):
        assert text in html.unescape(page)
    figure = result.plot_confusion()
    assert isinstance(figure, Figure)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"truth", "prediction", "3", "9"} <= texts
    assert "top-1" in repr(result)


def test_a_large_confusion_matrix_shows_the_most_confused_classes(trained, digits):
    result = rezoo.evaluate(trained, digits)
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(100, dtype=np.int32), 5)
    answers = truth.copy()
    answers[::5] = (truth[::5] + 1) % 30 + 10 * (truth[::5] > 30)
    found = dataclasses.replace(
        result.predictions,
        truth=truth,
        logits=random.normal(0, 1, (500, 100)).astype(np.float16),
        top=np.stack([answers, (answers + 1) % 100], 1).astype(np.int32),
        losses=np.zeros(500, np.float32),
        classes=np.arange(100, dtype=np.int32),
        labels=tuple(f"class {i}" for i in range(100)),
    )
    large = dataclasses.replace(result, predictions=found)
    assert len(large._drawn_classes()) == 25
    assert max(len(axes.texts) for axes in large.plot_confusion().axes) >= 2 * 25


def test_logits_that_are_not_finite_are_refused(trained, digits):
    model = rezoo.load(trained)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(DivergedError, match="logits are not finite"):
        rezoo.evaluate(model, digits)


# several views


def test_the_mean_of_views_is_that_of_probabilities():
    random = np.random.default_rng(0)
    weights = random.normal(0, 1, (12, 3))

    def forward(images):
        return np.asarray(images, np.float64).reshape(len(images), -1) @ weights

    images = random.normal(0, 1, (5, 2, 3, 2))
    mirrored = images[:, :, ::-1]
    for task, of in (
        (SINGLE_LABEL, lambda x: softmax(x, axis=1)),
        (MULTI_LABEL, lambda x: 1 / (1 + np.exp(-x))),
    ):
        wanted = (of(forward(images)) + of(forward(mirrored))) / 2
        np.testing.assert_allclose(of(averaged(forward, task, "flip")(images)), wanted, rtol=1e-5)
        y, x = np.ix_([1, 0, 1, 0], [1, 0, 1, 2, 1])  # a border that is the image's reflection
        larger = images[:, y, x]
        shifts = [larger[:, i : i + 2, i : i + 3] for i in range(3)]
        wanted = np.mean([of(forward(v)) for s in shifts for v in (s, s[:, :, ::-1])], axis=0)
        np.testing.assert_allclose(of(averaged(forward, task, "shift")(images)), wanted, rtol=1e-5)
        crops = random.normal(0, 1, (5, 5, 2, 3, 2))
        views = [view for i in range(5) for view in (crops[:, i], crops[:, i, :, ::-1])]
        wanted = np.mean([of(forward(view)) for view in views], axis=0)
        found = of(averaged(forward, task, "ten-crop")(crops))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    far = averaged(lambda x: np.array([[1e4, -1e4]]), SINGLE_LABEL, "flip")(images)
    assert np.isfinite(far).all()


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64)])
def test_five_crops_are_those_of_pillow(size):
    preprocessing = Preprocessing(input_size=(3, 32, 32), crop_pct=0.8, interpolation="bilinear")
    image = picture(1, size)
    found = levels_of(preprocessing, encoded=False, crop=five_crops)(np.asarray(image)).numpy()
    scale = 40 / min(size)
    width, height = (int(side * scale + 1e-9) for side in size)
    whole = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    right, bottom = width - 32, height - 32
    middle = (round(bottom / 2), round(right / 2))
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), middle]
    wanted = np.stack([whole[y : y + 32, x : x + 32] for y, x in places])
    difference = np.abs(found.astype(int) - wanted)
    assert (found.shape, found.dtype) == ((5, 32, 32, 3), np.uint8)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    centre = levels_of(preprocessing, encoded=False)(np.asarray(image)).numpy()
    np.testing.assert_array_equal(found[4], centre)


@pytest.mark.ci
@pytest.mark.parametrize("tta", ["flip", "ten-crop"])
def test_views_are_averaged_over_a_dataset(trained, digits, tta):
    images, labels = digits
    result = rezoo.evaluate(trained, (images, labels), tta=tta, batch_size=7)
    if tta == "flip":
        both = [rezoo.evaluate(trained, (x, labels)) for x in (images, images[..., ::-1])]
        wanted = np.mean([one.predictions.probabilities for one in both], axis=0)
        np.testing.assert_allclose(result.predictions.probabilities, wanted, atol=3e-3)
    assert "mean" in result.preprocessing
    again = rezoo.evaluate(trained, (images, labels), tta=tta, batch_size=80)
    np.testing.assert_allclose(again.predictions.logits, result.predictions.logits, atol=5e-3)


def test_an_unknown_view_is_refused(trained, digits):
    with pytest.raises(SpecError, match="'five'; allowed are 'flip', 'shift', 'ten-crop'"):
        rezoo.evaluate(trained, digits, tta="five")


def test_escaped_names_are_not_markup():
    assert escaped("[/red]").plain == "[/red]"
