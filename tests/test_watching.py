"""Watching a run: warnings from figures, planted faults, curves, and events for TensorBoard."""

import csv
import json
import math
import os
import signal
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

import rezoo
from rezoo.errors import DivergedError, Interrupted
from rezoo.evaluation.report.training_curves import curves, run_charts
from rezoo.evaluation.scoring.intervals import wilson_interval
from rezoo.evaluation.scoring.metrics import Scores
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL
from rezoo.training.health import AT_THE_END, WINDOW, Health, at_chance
from rezoo.training.reporters import Reporter, Several, TensorBoard
from rezoo.utils.figures import Chart, Line, draw
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SMALL = {"image_size": 8, "batch_size": 16, "warmup_epochs": 0.0}
LN10 = math.log(10)


def health_of(*, classes=10, steps_per_epoch=100, memory=None, most=0.1, multi=False, **keys):
    recipe = Recipe(name="t", batch_size=32, epochs=10, learning_rate=0.05).to_dict() | keys
    return Health(
        recipe=Recipe.from_dict(recipe, origin="test"),
        classes=classes,
        steps_per_epoch=steps_per_epoch,
        most=most,
        multi_label=multi,
        memory=memory or {},
    )


def feed(health, losses, part=0.1, norm=1.0):
    """Feed a curve; return what was warned of, in the order."""
    parts = np.broadcast_to(part, len(losses))
    norms = np.broadcast_to(norm, len(losses))
    texts, random = [], np.random.default_rng(0)
    for loss, right, gradient in zip(losses, parts, norms, strict=True):
        health.add(float(loss), int(random.binomial(32, right)), float(gradient))
        texts += health.after_steps()
    return texts


def curve(start, end, steps, noise=0.1):
    """Fall exponentially from start to end, with noise."""
    t = np.arange(steps)
    random = np.random.default_rng(1)
    return end + (start - end) * np.exp(-4 * t / steps) + random.normal(0, noise, steps)


