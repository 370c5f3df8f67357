"""Callbacks of Keras in a run, and the line that shows progress in Python."""

from __future__ import annotations

import csv
import io

import keras
import pytest
from keras.callbacks import Callback, CSVLogger, EarlyStopping, LambdaCallback, ReduceLROnPlateau

import rezoo
from rezoo.errors import CallbackError, SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.training.keras_callbacks import KerasCallbacks
from rezoo.training.reporters import Plan, Reporter, Several
from rezoo.utils.live_line import CountedLine, LiveLine, counted
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

SMALL = {"image_size": 8, "batch_size": 512, "epochs": 3, "verbose": 0}  # two steps an epoch


class Recorded(Callback):
    """Keeps the names and arguments of its hooks."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        # as the loggers of W&B and MLflow do
        rate = self.model.optimizer.learning_rate
        self.calls.append(("on_train_begin", float(keras.ops.convert_to_numpy(rate))))
        assert self.model.optimizer.get_config()["momentum"] == 0.9
        self.model.summary(print_fn=lambda line: None)

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("on_epoch_begin", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("on_train_batch_end", batch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("on_epoch_end", epoch, logs))

    def on_train_end(self, logs=None):
        self.calls.append(("on_train_end",))


class Stops(Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


class Start(Reporter):
    def started(self, plan, epoch, step):
        self.at = (epoch, step)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.ci
@pytest.mark.backend
def test_callbacks_of_keras_get_the_figures_of_the_run(tmp_path):
    kept, file = Recorded(), tmp_path / "log.csv"
    callbacks = [kept, CSVLogger(file), EarlyStopping(monitor="val_loss", patience=50)]
    run = rezoo.train(NETWORK, "digits", output=tmp_path / "run", callbacks=callbacks, **SMALL)
    assert kept.params == {"epochs": 3, "steps": 2, "verbose": 0}
    epoch = ["on_epoch_begin", "on_train_batch_end", "on_train_batch_end", "on_epoch_end"]
    assert [call[0] for call in kept.calls] == ["on_train_begin", *epoch * 3, "on_train_end"]
    assert kept.calls[0][1] >= 0
    assert [call[1] for call in kept.calls[1:5]] == [0, 0, 1, 0]
    with open(run.folder / "history.csv", newline="") as stream:
        history = [*csv.DictReader(stream)]
    with open(file, newline="") as stream:
        logged = [*csv.DictReader(stream)]
    names = {
        "loss": "train_loss",
        "accuracy": "train_top1",
        "val_loss": "val_loss",
        "val_accuracy": "val_top1",
        "learning_rate": "learning_rate",
    }
    for number, (ours, theirs) in enumerate(zip(history, logged, strict=True)):
        assert float(theirs["epoch"]) == number
        for name, column in names.items():
            assert float(theirs[name]) == pytest.approx(float(ours[column])), name
    in_epoch = kept.calls[3][2]  # of the last batch: the means of the epoch
    assert in_epoch["loss"] == pytest.approx(float(history[0]["train_loss"]))
    assert {"accuracy", "learning_rate", "gradient_norm"} <= in_epoch.keys()


@pytest.mark.ci
def test_a_callback_that_stops_or_fails_keeps_the_state(tmp_path):
    folder = tmp_path / "run"
    run = rezoo.train(NETWORK, "digits", output=folder, callbacks=[Stops()], **SMALL)
    assert run.metrics["epochs"] == 1

    def fail(batch, logs):
        raise KeyError("project")

    broken = LambdaCallback(on_train_batch_end=fail)
    with pytest.raises(
        CallbackError, match="LambdaCallback failed in on_train_batch_end"
    ) as caught:
        rezoo.train(resume=folder, callbacks=[broken, last := Recorded()], verbose=0)
    assert "LambdaCallback" in caught.value.message
    assert "KeyError: 'project'" in caught.value.message
    assert "The last checkpoint is kept." in caught.value.hint
    assert last.calls[-1] == ("on_train_end",)
    assert rezoo.train(resume=folder, reporter=(start := Start())).metrics["epochs"] == 3
    assert start.at == (1, 1)


@pytest.mark.parametrize(
    ("callback", "message", "hint"),
    [
        (CSVLogger, "CSVLogger is not a keras", "pass an object: CSVLogger(…)"),
        (print, "builtin_function_or_method is not", "pass objects"),
        (ReduceLROnPlateau(), "would set the learning rate", "schedule"),
    ],
)
def test_what_cannot_be_called_back_is_refused_at_once(callback, message, hint, tmp_path):
    with pytest.raises(SpecError, match=message) as caught:
        rezoo.train(NETWORK, "digits", output=tmp_path / "run", callbacks=[callback])
    assert hint in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_linear_probe_is_one_epoch():
    kept = Recorded()
    reporter = Several(Reporter(), KerasCallbacks([kept]))
    recipe = Recipe(name="t", epochs=0, head_start="probe")
    plan = Plan(
        model="m", dataset="d", recipe=recipe, recipe_reason="", folder="", steps_per_epoch=1,
        sizes={}, classes=(), class_counts={}, notes=(),
    )  # fmt: skip
    network = keras.Sequential([keras.Input((1,))])
    reporter.built(network, keras.optimizers.SGD(momentum=0.9))
    reporter.started(plan, 0, 0)
    reporter.epoch(
        {"epoch": 0, "train_loss": 1.0, "val_top1": 0.5, "gradient_norm": None}, best=True
    )
    assert kept.calls[1:] == [
        ("on_epoch_begin", 0), ("on_epoch_end", 0, {"loss": 1.0, "val_accuracy": 0.5})
    ]  # fmt: skip
    assert reporter.reason_to_end() == ""
    network.stop_training = True
    assert "stop_training" in reporter.reason_to_end()


def test_batches_are_reported_only_to_callbacks_that_ask_for_them():
    assert KerasCallbacks([EarlyStopping()]).interval_s == Reporter.interval_s
    for callback in (Recorded(), LambdaCallback(on_train_batch_end=print)):
        assert KerasCallbacks([EarlyStopping(), callback]).interval_s == 0


# progress in Python


def test_a_line_leaves_out_whole_figures_that_do_not_fit(monkeypatch):
    stream = io.StringIO()
    line = LiveLine(stream, live=True)
    monkeypatch.setenv("COLUMNS", "20")
    line.show("epoch 1/2", "loss 0.1234", "5 s left")
    assert stream.getvalue() == "\repoch 1/2  5 s left"
    line.show("epoch 2/2")
    line.print("note")
    assert stream.getvalue().endswith(f"\repoch 2/2{' ' * 10}\r{' ' * 9}\rnote\n")


def test_progress_is_shown_on_a_terminal_alone_and_can_be_switched_off(monkeypatch, capsys):
    assert counted(print, "measuring") is print
    for off in (None, False):
        counted(off, "measuring")(1, 2)
    counted(True, "measuring")(1, 2)  # stderr is no terminal here
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    shown = CountedLine("measuring")
    shown(0, 1000)
    shown(1000, 1000)
    text = terminal.getvalue()
    assert text == f"\rmeasuring 0 of 1,000  0 s left\r{' ' * 30}\r"
