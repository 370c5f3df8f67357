"""Several labels for an image: the table, loss, figures, and a run from drawing to push."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.special import expit
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import rezoo
from conftest import fails
from rezoo.artifacts.config import config_from_json, config_to_json
from rezoo.artifacts.safetensors import read_tensors
from rezoo.data.audit.check import check, check_splits
from rezoo.data.audit.sheet import SheetRequest, draw_sheet
from rezoo.data.cache import in_memory
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.examples import Examples, Splits
from rezoo.data.image_sources import ArraySource, JoinedSource
from rezoo.data.pipeline import train_batches
from rezoo.errors import IncompatibleError, Interrupted, NotFoundError, SpecError
from rezoo.evaluation.predict import likeliest
from rezoo.evaluation.scoring.metrics import measure
from rezoo.evaluation.scoring.multi_label import scores_of, weighted_precision
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig, Preprocessing
from rezoo.tasks import MULTI_LABEL
from rezoo.training.losses import binary_cross_entropy
from rezoo.training.reporters import Reporter

COLOURS = {"blue": (60, 80, 230), "green": (40, 200, 70), "red": (230, 50, 40)}
SMALL = {"image_size": 24, "batch_size": 16, "epochs": 4}
NETWORK = "test_resnet"


def draw(colours, seed):
    """Draw a disc of each colour on noise."""
    random = np.random.default_rng(seed)
    noise = np.clip(random.normal(110, 12, (24, 24, 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(noise)
    for colour in colours:
        x, y = random.integers(5, 19, 2).tolist()
        ImageDraw.Draw(image).ellipse((x - 4, y - 4, x + 4, y + 4), fill=COLOURS[colour])
    return image


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of 160 pictures with none to three discs, and its two tables; three names each."""
    root = tmp_path_factory.mktemp("drawn")
    sets = [c for n in (1, 1, 2, 3, 0) for c in itertools.combinations(COLOURS, n)]
    several, one = ["path,labels"], ["path,label"]
    for i in range(160):
        colours = sets[i % len(sets)]
        draw(colours, i).save(root / f"{i:03d}.png")
        several.append(f"{i:03d}.png,{';'.join(colours)}")
        if len(colours) == 1:
            one.append(f"{i:03d}.png,{colours[0]}")
    (root / "several.csv").write_text("\n".join(several))
    (root / "one.csv").write_text("\n".join(one))
    return root


@pytest.fixture(scope="module")
def several(drawn):
    return f"csv:{drawn / 'several.csv'}"


@pytest.fixture(scope="module")
def run(several, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "several"
    return rezoo.train(NETWORK, several, changes=SMALL, output=folder)


@pytest.fixture
def table(drawn, tmp_path):
    """Write a table of these pictures: `table(*lines)`; returns its reference."""

    def write(*lines):
        (tmp_path / "table.csv").write_text(
            "\n".join([lines[0], *(f"{drawn}/{line}" for line in lines[1:])])
        )
        return f"csv:{tmp_path / 'table.csv'}"

    return write


# the table


def test_cells_are_sets_of_names(table):
    data = load_dataset(
        table(
            "path,labels,split",
            "000.png, red ;blue,train",
            "001.png,red;red;,train",
            "002.png,,train",
            "003.png,a b,val",
            "004.png",
            "005.png,blue,test",
            "./000.png,blue;red;red,train",
        )
    )
    assert data.class_names == ("a b", "blue", "red")
    assert data.splits.multi_label
    labels = data.examples("train").labels()
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert "0.83 on average; 2 of 6 have none" in data.splits.notes[0]
    image, label = data.examples("train").fetch(np.int64(1))
    assert image.dtype == "string"
    assert label.dtype == "float32"
    assert label.numpy().tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["path,label,labels", "000.png,a,b"], SpecError, "a column label and a column labels"),
        (["path,labels", "000.png,", "001.png, ;"], NotFoundError, "no label in any row"),
        (["path,labels", "000.png,a,b"], IncompatibleError, "line 2: 3 values for 2 columns"),
        (
            ["path,labels", "000.png,a", "./000.png,a;b"],
            IncompatibleError,
            "listed above, in line 2, as 'a'",
        ),
        (["path,labels,split", "000.png,a,tset"], SpecError, "line 2: split 'tset'"),
        (["path,Label s", "000.png,a"], SpecError, "has the columns path, label s"),
    ],
)
def test_tables_that_are_wrong(table, lines, error, message):
    with pytest.raises(error, match=message):
        load_dataset(table(*lines))


