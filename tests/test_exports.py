"""Exports: the same network in another runtime, and faults that are found."""

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import rezoo
from conftest import TRAIN_TINY, fails
from rezoo.artifacts.weights import save_model
from rezoo.cli.export import print_passport
from rezoo.errors import IncompatibleError, SpecError, UnknownNameError
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.reference_batch import prepared
from rezoo.exporters.comparing import DROP
from rezoo.exporters.export import calibrated, export, read_bundle
from rezoo.exporters.folders import new_folder
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.graph import read_graph
from rezoo.exporters.keras_file import to_keras
from rezoo.exporters.mixed_precision import keep_accuracy
from rezoo.exporters.runner import open_exported
from rezoo.exporters.samples import calibration_samples, comparison_samples
from rezoo.exporters.verified import write_and_compare, write_verified
from rezoo.sources.references import resolve
from rezoo.specs import ModelConfig, Preprocessing
from rezoo.utils.device import usable_threads

MISSING = [name for name, kind in FORMATS.items() if kind.missing]


def installed(*names: str):
    """Mark a test that needs formats whose packages may be missing."""
    absent = [name for name in names if name in MISSING]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: packages of {absent}")


def with_values(model: keras.Model) -> keras.Model:
    """Give a network the weights and statistics of a trained one, the same in every process."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(random.uniform(0.6, 1.4, shape))
            layer.beta.assign(random.normal(0, 0.2, shape))
            layer.moving_mean.assign(random.normal(0, 0.2, shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
        elif layer.weights:
            shape = layer.kernel.shape
            fan_in = 1 if isinstance(layer, keras.layers.Dense) else np.prod(shape[:-1])
            layer.kernel.assign(random.normal(0, np.sqrt(1 / fan_in), shape))
    return model


def weights(folder, architecture="test_resnet", *, size=64, classes=5, interpolation="bilinear"):
    """Write a folder with a network whose weights are always the same."""
    model = with_values(rezoo.create_model(architecture, num_classes=classes))
    config = ModelConfig(
        architecture=architecture,
        num_classes=classes,
        preprocessing=Preprocessing(input_size=(3, size, size), interpolation=interpolation),
        class_names=tuple(f"class {i}" for i in range(classes)),
        licence="MIT",
    )
    save_model(model, config, folder)
    return folder


@pytest.fixture(scope="module")
def trained_resnet18(tmp_path_factory):
    """A run of a network whose weights take most of an exported file."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return rezoo.train("resnet18", "digits", changes=TRAIN_TINY, output=folder).folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("test_resnet", 64),
        ("resnet18d", 97),
        pytest.param("resnet50_v1", 64, marks=pytest.mark.slow),
        pytest.param("resnet20", 32, marks=pytest.mark.slow),
        ("plain20", 31),
    ],
)
@pytest.mark.ci
def test_folded_graph_is_the_network(architecture, size):
    model = with_values(
        rezoo.create_model(architecture, num_classes=7, input_shape=(size, size, 3))
    )
    graph = read_graph(model, (size, size, 3))
    kinds = {node.kind for node in graph.nodes}
    assert "affine" not in kinds
    assert "keras" not in kinds
    plain = to_keras(graph)
    for layer in plain.layers:
        assert type(layer).__module__.startswith("keras.")
    images = np.random.default_rng(1).normal(size=(3, size, size, 3)).astype(np.float32)
    wanted, found = (compiled_forward(m)(images) for m in (model, plain))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


SLOW_FORMATS = ("keras", "litert", "saved_model", "stablehlo")