def scores(right, count=200, classes=10, most=None):
    each = count // classes
    counts = [most or each] + [(count - (most or each)) // (classes - 1)] * (classes - 1)
    return Scores(
        count=count,
        loss=1.0,
        top1=right / count,
        top5=1.0,
        top1_interval=wilson_interval(right, count),
        top5_interval=(0.9, 1.0),
        per_class=tuple((i, n, 0) for i, n in enumerate(counts)),
        confusions=(),
    )


@dataclass
class SeveralLabels:
    """What `at_chance` wants of `MultiLabelScores`."""

    map: float
    count: int = 100
    per_class: tuple = ((0, 10, 0.0), (1, 30, 0.0))


# no false alarm


@pytest.mark.parametrize(
    ("losses", "part"),
    [
        (curve(2.6, 0.3, 600), np.linspace(0.1, 0.95, 600)),
        (curve(2.35, 2.0, 400, 0.2), np.linspace(0.1, 0.3, 400)),  # slow, noisy
        (np.r_[np.full(150, 2.31), curve(2.3, 1.5, 300)], np.r_[[0.1] * 150, [0.4] * 300]),
        (np.r_[curve(2.4, 0.4, 300), [40.0] * 5, curve(2.0, 0.4, 300)], 0.8),  # one spike
        (curve(0.05, 0.05, 500, 0.01), 0.98),  # nothing left to learn
        (np.zeros(500), 1.0),
    ],
    ids=["falls", "slowly", "plateau", "spike", "fine-tuned", "perfect"],
)
def test_runs_that_learn_are_left_alone(losses, part):
    health = health_of()
    norm = 0.0 if not losses.any() else 1.0
    assert feed(health, losses, part, norm) == []
    assert health.after_epoch(scores(150), number=10, train_hits=0.9) == []
    assert health.memory["given"] == {}


def test_warm_up_is_waited_for():
    health = health_of(warmup_epochs=5.0)
    flat = np.full(500, LN10)
    assert feed(health, flat) == []  # the rate has just reached its peak
    assert feed(health, curve(LN10, 0.5, 300), np.linspace(0.1, 0.9, 300)) == []


def test_large_epochs_are_judged_in_time():
    assert feed(health_of(steps_per_epoch=5000), np.full(999, LN10)) == []
    assert len(feed(health_of(steps_per_epoch=5000), np.full(1001, LN10))) == 1


def test_binary_loss_is_compared_with_where_it_began():
    keys = {"classes": 80, "multi": True, "most": None}
    assert feed(health_of(**keys), curve(0.75, 0.1, 300, 0.01)) == []
    (text,) = feed(health_of(**keys), np.full(300, 0.72))
    assert "guessing gives 0.6931" in text


# alarms


@pytest.mark.parametrize(
    ("losses", "norm", "cause"),
    [
        (np.full(201, 2.31), 1.0, "is probably too small"),
        (np.r_[np.full(150, 2.6), np.full(60, 2.303)], 1.0, "labels may not belong"),
        (np.r_[np.full(50, 1e4), np.full(160, 2.4)], 1.0, "is probably too large"),
        (np.full(201, 2.31), np.geomspace(1, 1e20, 201), "is probably too large"),
    ],
    ids=["small", "labels", "large", "growing"],
)
def test_a_loss_that_does_not_fall(losses, norm, cause):
    health = health_of()
    *_, text = feed(health, losses, norm=norm)
    assert "the loss has not fallen in 200 steps" in text
    assert cause in text
    assert feed(health, losses[-100:]) == []  # once
    assert health.after_epoch(scores(20), number=9, train_hits=0.1) == []  # the same fault


def test_a_short_run_is_judged_at_its_end():
    health = health_of(steps_per_epoch=10)
    assert feed(health, np.full(AT_THE_END + 10, LN10)) == []
    assert health.after_epoch(scores(20), number=9, train_hits=0.1) == []
    assert "not fallen in 60 steps" in health.after_epoch(scores(20), number=10, train_hits=0.1)[0]
    short = health_of(steps_per_epoch=4)
    feed(short, np.full(40, LN10))
    assert short.after_epoch(scores(20), number=10, train_hits=0.1) == []  # too few steps to tell


def test_a_loss_that_comes_apart():
    health = health_of()
    assert feed(health, curve(2.4, 0.4, 300), 0.8) == []
    assert feed(health, np.full(WINDOW - 1, 8.0), 0.1) == []
    (text,) = feed(health, [8.0, 8.0], 0.1)
    assert "the loss is 8 and has been above three times" in text
    assert "clip_norm" in text


def test_validation_at_chance():
    health = health_of()
    feed(health, curve(2.4, 0.4, 350), 0.95)
    assert health.after_epoch(scores(22), number=2, train_hits=0.95) == []  # too early
    (text,) = health.after_epoch(scores(22), number=3, train_hits=0.95)
    assert "11.00% (22 of 200)" in text
    assert "10.00%" in text
    assert "learned by heart" in text
    assert health.after_epoch(scores(22), number=4, train_hits=0.95) == []


def test_validation_that_was_above_chance_once_is_trusted():
    health = health_of()
    health.after_epoch(scores(60), number=1, train_hits=0.4)
    feed(health, curve(2.4, 0.4, 350), 0.95)
    assert health.after_epoch(scores(22), number=4, train_hits=0.95) == []


def test_averaged_weights_are_waited_for():
    health = health_of(ema_decay=0.999)
    feed(health, curve(2.4, 0.4, 1000), 0.95)
    assert health.after_epoch(scores(22), number=9, train_hits=0.95) == []


def test_chance():
    assert at_chance(scores(60)) is None
    assert "90.00%" in at_chance(scores(182, most=180))  # always the same answer
    assert at_chance(scores(195, most=180)) is None
    assert at_chance(scores(3, count=6, classes=2)) == ""  # six images tell nothing
    assert "20.00%" in at_chance(SeveralLabels(0.22))
    assert at_chance(SeveralLabels(0.5)) is None


def test_nothing_is_said_twice_after_a_resumption():
    before = health_of()
    assert feed(before, np.full(150, LN10)) == []
    memory = json.loads(json.dumps(before.memory))
    after = health_of(memory=memory)
    assert len(feed(after, np.full(60, LN10))) == 1
    assert list(memory["given"]) == ["not falling"]
    again = health_of(memory=json.loads(json.dumps(memory)))
    assert feed(again, np.full(200, LN10)) == []


@pytest.mark.parametrize(
    ("norms", "loss", "keys", "cause"),
    [
        ([2.1] * 60 + [3.0, 1e2, 3e5], math.nan, {}, "grew from 2.1 to 3e+05 in the last 20"),
        ([1.0] * 60, math.nan, {}, "an image that is not like the others"),
        ([1.0] * 60, math.nan, {"precision": "mixed_float16"}, "leave float16"),
        ([1.0] * 60, 3.0, {"precision": "mixed_float16"}, "float16 overflows"),
        ([1.0] * 3, math.nan, {}, "learning rate is probably too large"),
        ([], math.nan, {}, "from the first step"),
    ],
)
def test_causes_of_divergence(norms, loss, keys, cause):
    health = health_of(**keys)
    for norm in norms:
        health.add(2.0, 3, norm)
    assert cause in health.cause(loss)


# the first batch


def test_first_batch():
    pixels = np.random.default_rng(0).normal(0, 1, (32, 6, 6, 3)).astype(np.float32)
    labels = np.arange(32, dtype=np.int32) % 4

    def kinds(images=pixels, truth=labels, most=None):
        health = health_of(most=most)
        health.before_training(images, truth)
        return list(health.memory["given"])

    assert kinds() == kinds(pixels[:1], labels[:1]) == []
    assert kinds(pixels * 0) == ["empty input"]
    assert kinds(pixels + np.nan) == ["not finite"]
    assert kinds(pixels * 58 + 116) == kinds(pixels / 255) == ["scale"]
    same = labels * 0
    assert kinds(truth=same) == ["one label"]
    assert kinds(truth=same, most=0.9) == []  # by chance, once in thirty batches
    assert kinds(truth=same, most=0.25) == kinds(truth=same, most=1.0) == ["one label"]
    assert kinds(truth=np.eye(4, dtype=np.float32)[same]) == ["one label"]


def test_whole_grey_levels_are_judged_as_the_input_that_they_become():
    levels = np.random.default_rng(0).integers(0, 256, (32, 6, 6, 3), np.uint8)
    labels = np.arange(32, dtype=np.int32) % 4

    def texts(std):
        health = health_of()
        health.preprocessing = Preprocessing(input_size=(3, 6, 6), mean=(0.5,) * 3, std=(std,) * 3)
        return health.before_training(levels, labels)

    assert texts(0.25) == []
    (text,) = texts(25.0)
    assert "standard deviation 0.0118, not 0 and 1" in text  # 75.4 levels / 255 / 25


def test_only_the_first_batch_is_looked_at():
    health = health_of()
    empty = (np.zeros((4, 2, 2, 1), np.float32), np.arange(4))
    assert len(health.before_training(*empty)) == 1
    assert health.before_training(*empty) == []
    later = health_of()
    later.add(1.0, 1, 1.0)
    assert later.before_training(*empty) == []


# real runs


class Heard(Reporter):
    """Keeps events; may stop the run at a step."""

    interval_s = 0.0

    def __init__(self, stop_at=None):
        self.warnings, self.steps, self.stop_at = [], [], stop_at

    def warning(self, text):
        self.warnings.append(text)

    def step(self, epoch, step, figures):
        self.steps.append((epoch, step, figures))
        if (epoch, step) == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def digits(monkeypatch):
    """Change the digits: `digits(images=…, target=…)` are functions of what is there."""
    bunch = sklearn.datasets.load_digits()

    def change(**functions):
        for name, function in functions.items():
            bunch[name] = function(bunch[name])
        monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: bunch)

    return change