def test_splits_look_at_names_of_files_alone(several, drawn, tmp_path):
    data = load_dataset(several)
    sizes = {split: len(part) for split, part in data.splits.parts.items()}
    assert sizes == {"train": 130, "val": 14, "test": 16}
    lines = (drawn / "several.csv").read_text().splitlines()
    renamed = [f"{drawn}/{line.split(',')[0]},x" for line in lines[1:]]
    other = drawn / "other.csv"  # other labels, the same files
    other.write_text("\n".join([lines[0], *(f"{r.split('/')[-1]}" for r in renamed)]))
    again = load_dataset(f"csv:{other}")
    for split in sizes:
        ours, theirs = data.examples(split), again.examples(split)
        assert [ours.key(i) for i in range(len(ours))] == [theirs.key(i) for i in range(len(ours))]


def test_labels_survive_selection_joining_and_memory(several):
    data = load_dataset(several)
    train, every = data.examples("train"), data.examples("all")
    assert isinstance(every.source, JoinedSource)
    assert every.labels().shape == (160, 3)
    held, _ = in_memory(train, channels=3, free=10**9)
    for examples in (held, every.select(np.arange(130)), train):
        assert np.array_equal(examples.labels(), train.labels())
        label = examples.fetch(np.int64(7))[1].numpy()
        assert label.dtype == np.float32
        assert np.array_equal(label, train.labels()[7])


def test_a_class_whose_images_are_all_damaged_is_told(table, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    reference = table("path,labels", *(f"{i:03d}.png,a" for i in range(20)))
    with open(tmp_path / "table.csv", "a") as file:
        file.write("\nbad.png,a;b")
    with pytest.warns(UserWarning, match=r"bad\.png"):
        data = load_dataset(reference, DataOptions(bad_limit=0.5))
    assert "class 'b' has no image left" in data.splits.notes


# training


def test_loss_is_that_of_the_formula():
    random = np.random.default_rng(0)
    x = random.normal(0, 4, (5, 3)).astype(np.float32)
    t = random.integers(0, 2, (5, 3)).astype(np.float32)
    p = 1 / (1 + np.exp(-x.astype(np.float64)))
    for smoothing in (0.0, 0.1):
        y = t * (1 - smoothing) + smoothing / 2
        wanted = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
        loss, _ = binary_cross_entropy(x, t, smoothing=smoothing)
        assert float(loss) == pytest.approx(wanted, rel=1e-5)


def test_hits():
    logits = np.array([[2.0, 1, -1], [2, 1, -1], [-2, -1, -3], [-2, 1, -3], [3, 0, 0]], np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0], [0.6, 0.4, 0]], np.float32)
    _, hits = binary_cross_entropy(logits, labels, smoothing=0.0)
    assert int(hits) == 3  # the first, the third that has none and is said to have none, the last
    assert scores_of(logits[:4], labels[:4] == 1).hit1 == 0.5


@pytest.mark.ci
def test_mixing_makes_shares_of_labels(several):
    train = load_dataset(several).examples("train")
    recipe = Recipe(name="t", batch_size=16, epochs=1, cutmix_alpha=1.0)
    size = Preprocessing(input_size=(3, 24, 24))
    plain = Recipe(name="t", batch_size=16, epochs=1)
    (_, labels), (_, mixed) = (
        next(iter(train_batches(train, size, r, classes=3))) for r in (plain, recipe)
    )
    labels, mixed = labels.numpy(), mixed.numpy()
    assert labels.dtype == mixed.dtype == np.float32
    assert set(labels.ravel()) == {0.0, 1.0}
    other = labels[np.arange(16) ^ 1]
    differ = labels != other
    share = (mixed - labels)[differ] / (other - labels)[differ]
    np.testing.assert_allclose(share, share[0], atol=1e-6)
    np.testing.assert_array_equal(mixed[~differ], labels[~differ])


