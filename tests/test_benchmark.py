"""`rezoo benchmark`: figures, targets, options and errors."""

from __future__ import annotations

import io
import json
import sys
import types

import numpy as np
import pytest

from conftest import fails
from rezoo.benchmarking import benchmark, worker
from rezoo.benchmarking.results import Benchmark, Measured, Spread, inference
from rezoo.benchmarking.targets import Options, find_target, find_targets
from rezoo.errors import (
    IncompatibleError,
    MissingExtraError,
    NotFoundError,
    ResourceError,
    RezooError,
    SpecError,
    UnknownNameError,
)
from rezoo.utils import device
from rezoo.utils.device import usable_threads

PEAK = Spread(p50=1e12, p5=9e11, p95=1.1e12, count=3)
FACTS = {
    "target": "net",
    "kind": "architecture",
    "precision": "float32",
    "input_shape": [32, 32, 3],
    "macs": 10**9,
}
ROUNDS = {
    "inference 1": [[0.010, 0.020], [0.030, 0.020]],
    "inference 4": [[0.02], [0.02]],
    "train": [[0.1], [0.2]],
}


@pytest.fixture(scope="module")
def found():
    """Return the result for one target; processes take seconds to start."""
    return benchmark.benchmark(
        "resnet20", batch_sizes=(1, 4), rounds=2, round_s=0.05, train=True
    ).to_dict()


@pytest.mark.ci
def test_what_is_measured(found):
    (row,) = found["targets"]
    assert (row["target"], row["kind"], row["input_shape"]) == (
        "resnet20",
        "architecture",
        (32, 32, 3),
    )
    assert (row["params"], row["macs"], row["flops"]) == (269_722, 40_551_040, 81_102_080)
    assert (row["statistics"], row["activations"]) == (1_376, 188_426)
    assert [speed["batch_size"] for speed in row["speeds"]] == [1, 4]
    assert row["training"]["batch_size"] == 4
    assert row["latency_ms"]["count"] >= 2
    for figure in (row["latency_ms"], *(s["images_per_s"] for s in row["speeds"])):
        assert 0 < figure["p5"] <= figure["p50"] <= figure["p95"]
    assert row["speeds"][0]["images_per_s"]["count"] == 2
    assert 0 < row["before_bytes"] < row["peak_bytes"] <= row["train_peak_bytes"]
    assert (found["rounds"], found["threads"]) == (2, usable_threads())
    json.dumps(found, allow_nan=False)


@pytest.mark.ci
def test_rates_relative_to_the_peak(found):
    peak = found["peak_flops_per_s"]["p50"]
    (row,) = found["targets"]
    for speed, passes in [*((s, 1) for s in row["speeds"]), (row["training"], 3)]:
        wanted = passes * row["flops"] * speed["images_per_s"]["p50"]
        assert speed["flops_per_s"] == pytest.approx(wanted)
        assert speed["of_peak"] == pytest.approx(wanted / peak)
    assert found["convention"] == "1 MAC is one multiply-add and 2 FLOPs"


def test_table(capsys):
    from rezoo.cli.benchmark import show

    targets = tuple(
        Measured.of({**FACTS, "peak_bytes": n}, ROUNDS, PEAK, (1, 4)) for n in (None, 10**9)
    )
    show(
        Benchmark(
            targets=targets,
            device="a processor",
            backend="tensorflow 2",
            threads=2,
            rounds=2,
            precision="float32",
            peak_flops_per_s=PEAK,
        )
    )
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "latency 1 20.0 ms",
        "inference 4 200/s",
        "40%",
        "1.0 GB",
        "two FLOPs",
        "peak 1 TF",
    ):
        assert words in text


def test_figures():
    row = Measured.of(FACTS, ROUNDS, PEAK, (4,))
    assert row.latency_ms.p50 == pytest.approx(20)
    assert row.latency_ms.count == 4
    (speed,) = row.speeds
    assert speed.images_per_s.p50 == pytest.approx(200)
    assert speed.of_peak == pytest.approx(0.4)
    assert row.training.images_per_s.p50 == pytest.approx(30)
    assert row.training.of_peak == pytest.approx(3 * 2 * 30 / 1000)
    unknown = Measured.of({**FACTS, "macs": None}, {"inference 4": [[0.02]]}, PEAK, (1, 4))
    assert unknown.latency_ms is None
    assert unknown.speeds[0].of_peak is None
    assert unknown.flops is None