@pytest.mark.parametrize(
    "to",
    [pytest.param(to, marks=pytest.mark.ci) if to in SLOW_FORMATS else to for to in FORMATS],
)
@pytest.mark.numerics
def test_every_format_holds(folder, tmp_path, to):
    kind = FORMATS[to]
    if to in MISSING or to == "torch":
        pytest.skip(f"{to}: {kind.install}; torch is compared in test_export_parity.py")
    passport = export(str(folder), to, output=tmp_path / to, measure=False)
    assert passport.comparison.holds
    assert passport.comparison.relative <= 1e-5
    assert passport.comparison.agreement == 1.0
    written = json.loads((tmp_path / to / "passport.json").read_text())
    assert written["comparison"]["holds"] is True
    assert written["cost"] is None
    assert written["metadata"]["class_names"] == [f"class {i}" for i in range(5)]
    assert written["metadata"]["licence"] == "MIT"
    assert kind.file in written["files"]
    # each weight once
    assert written["bytes"] < 1.35 * (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("to", "interpolation"),
    [
        ("saved_model", "bilinear"),  # rezoo's own resize
        ("onnx", "bicubic"),
        ("openvino", "bilinear"),
        pytest.param("onnx", "bilinear", marks=pytest.mark.slow),
        pytest.param("openvino", "bicubic", marks=pytest.mark.slow),
    ],
)
@pytest.mark.ci
def test_raw_images_of_any_size(tmp_path, to, interpolation):
    if to in MISSING:
        pytest.skip(FORMATS[to].install)
    source = weights(tmp_path / "net", interpolation=interpolation)
    options = {"takes": "raw", "gives": "probabilities", "measure": False}
    export(str(source), to, output=tmp_path / "out", **options)
    run = open_exported(tmp_path / "out")
    assert run.input == "raw"
    model = rezoo.load(str(source), classifier_activation="softmax")
    pre = model.rezoo_config.preprocessing
    random = np.random.default_rng(0)
    for sides in [(64, 64), (73, 200), (311, 90), (40, 51), (500, 20)]:
        rough = random.integers(0, 256, (1, 9, 11, 3)).astype(np.float32)
        smooth = np.asarray(tf.image.resize(rough, sides, method="bicubic"))
        image = np.clip(smooth, 0, 255).astype(np.uint8)
        wanted = compiled_forward(model)(prepared([image[0]], pre))
        found = run(np.repeat(image, 2, axis=0))
        assert found.shape == (2, 5)
        assert np.abs(found - wanted).max() < 2e-3, sides  # a grey level here and there


@pytest.mark.parametrize(
    ("to", "quantize", "part"),
    [("onnx", "float16", 0.6), ("litert", "dynamic", 0.4),
     pytest.param("onnx", "int8", 0.4, marks=pytest.mark.slow),
     pytest.param("openvino", "float16", 0.6, marks=pytest.mark.slow),
     pytest.param("litert", "float16", 0.6, marks=pytest.mark.slow),
     pytest.param("litert", "int8", 0.4, marks=pytest.mark.slow),
     pytest.param("openvino", "int8", 0.45, marks=pytest.mark.slow)],
)  # fmt: skip
@pytest.mark.ci
def test_smaller_numbers(trained_resnet18, tmp_path, to, quantize, part):
    if to in MISSING:
        pytest.skip(FORMATS[to].install)
    passport = export(
        str(trained_resnet18), to, output=tmp_path / "out", quantize=quantize, dataset="digits",
        calibration_images=64, images=100, measure=False,
    )  # fmt: skip
    assert passport.comparison.holds
    assert passport.comparison.accuracy.count == (50 if quantize == "int8" else 100)
    kept = quantize == "int8" and len(passport.choice.attempts) > 1
    part = 0.6 if kept else part  # some layers stay in float32
    assert passport.size < part * (trained_resnet18 / "model.safetensors").stat().st_size
    assert 1e-6 < passport.comparison.rms_relative < 0.5