@pytest.mark.ci
def test_a_short_run_learns(run):
    chance = 0.45  # of images with a disc of one colour
    val = run.metrics["val"]
    assert val["map"] > chance + 0.3
    assert val["map_interval"][0] <= val["map"] <= val["map_interval"][1]
    assert run.metrics["multi_label"] is True
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["map", "hit1", "micro_f1", "macro_f1", "exact_match"]
    assert list(rows[0])[1:9] == ["train_loss", "train_hit1", "val_loss"] + [
        f"val_{name}" for name in columns
    ]
    best = max(rows, key=lambda row: (float(row["val_map"]), -float(row["val_loss"])))
    assert run.metrics["best_epoch"] == int(best["epoch"])
    assert val["map"] == pytest.approx(float(best["val_map"]))
    config = json.loads((run.folder / "config.json").read_text())
    assert config["multi_label"] is True
    assert "multi_label" not in config["pretrained_cfg"]  # which timm would not take


class StopAt(Reporter):
    interval_s = 0.0

    def step(self, epoch, step, figures):
        assert {"loss", "hit1", "gradient_norm", "learning_rate", "images_per_s"} <= set(figures)
        assert "top1" not in figures
        if (epoch, step) == (2, 3):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_resume_continues_to_the_same_bits(run, several, tmp_path):
    with pytest.raises(Interrupted):
        rezoo.train(NETWORK, several, changes=SMALL, output=tmp_path, reporter=StopAt())
    rezoo.train(NETWORK, several, changes=SMALL, output=tmp_path, resume=True)
    for name in ("model.safetensors", "reference.safetensors"):
        assert (tmp_path / name).read_bytes() == (run.folder / name).read_bytes()


FROZEN = {"epochs": 1, "batch_size": 16, "backbone_lr_scale": 0.0, "learning_rate": 1e-9}


def head_of(folder):
    return read_tensors(folder / "model.safetensors")[0]["fc.weight"]


@pytest.fixture(scope="module")
def one_label(run, drawn, tmp_path_factory):
    """The run's network with a new head for one label an image, and the notes of that run."""

    class Notes(Reporter):
        def started(self, plan, epoch, step):
            self.notes = "; ".join(plan.notes)

    folder, heard = tmp_path_factory.mktemp("runs") / "one", Notes()
    data = f"csv:{drawn / 'one.csv'}"
    rezoo.train(str(run.folder), data, changes=FROZEN, output=folder, reporter=heard)
    return folder, heard.notes


@pytest.mark.ci
def test_another_kind_of_labels_takes_a_new_head(run, one_label):
    folder, notes = one_label
    assert "new head for 3 classes" in notes
    assert "which is multi-label; the data are single-label" in notes
    assert np.abs(head_of(folder) - head_of(run.folder)).max() > 0.01
    assert "multi_label" not in (folder / "config.json").read_text()


@pytest.mark.slow  # in test_training.py with one label
def test_the_same_classes_keep_the_head(run, several, call, tmp_path):
    options = [word for k, v in FROZEN.items() for word in ("--set", f"{k}={v}")]
    answer = call(
        "train", run.folder, "--dataset", several, *options, "--output", tmp_path / "a", "--json"
    )
    assert json.loads(answer.out)["val"]["map"] > 0.5
    for text in ("head is kept", "top-1 hit", "val mAP"):
        assert text in answer.err
    np.testing.assert_allclose(head_of(tmp_path / "a"), head_of(run.folder), atol=1e-6)