@pytest.mark.ci
def test_a_rate_that_is_too_small(tmp_path):
    heard = Heard()
    changes = {**SMALL, "epochs": 1, "learning_rate": 1e-12}
    run = rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path, reporter=heard)
    (text,) = heard.warnings
    assert "not fallen" in text
    assert "(1e-12) is probably too small" in text
    assert run.metrics["warnings"] == [text]
    assert "probably too small" in (tmp_path / "report.html").read_text()


def test_a_rate_that_is_too_large(tmp_path):
    changes = {**SMALL, "epochs": 2, "learning_rate": 1e4}
    with pytest.raises(DivergedError, match=r"gradient norm grew from .* probably too large"):
        rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path)


@pytest.mark.ci
def test_labels_of_other_images(tmp_path, digits):
    digits(target=np.random.default_rng(1).permutation)
    heard = Heard()
    changes = {**SMALL, "epochs": 2, "learning_rate": 0.02}
    rezoo.train(NETWORK, "digits", changes=changes, output=tmp_path, reporter=heard)
    (text,) = heard.warnings
    assert "no better than answering always" in text or "not fallen" in text
    assert "labels" in text


def test_empty_images(tmp_path, digits):
    digits(images=lambda pixels: pixels * 0)

    class StopError(Exception):
        pass

    class AtOnce(Reporter):
        def warning(self, text):
            raise StopError(text)

    with pytest.raises(StopError, match=r"every pixel of the first batch is the same \(-1\)"):
        rezoo.train(NETWORK, "digits", changes=SMALL, output=tmp_path, reporter=AtOnce())


# curves and events


def read_events(folder):
    """Return `{tag: {step: value}}` as TensorBoard shows it, and the number of purged values."""
    found, purged, starts = {}, 0, 0
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.session_log.status == tf.compat.v1.SessionLog.START:
                starts += 1
                for tag, values in found.items() if starts > 1 else ():
                    found[tag] = {s: v for s, v in values.items() if s < event.step}
                    purged += len(values) - len(found[tag])
            for value in event.summary.value:
                steps = found.setdefault(value.tag, {})
                assert event.step not in steps
                steps[event.step] = value.simple_value
    return found, purged