@pytest.mark.parametrize(
    "to", ["onnx", *(pytest.param(to, marks=pytest.mark.slow) for to in ("openvino", "litert"))]
)
@pytest.mark.ci
def test_int8_keeps_layers_until_the_accuracy_is_back(trained_resnet18, tmp_path, to):
    if to in MISSING:
        pytest.skip(FORMATS[to].install)
    kind, source = FORMATS[to], resolve(str(trained_resnet18))
    bundle = read_bundle(source)
    samples = comparison_samples(source, "digits", bundle.preprocessing, count=100)
    images, _ = calibration_samples("digits", bundle.preprocessing, count=64)
    bundle = calibrated(kind, bundle, images)
    wanted = compiled_forward(bundle.network)(samples.inputs)
    errors = []

    def attempt(bundle, folder):
        """Let top-1 drop with the error: 0.6 of the error of all layers in int8 is allowed."""
        passport = write_and_compare(
            bundle, folder, kind=kind, samples=samples, wanted=wanted, tolerance=None
        )
        found = passport.comparison
        errors.append(found.rms_relative)
        accuracy = dataclasses.replace(found.accuracy, drop=DROP / 0.6 * errors[-1] / errors[0])
        return dataclasses.replace(
            passport, comparison=dataclasses.replace(found, accuracy=accuracy)
        )

    passport = keep_accuracy(bundle, tmp_path, attempt)
    attempts = passport.choice.attempts
    kept = [len(row["kept_in_float32"]) for row in attempts]
    assert kept[:3] == [0, 1, 2]
    best = min(attempts, key=lambda row: row["rms_relative"])["kept_in_float32"]
    assert best
    assert passport.metadata["kept_in_float32"] == best
    assert {type(bundle.network.get_layer(name)).__name__ for name in best} <= {"Conv2D", "Dense"}
    # the files of the best attempt, and nothing else
    assert {path.name for path in tmp_path.iterdir()} == set(passport.files)
    opened = open_exported(tmp_path)
    assert opened.metadata["kept_in_float32"] == best
    difference = opened(samples.inputs) - wanted
    assert np.sqrt((difference**2).mean() / (wanted**2).mean()) == pytest.approx(
        min(errors), rel=0.05
    )


def test_int8_needs_images(folder, tmp_path):
    if "litert" in MISSING:
        pytest.skip(FORMATS["litert"].install)
    with pytest.raises(SpecError, match="calibration"):
        export(str(folder), "litert", output=tmp_path / "out", quantize="int8")
    assert not list(tmp_path.iterdir())


@installed("onnx")
def test_first_wrong_layer_is_named_and_nothing_is_kept(folder, tmp_path):
    source = resolve(str(folder))
    bundle = read_bundle(source)
    samples = comparison_samples(source, None, bundle.preprocessing, count=0)

    def fault(node):  # as a wrong epsilon of the normalization would change the layer
        values = {key: 1.02 * value for key, value in node.weights.items()}
        return dataclasses.replace(node, weights=values)

    nodes = tuple(fault(n) if n.name == "layer2.0.conv1" else n for n in bundle.graph.nodes)
    wrong = dataclasses.replace(bundle, graph=dataclasses.replace(bundle.graph, nodes=nodes))
    with (
        pytest.raises(
            IncompatibleError, match=r"first layer that differs is layer2\.0\.conv1"
        ) as e,
        new_folder(tmp_path / "out") as place,
    ):
        write_verified(FORMATS["onnx"], wrong, samples, place)
    assert e.value.exit_code == 6
    assert not list(tmp_path.iterdir())


@installed("onnx")
@pytest.mark.parametrize(
    "fault",
    [
        {"mean": (0.406, 0.456, 0.485)},
        pytest.param({"interpolation": "bicubic"}, marks=pytest.mark.ci),
        pytest.param({"crop_pct": 0.95}, marks=pytest.mark.ci),
    ],
)
def test_wrong_preprocessing_is_named(folder, tmp_path, fault):
    source = resolve(str(folder))
    bundle = read_bundle(source, takes="raw")
    samples = comparison_samples(source, None, bundle.preprocessing, count=0)
    preprocessing = dataclasses.replace(bundle.preprocessing, **fault)
    wrong = dataclasses.replace(bundle, preprocessing=preprocessing)
    with pytest.raises(IncompatibleError, match="first layer that differs is preprocessing"):
        write_verified(FORMATS["onnx"], wrong, samples, tmp_path)