def test_no_label_to_validate_with(table, tmp_path):
    lines = [f"{i:03d}.png,a,train" for i in range(16)]
    lines += ["100.png,,val", "101.png,a,test"]
    reference = table("path,labels,split", *lines)
    with pytest.raises(SpecError, match=r"no validation image of .* has a label"):
        rezoo.train(NETWORK, reference, changes=SMALL, output=tmp_path / "run")


STEPS = """
import sys, numpy as np, keras
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import MULTI_LABEL
from rezoo.training.step import training_step

def steps():
    pixels = keras.Input((8, 8, 1))
    model = keras.Model(pixels, keras.layers.Dense(3, name="fc")(keras.layers.Flatten()(pixels)))
    random = np.random.default_rng(0)
    for v in model.trainable_variables:
        v.assign(random.normal(0, 0.1, v.shape))
    images = random.normal(0, 1, (8, 8, 8, 1)).astype("float32")
    labels = (random.random((8, 3)) < 0.3).astype("float32")
    recipe = Recipe(name="t", label_smoothing=0.1)
    step = training_step(model, recipe, MULTI_LABEL, steps_per_epoch=10)
    loss, hits, *_ = zip(*(step([(images, labels)]).read() for _ in range(3)))
    kernel = keras.ops.convert_to_numpy(model.get_layer("fc").kernel)
    return np.float64(loss), np.int64(hits), kernel
"""


@pytest.mark.ci
def test_steps_of_both_backends_agree(tmp_path):
    path, ours = tmp_path / "jax.npz", {}
    code = f"{STEPS}\nnp.savez({str(path)!r}, *steps())"
    env = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, env=env, check=True, timeout=120)
    exec(STEPS, ours)
    theirs = np.load(path)
    for number, value in enumerate(ours["steps"]()):
        np.testing.assert_allclose(theirs[f"arr_{number}"], value, rtol=1e-5, atol=1e-6)


# figures


def test_average_precision_by_hand():
    """Two classes, four images; scikit-learn's definition, ties are one threshold."""
    logits = np.array([[4.0, 1], [3, 1], [2, -1], [1, -2]])
    truth = np.array([[1, 1], [0, 0], [1, 0], [0, 0]], bool)
    scores = scores_of(logits, truth)
    # first class: 1/2 at precision 1/1, 1/2 at 2/3; second: all at 1/2, the first two are equal
    assert [ap for *_, ap in scores.per_class] == pytest.approx([(1 + 2 / 3) / 2, 0.5])
    assert scores.map == pytest.approx((5 / 6 + 1 / 2) / 2)
    # answers above 0: the first column is all true, of the second the first two
    assert scores.micro_f1 == pytest.approx(2 * 3 / (3 + 6))
    assert scores.macro_f1 == pytest.approx((2 * 2 / (2 + 4) + 2 * 1 / (1 + 2)) / 2)
    assert scores.exact_match == 0.5
    assert scores.hit1 == 0.5


def test_scores_equal_those_of_scikit_learn():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (211, 6)).astype(np.float32)
    truth = random.random((211, 6)) < 0.2
    truth[:, 4] = False  # a class that does not occur
    batches = [
        (logits[i : i + 32], truth[i : i + 32].astype(np.float32)) for i in range(0, 211, 32)
    ]
    seen = []
    scores = measure(MULTI_LABEL, lambda images: images, batches, progress=seen.append)
    assert seen[-1] == scores.count == 211
    occurs, answers = [0, 1, 2, 3, 5], logits > 0
    assert scores.map == pytest.approx(average_precision_score(truth[:, occurs], logits[:, occurs]))
    assert [index for index, *_ in scores.per_class] == occurs
    assert scores.micro_f1 == pytest.approx(f1_score(truth, answers, average="micro"))
    macro = f1_score(truth[:, occurs], answers[:, occurs], average="macro")
    assert scores.macro_f1 == pytest.approx(macro)
    assert scores.exact_match == accuracy_score(truth, answers)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert scores.loss == pytest.approx(-np.log(np.where(truth, p, 1 - p)).mean(), rel=1e-6)