@pytest.mark.ci
def test_events_curves_and_history_of_a_resumed_run(tmp_path):
    changes = {**SMALL, "batch_size": 128, "epochs": 2}
    keys = {"changes": changes, "output": tmp_path}
    reporter = Several(Heard((1, 4)), TensorBoard(every_s=0.0))
    with pytest.raises(Interrupted):
        rezoo.train(NETWORK, "digits", reporter=reporter, **keys)
    # as if the machine had failed after a few more steps than are in the checkpoint
    (first,) = (tmp_path / "events").iterdir()
    with tf.io.TFRecordWriter(str(first) + ".lost") as writer:
        value = tf.compat.v1.Summary.Value(tag="train/loss", simple_value=9.0)
        summary = tf.compat.v1.Summary(value=[value])
        writer.write(tf.compat.v1.Event(step=15, summary=summary).SerializeToString())
    heard = Heard()
    reporter = Several(heard, TensorBoard(every_s=0.0))
    run = rezoo.train(NETWORK, "digits", resume=True, reporter=reporter, **keys)
    found, purged = read_events(tmp_path / "events")
    assert purged == 1
    assert set(found) == {
        "train/loss", "train/top1", "optimizer/gradient_norm", "optimizer/learning_rate",
        "speed/images_per_s", "speed/input_wait_share", "val/loss", "val/top1", "val/top5",
    }  # fmt: skip
    assert list(found["train/loss"]) == list(range(1, 21))
    assert list(found["val/top1"]) == [10, 20]
    with open(run.folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for epoch, row in enumerate(rows):
        mean = np.mean([found["train/loss"][epoch * 10 + n] for n in range(1, 11)])
        assert mean == pytest.approx(float(row["train_loss"]), rel=1e-4)
        assert found["val/top1"][epoch * 10 + 10] == pytest.approx(float(row["val_top1"]))
        assert float(row["gradient_norm"]) > 0
    assert heard.steps[0][2]["recent_loss"] == pytest.approx(found["train/loss"][15], rel=1e-6)
    assert run.metrics["warnings"] == []
    config = json.loads((run.folder / "config.json").read_text())
    assert "curves.svg" in config["files"]
    assert not any("events" in name for name in config["files"])
    assert f"{NETWORK}, 2 epochs" in (run.folder / "curves.svg").read_text()


def history(epochs):
    return [{"epoch": n, "train_loss": 1 / n, "val_loss": 2 / n} for n in epochs]


def test_curves_take_the_epoch_and_leave_out_what_is_missing():
    rows = [{"epoch": 0, "train_loss": None, "val_loss": 3.0, "gradient_norm": math.nan}]
    rows += history((1, 2, 4))
    loss, *_, norm, _ = run_charts(SINGLE_LABEL, rows)
    assert loss.lines[0].points == ((1, 1), (2, 0.5), (4, 0.25))
    assert loss.lines[1].points[0] == (0, 3.0)
    assert norm.lines[0].points == ()
    read = ET.fromstring(curves("resnet <18> & more", SINGLE_LABEL, rows))
    texts = [text.text for text in read.iter("{http://www.w3.org/2000/svg}text")]
    assert {"resnet <18> & more", "loss", "learning rate", "epoch", "train", "val"} <= set(texts)


@pytest.mark.parametrize("rows", [[], history([1]), history(range(1, 90))])
def test_curves_of_any_length(rows):
    for task in (SINGLE_LABEL, MULTI_LABEL):
        ET.fromstring(curves("any", task, rows))


def test_axes():
    wide = draw(Chart("loss", (Line(((1, 0.5), (2, 3e4))),), may_be_log=True))
    assert ">1e+05<" in wide
    assert ">0.1<" in wide
    part = draw(Chart("top-1", (Line(((1, 0.31), (2, 0.97))),), percent=True))
    assert all(f">{n} %<" in part for n in (0, 20, 40, 60, 80, 100))
    assert "#4472d6" not in draw(Chart("nothing", (Line(()),)))


def test_several_reporters_receive_all_events():
    class Named(Reporter):
        def __init__(self, interval_s):
            self.interval_s = interval_s

        def __getattribute__(self, name):
            if name == "interval_s":
                return object.__getattribute__(self, name)
            heard.append(name)
            return lambda *args, **keys: None

    heard = []
    others = ("interval_s", "loading", "reason_to_end")  # which are not events
    events_of = [n for n in vars(Reporter) if not n.startswith("_") and n not in others]
    both = Several(Named(1.0), Named(0.5))
    assert both.interval_s == 0.5
    for name in events_of:
        arguments = {"built": (1, 2), "epoch": ({},), "started": (None, 0, 0), "step": (0, 0, {})}
        text = () if name == "finished" else ("text",)
        keys = {"best": True} if name == "epoch" else {}
        getattr(both, name)(*arguments.get(name, text), **keys)
    assert heard == [name for name in events_of for _ in range(2)]