def test_spread():
    values = list(range(101))
    assert Spread.of(values) == Spread(p50=50, p5=5, p95=95, count=101)
    assert Spread.of([3.0]) == Spread(p50=3, p5=3, p95=3, count=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": ()}, "batch_sizes"),
        ({"batch_sizes": (0,)}, "each is 1 to 65536"),
        ({"batch_sizes": (4, 4)}, "measured once"),
        ({"rounds": 0}, "rounds: 0; allowed is 1 to 1000"),
        ({"threads": 100_000}, "threads: 100000"),
        ({"precision": "int8"}, "precision: 'int8'; allowed are float32"),
        ({"device": "tpu"}, "device: 'tpu'"),
        ({"round_s": 0}, "round_s: 0"),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        Options(**options)


def test_targets(trained, tmp_path):
    assert find_target("resnet50").input_shape(Options()) == (224, 224, 3)
    assert find_target("resnet50").input_shape(Options(image_size=96)) == (96, 96, 3)
    run = find_target(str(trained))
    assert (run.kind, run.input_shape(Options())) == ("weights", (8, 8, 1))
    for name in ("model.onnx", "rezoo.json"):
        (tmp_path / name).touch()
    for path in (tmp_path, tmp_path / "model.onnx"):
        exported = find_target(str(path))
        assert (exported.kind, exported.input_shape(Options())) == ("exported", None)
    with pytest.raises(UnknownNameError, match="unknown model 'resnet51'") as caught:
        find_target("resnet51")
    assert "resnet50" in caught.value.hint
    with pytest.raises(NotFoundError, match="no such folder"):
        find_target("./nosuch")
    with pytest.raises(SpecError, match="resnet18 is named twice"):
        find_targets(["resnet18", "resnet18"])


@pytest.mark.parametrize(
    ("args", "rc", "message"),
    [
        ([], 2, "Missing argument 'TARGET...'"),
        (["resnet51"], 2, "unknown model 'resnet51'"),
        (["./nosuch.onnx"], 3, "no such folder: ./nosuch.onnx"),
        (["resnet18", "--batch-sizes", "1,x"], 2, "write whole numbers, as in 1,16"),
        (["resnet18", "--batch-sizes", "0"], 2, "each is 1 to 65536"),
        (["resnet18", "--rounds", "0"], 2, "rounds: 0"),
        (["resnet18", "resnet18"], 2, "named twice"),
        (["resnet18", "--device", "tpu"], 2, "write cpu, gpu or gpu:0"),
        (["resnet18", "--image-size", "0"], 2, "sides are 1 to 8192"),
    ],
)
def test_wrong_use(call, args, rc, message):
    fails(call("benchmark", *args), rc, message)


def serve(job, *requests):
    """Return the answers of a worker in this process."""
    lines = [json.dumps(request) + "\n" for request in (job, {"warm_up": True}, *requests)]
    answers = io.StringIO()
    worker.serve(io.StringIO("".join(lines)), answers)
    built, *rest = (json.loads(line) for line in answers.getvalue().splitlines())
    assert built == {"built": True}
    return rest


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """Return a function that makes an exported file with a stand-in runtime.

    It returns the path of the file and the list of the runtime's inputs.
    """
    seen = []

    def make(**facts):
        def run(images):
            seen.append(images)
            return np.zeros((len(images), 10), np.float32)

        facts = {
            "format": "onnx",
            "input": "tensor",
            "shape": (32, 32, 3),
            "runtime": "onnxruntime 1",
            "metadata": {"architecture": "resnet20", "num_classes": 10},
            **facts,
        }
        for key, value in facts.items():
            setattr(run, key, value)
        module = types.ModuleType("rezoo.exporters.runner")
        module.open_exported = lambda path, threads=None: run
        monkeypatch.setitem(sys.modules, "rezoo.exporters.runner", module)
        path = tmp_path / "model.onnx"
        path.touch()
        return path, seen

    return make


def job(path, **options):
    return find_target(str(path)).job(Options(**options), pretrained=False)


def test_a_run(trained):
    first, timed = serve(job(trained, batch_sizes=(2,)), {"action": inference(2), "calls": 2})
    assert first["facts"]["kind"] == "weights"
    assert first["facts"]["input_shape"] == [8, 8, 1]
    assert set(first["seconds"]) == {"inference 1", "inference 2"}
    assert len(timed["seconds"]) == 2


def test_exported_file(exported):
    path, seen = exported()
    first, timed = serve(job(path, batch_sizes=(4,)), {"action": inference(4), "calls": 3})
    facts = first["facts"]
    assert (facts["kind"], facts["macs"], facts["params"]) == ("onnx", 40_551_040, 269_722)
    assert set(first["seconds"]) == {"inference 1", "inference 4"}
    assert len(timed["seconds"]) == 3
    assert {(x.shape, x.dtype.name) for x in seen} == {
        ((1, 32, 32, 3), "float32"),
        ((4, 32, 32, 3), "float32"),
    }


def test_exported_file_of_raw_images(exported):
    path, seen = exported(input="raw", metadata={})
    (first,) = serve(job(path, batch_sizes=(1, 4)))
    assert set(first["seconds"]) == {"inference 1", "inference 4"}
    assert "macs" not in first["facts"]
    assert {x.dtype.name for x in seen} == {"uint8"}


def test_exported_files_are_not_trained(exported):
    path, _ = exported()
    with pytest.raises(SpecError, match="it cannot be trained"):
        serve(job(path, train=True))


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    with pytest.raises(IncompatibleError, match="finds no GPU"):
        serve(job("resnet20", device="gpu"))


def test_errors_of_a_process_are_raised():
    for error, kind in (
        (MissingExtraError("no onnxruntime", hint="pip install"), MissingExtraError),
        (MemoryError(), ResourceError),
        (KeyError("x"), RezooError),
    ):
        raised = benchmark._to_error(worker.error_record(error))
        assert type(raised) is kind
    assert raised.message == "unexpected KeyError: 'x'"


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("kill -9 $$", ResourceError, "was killed, most likely for memory"),
        ("exit 9", ResourceError, "is out of memory"),
        ("exit 7", RezooError, "ended with exit code 7"),
    ],
)
def test_a_process_that_dies(monkeypatch, tmp_path, script, kind, message):
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(benchmark.sys, "executable", str(stand_in))
    with pytest.raises(kind, match=message):
        benchmark.benchmark("resnet20")