def test_weighted_precision_is_that_of_repeated_images():
    random = np.random.default_rng(2)
    scores, truth = random.integers(0, 9, 40) / 4, random.random(40) < 0.3
    weights = random.integers(0, 4, (5, 40))
    found = weighted_precision(scores, truth, weights.T.astype(np.float32))
    wanted = [
        average_precision_score(np.repeat(truth, times), np.repeat(scores, times))
        for times in weights
    ]
    np.testing.assert_allclose(found, wanted)


def test_bootstrap_interval():
    random = np.random.default_rng(3)
    truth = random.random((300, 4)) < 0.3
    logits = random.normal(0, 1, (300, 4)) + 1.5 * truth
    scores = scores_of(logits, truth)
    low, high = scores.map_interval
    assert (low, high) == scores_of(logits, truth).map_interval
    assert low < scores.map < high
    assert 0.02 < high - low < 0.2
    few = scores_of(logits[:30], truth[:30]).map_interval
    assert few[1] - few[0] > high - low
    for (_, _, ap), (low, high) in zip(scores.per_class, scores.ap_intervals, strict=True):
        assert low < ap < high
    perfect = scores_of(np.where(truth, 1.0, -1.0), truth)
    assert perfect.map == perfect.exact_match == 1
    assert perfect.map_interval == (1, 1)


def test_only_the_classes_of_the_data_are_scored():
    logits = np.array([[9, 1, -1], [9, -1, 1]], np.float32)
    labels = np.array([[0, 1], [1, 0]], np.float32)  # the head's third and second
    scores = measure(MULTI_LABEL, lambda x: x, [(logits, labels)], classes=np.array([2, 1]))
    assert scores.exact_match == scores.map == 1
    assert [index for index, *_ in scores.per_class] == [2, 1]


def test_scores_of_nothing():
    with pytest.raises(NotFoundError, match="no images"):
        measure(MULTI_LABEL, lambda images: images, [])
    with pytest.raises(NotFoundError, match="has a label"):
        scores_of(np.zeros((2, 2)), np.zeros((2, 2), bool))
    with pytest.raises(rezoo.RezooError, match="not finite"):
        scores_of(np.full((2, 2), np.nan), np.ones((2, 2), bool))


def test_answers_are_what_is_above_one_half():
    rows = expit(np.array([[1.0, -1, 3], [-3, -1, -2]]))
    assert [likeliest(row, None, multi_label=True) for row in rows] == [[2, 0], [1]]
    assert [likeliest(row, 2, multi_label=True) for row in rows] == [[2, 0], [1, 2]]
    assert likeliest(np.array([0.5]), None, multi_label=True) == [0]


# the command line


@pytest.mark.ci
def test_eval_predict_verify_and_push(run, drawn, call, tmp_path, monkeypatch):
    answer = call("eval", run.folder, "--json", "--record")
    result = json.loads(answer.out)
    assert (result["multi_label"], result["count"]) == (True, 16)
    assert [c["ap_interval"][0] <= c["ap"] <= c["ap_interval"][1] for c in result["classes"]]
    assert result["map_interval"][0] <= result["map"] <= result["map_interval"][1]
    assert json.loads((run.folder / "metrics.json").read_text())["test"]["map"] == result["map"]
    answer = call("eval", run.folder)
    for word in ("mAP", "micro F1", "macro F1", "exact match", " to "):
        assert word in answer.out
    answer = call("predict", run.folder, drawn / "000.png", drawn / "007.png", "--json")
    for entry in json.loads(answer.out):
        shares = [p["probability"] for p in entry["predictions"]]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 1 or min(shares) > 0.5
    answer = call("predict", run.folder, drawn / "000.png", "--json", "--top-k", 3)
    shares = [p["probability"] for p in json.loads(answer.out)[0]["predictions"]]
    assert len(shares) == 3
    assert abs(sum(shares) - 1) > 1e-3  # each is one's own
    assert call("verify", run.folder).rc == 0
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert call("info", run.folder, "--json").out.count('"multi_label": true') == 1
    card = (run.folder / "README.md").read_text()
    for text in (
        "predicts which of 3 classes an image shows",
        "| test | mAP |",
        "bootstrap",
        "Sigmoid",
    ):
        assert text in card
    assert "top-1" not in card
    assert "Softmax" not in card
    report = (run.folder / "report.html").read_text()
    assert "</b> mAP on test" in report
    assert "Lowest average precision first" in report