@pytest.fixture
def other_precision():
    """A process in which something else has set the precision and the seed."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(5)
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@installed("onnx")
@pytest.mark.parametrize("to", [pytest.param("keras", marks=pytest.mark.slow), "onnx"])
@pytest.mark.ci
def test_state_of_the_process_does_not_change_an_export(folder, tmp_path, to, request):
    first = export(str(folder), to, output=tmp_path / "first", measure=False)
    request.getfixturevalue("other_precision")
    second = export(str(folder), to, output=tmp_path / "second", measure=False)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert second.comparison == first.comparison
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    one, other = (open_exported(tmp_path / name)(images) for name in ("first", "second"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.ci
@installed("onnx")
def test_an_export_replaces_only_an_export(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(SpecError, match="has other files"):
        export(str(folder), "onnx", output=out, overwrite=True)
    assert (out / "mine.txt").read_text() == "keep"
    export(str(folder), "onnx", output=tmp_path / "b", measure=False)
    with pytest.raises(SpecError, match="has an export already"):
        export(str(folder), "onnx", output=tmp_path / "b")
    export(str(folder), "onnx", output=tmp_path / "b", overwrite=True, measure=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "out"]


def test_wrong_arguments(call, folder, tmp_path):
    fails(call("export", folder, "--to", "onxx"), 2, "no format 'onxx'", "onnx")
    fails(call("export", folder), 2, "--to")
    fails(call("export", tmp_path / "none", "--to", "keras"), 3, "no such folder")
    fails(call("export", folder, "--to", "keras", "--quantize", "int8"), 6, "onnx")
    fails(call("export", folder, "--to", "onnx", "--quantize", "dynamic"), 6, "litert")
    fails(call("export", folder, "--to", "keras", "--input", "raw"), 6, "saved_model")
    fails(call("export", folder, "--to", "keras", "--images", "0"), 2, "--images 0")
    for threads in (0, 9999):
        answer = call("export", folder, "--to", "keras", "--threads", threads)
        fails(answer, 2, f"threads: {threads}; allowed is 1 to {usable_threads()}")
    fails(call("export", "resnet18", "--to", "keras"), 2, "no weights")
    with pytest.raises(UnknownNameError):
        export(str(folder), "tflite")


def test_command_lists_formats(call):
    answer = call("export", "--list")
    assert answer.rc == 0
    for name in FORMATS:
        assert name in answer.out
    rows = json.loads(call("export", "--list", "--json").out)
    assert [row["name"] for row in rows] == list(FORMATS)


@pytest.mark.ci
def test_command_measures_and_prints_the_passport(call, folder, tmp_path):
    """The only test that measures latency, which takes several seconds."""
    out = tmp_path / "k"
    options = ("--threads", 1, "--output", out, "--json")
    answer = call("export", folder, "--to", "saved_model", *options)
    assert answer.rc == 0, answer
    document = json.loads(answer.out)
    assert document == json.loads((tmp_path / "k" / "passport.json").read_text())
    assert document["comparison"]["holds"] is True
    cost = document["cost"]
    assert 0 < cost["latency_ms_p50"] <= cost["latency_ms_p95"]
    assert cost["images_per_s"] > 0
    assert cost["memory_bytes"] > 1e6
    assert cost["batch_size"] == 16
    assert cost["threads"] == 1
    assert busy_processors(out, threads=1) < 1.1


def busy_processors(folder, *, threads):
    """Return how many processors the inference of an export keeps busy, in a process of its own."""
    code = f"""
import resource, time
import numpy as np
from pathlib import Path
from rezoo.exporters.measuring import limit_processors
from rezoo.exporters.runner import open_exported

def used():
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])

limit_processors({threads})
run = open_exported(Path({str(folder)!r}), threads={threads})
images = np.zeros((64, *run.shape), np.float32)
run(images)
begun, before = time.perf_counter(), used()
while time.perf_counter() - begun < 1:
    run(images)
print((used() - before) / (time.perf_counter() - begun))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize("to", ["keras", "saved_model", "stablehlo"])
def test_a_runtime_that_cannot_use_fewer_threads_says_so(tmp_path, to):
    if to in MISSING:
        pytest.skip(FORMATS[to].install)
    if usable_threads() < 2:
        pytest.skip("there is one processor")
    (tmp_path / FORMATS[to].file).write_bytes(b"")
    with pytest.raises(SpecError, match=f"threads: 1; {to} uses all {usable_threads()} processors"):
        open_exported(tmp_path, threads=1)