@pytest.mark.ci
def test_push_without_sending(run, call, hub):
    answer = call("push", run.folder, "me/shapes", "--dry-run")
    assert answer.rc == 0, answer
    assert "predicts which of 3 classes" in answer.out


@pytest.mark.ci
def test_single_label_is_not_measured_on_multi_label(run, drawn, several, one_label, call):
    one = f"csv:{drawn / 'one.csv'}"
    fails(call("eval", run.folder, "--dataset", one), 6, "is multi-label", "is single-label")
    fails(call("eval", one_label[0], "--dataset", several), 6, "is single-label", "is multi-label")
    both = drawn / "both.csv"
    both.write_text("path,label,labels\n000.png,a,b\n")
    fails(call("train", NETWORK, "--dataset", f"csv:{both}"), 2, "keep one")


def test_the_key_of_the_config():
    config = ModelConfig(architecture=NETWORK, num_classes=2, multi_label=True)
    content = config_to_json(config)
    assert content["multi_label"] is True
    assert config_from_json(content).multi_label
    assert "multi_label" not in config_from_json(content).extra
    del content["multi_label"]
    assert not config_from_json(content).multi_label
    with pytest.raises(IncompatibleError, match="multi_label"):
        config_from_json({**content, "multi_label": "yes"})


# looking at data


def test_data_check(table, drawn, tmp_path):
    (tmp_path / "copy.png").write_bytes((drawn / "000.png").read_bytes())
    (tmp_path / "again.png").write_bytes((drawn / "009.png").read_bytes())
    lines = ["000.png,a;b", "009.png,b;a", *(f"{i:03d}.png,b" for i in range(20, 40)), "050.png,"]
    reference = table("path,labels,split", *(f"{line},train" for line in lines))
    with open(tmp_path / "table.csv", "a") as file:
        file.write("\ncopy.png,b,test\nagain.png,a;b;b,test")
    findings, document = check(reference, output=tmp_path / "out")
    assert [c["test"] for c in findings.classes] == [1, 2]
    assert [c["train"] + c["val"] for c in findings.classes] == [2, 22]
    groups = {g.members[0].key: g.labels for g in findings.duplicates}
    assert groups == {"copy.png": ("a; b", "b"), "again.png": ("a; b",)}
    assert document["problems"]["duplicates with different labels"] == 1
    assert document["problems"]["invalid labels"] == 0
    assert document["written_by"] == "rezoo data check"


def test_data_check_of_labels_that_are_none():
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1), dtype=np.uint8)
    targets = np.array([[0, 1], [2, 0], [0, 0]], np.uint8)
    part = Examples(ArraySource(images, targets, ["x", "y", "z"]))
    splits = Splits(parts={"train": part}, class_names=("a", "b"), multi_label=True)
    findings = check_splits(splits, "three")
    assert [e.key for e in findings.bad_labels] == ["y"]
    assert [c["train"] for c in findings.classes] == [0, 1]


@pytest.mark.ci
def test_data_show(several, drawn, tmp_path):
    path = tmp_path / "sheet.png"
    changes = {"image_size": 24, "mixup_alpha": 0.4, "batch_size": 16}
    request = SheetRequest.of(
        several, changes=changes, classes="red", count=4, draws=1, output=path
    )
    sheet = draw_sheet(request)
    assert path.stat().st_size > 1000
    assert all("red" in example["label"] for example in sheet.shown)
    request = SheetRequest.of(several, split="all", count=160, output=tmp_path / "all.png")
    assert {example["label"] for example in draw_sheet(request).shown} == {
        "(no label)",
        *("; ".join(c) for n in (1, 2, 3) for c in itertools.combinations(COLOURS, n)),
    }