def test_a_process_is_limited_to_a_number_of_processors():
    code = (
        "from rezoo.exporters.measuring import limit_processors; limit_processors(1);"
        "from rezoo.utils.device import usable_threads; print(usable_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ("1\n" if hasattr(os, "sched_setaffinity") else f"{usable_threads()}\n")


@installed("onnx", "openvino", "litert")
@pytest.mark.slow
def test_every_runtime_with_a_number_of_threads_uses_it(folder, tmp_path):
    """Without a limit on the process: the runtime's own setting."""
    if usable_threads() < 2:
        pytest.skip("there is one processor")
    for to in ("onnx", "openvino", "litert"):
        export(str(folder), to, output=tmp_path / to, measure=False)
        run = open_exported(tmp_path / to, threads=1)
        assert run.threads == 1
        images = np.zeros((64, *run.shape), np.float32)
        run(images)
        begun, before = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        while time.perf_counter() - begun < 0.5:
            run(images)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before
        assert used < 1.1 * (time.perf_counter() - begun), to


@pytest.mark.ci
def test_a_model_of_load_is_exported(folder, tmp_path):
    model = rezoo.load(str(folder))
    model.get_layer("fc").bias.assign([5.0, 0, 0, 0, 0])
    model(keras.Input((64, 64, 3)))  # its layers have a second output now
    passport = export(model, "keras", output=str(tmp_path / "out"), measure=False)
    assert passport.folder == tmp_path / "out"
    assert passport.metadata["class_names"] == [f"class {i}" for i in range(5)]
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    wanted, found = compiled_forward(model)(images), open_exported(tmp_path / "out")(images)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.ci
def test_a_run_keeps_its_exports(trained, tmp_path, call, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    passport = export(str(run), "keras", images=20, measure=False)
    assert passport.folder == run / "exports" / "keras"
    assert (run / "exports" / "keras" / "model.keras").is_file()
    print_passport(passport)
    shown = capsys.readouterr().out
    assert "20 images of digits" in shown
    assert "equal predictions" in shown
    assert "It holds" in shown
    assert call("verify", run).rc == 0


@installed("onnx")
def test_a_damaged_export_does_not_open(folder, tmp_path):
    export(str(folder), "onnx", output=tmp_path / "out", measure=False)
    path = tmp_path / "out" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(IncompatibleError, match="does not open"):
        open_exported(tmp_path / "out")


@pytest.mark.slow  # test_export_scripts.py opens one without TensorFlow, too
def test_a_keras_export_opens_where_rezoo_cannot_be_imported(folder, tmp_path):
    export(str(folder), "keras", output=tmp_path / "out", measure=False)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    code = f"""
import sys

sys.modules.update(rezoo=None, tensorflow=None)  # importing them raises ImportError
import keras
import numpy as np

model = keras.saving.load_model({str(tmp_path / "out" / "model.keras")!r})
np.save({str(tmp_path / "outputs.npy")!r}, model(np.load({str(tmp_path / "images.npy")!r})))
"""
    env = {**os.environ, "KERAS_BACKEND": "numpy"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    wanted, found = open_exported(tmp_path / "out")(images), np.load(tmp_path / "outputs.npy")
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_layers_of_keras_without_counterpart_are_copied(tmp_path):
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="gelu", name="c")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="g")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="fc")(x))
    graph = read_graph(model, (8, 8, 3))
    assert [node.kind for node in graph.nodes] == ["keras", "global_average_pool", "dense"]
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    wanted, found = (compiled_forward(m)(images) for m in (model, to_keras(graph)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_metadata_describes_preprocessing_and_origin(folder):
    bundle = read_bundle(resolve(str(folder)), takes="raw")
    facts = bundle.metadata()
    assert facts["preprocessing"]["inside"] is True
    assert facts["preprocessing"]["crop_pct"] == 0.875
    assert facts["input_shape"] == [64, 64, 3]
    assert len(facts["origin"]["sha256"]) == 64
