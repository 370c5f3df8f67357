"""Exports: the same network in another runtime, and faults that are found."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import rezoo
from conftest import fails
from rezoo.artifacts.weights import save_model
from rezoo.errors import IncompatibleError, SpecError, UnknownNameError
from rezoo.evaluation.forward import compiled_forward
from rezoo.exporters import graph as graphs
from rezoo.exporters.export import export, read_bundle
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.graph import read_graph
from rezoo.exporters.rebuilding import to_keras
from rezoo.exporters.runners import open_exported
from rezoo.exporters.samples import prepared
from rezoo.sources.references import resolve
from rezoo.specs import ModelConfig, Preprocessing

NEEDED = [name for name, kind in FORMATS.items() if kind.missing]


def installed(*names: str):
    """Mark a test that needs formats whose packages may be absent."""
    absent = [name for name in names if name in NEEDED]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: what {absent} need")


def lively(model: keras.Model) -> keras.Model:
    """Give a fresh network statistics and weights as training leaves them."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(random.uniform(0.6, 1.4, shape))
            layer.beta.assign(random.normal(0, 0.2, shape))
            layer.moving_mean.assign(random.normal(0, 0.2, shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.assign(random.normal(0, 1.0, layer.kernel.shape))
    return model


def weights(folder, architecture="test_resnet", *, size=64, classes=5, interpolation="bilinear"):
    """Write a folder with a lively network."""
    model = lively(rezoo.create_model(architecture, num_classes=classes))
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
def folder(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("test_resnet", 64),
        ("resnet18d", 97),
        ("resnet50_v1", 64),
        ("resnet20", 32),
        ("plain20", 31),
    ],
)
def test_folded_graph_is_the_network(architecture, size):
    model = lively(rezoo.create_model(architecture, num_classes=7, input_shape=(size, size, 3)))
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


@pytest.mark.parametrize("to", list(FORMATS))
def test_every_format_holds(folder, tmp_path, to):
    kind = FORMATS[to]
    if to in NEEDED or to == "torch":
        pytest.skip(f"{to}: {kind.install}; torch is compared in test_export_parity.py")
    passport = export(str(folder), to, output=tmp_path / to)
    assert passport.comparison.holds
    assert passport.comparison.relative <= 1e-5
    assert passport.comparison.agreement == 1.0
    written = json.loads((tmp_path / to / "passport.json").read_text())
    assert written["comparison"]["holds"] is True
    assert written["cost"]["latency_ms_p50"] > 0
    assert written["metadata"]["class_names"] == [f"class {i}" for i in range(5)]
    assert written["metadata"]["licence"] == "MIT"
    assert kind.file in written["files"]
    # each weight once
    assert written["bytes"] < 1.35 * (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("to", "interpolation"),
    [
        ("saved_model", "bilinear"),  # rezoo's own resize
        *((to, mode) for to in ("onnx", "openvino") for mode in ("bilinear", "bicubic")),
    ],
)
def test_raw_images_of_any_size(tmp_path, to, interpolation):
    if to in NEEDED:
        pytest.skip(FORMATS[to].install)
    source = weights(tmp_path / "net", interpolation=interpolation)
    export(str(source), to, output=tmp_path / "out", takes="raw", gives="probabilities")
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
    [("onnx", "float16", 0.6), ("openvino", "float16", 0.6), ("litert", "float16", 0.6),
     ("litert", "dynamic", 0.4), ("litert", "int8", 0.4), ("onnx", "int8", 0.4),
     ("openvino", "int8", 0.45)],
)  # fmt: skip
def test_smaller_numbers(trained, tmp_path, to, quantize, part):
    if to in NEEDED:
        pytest.skip(FORMATS[to].install)
    passport = export(
        str(trained), to, output=tmp_path / "out", quantize=quantize, dataset="digits",
        calibration_images=64, images=100,
    )  # fmt: skip
    assert passport.comparison.holds
    assert passport.comparison.accuracy.count == 100
    assert passport.size < part * (trained / "model.safetensors").stat().st_size
    assert 1e-6 < passport.comparison.rms_relative < 0.5


@pytest.mark.parametrize("to", ["onnx", "openvino", pytest.param("litert", marks=pytest.mark.slow)])
def test_int8_keeps_layers_until_the_accuracy_is_back(trained, tmp_path, to, monkeypatch):
    if to in NEEDED:
        pytest.skip(FORMATS[to].install)
    enough = 0.6  # of the error of all layers in int8
    errors = []

    def is_kept(found):
        errors.append(found.rms_relative)
        return found.rms_relative <= enough * errors[0]

    monkeypatch.setattr("rezoo.exporters.mixed_precision._is_kept", is_kept)
    monkeypatch.setattr("rezoo.exporters.mixed_precision._score", lambda found: found.rms_relative)
    passport = export(
        str(trained), to, output=tmp_path / "out", quantize="int8", dataset="digits",
        calibration_images=64, images=100,
    )  # fmt: skip
    kept = [len(row["kept_in_float32"]) for row in passport.trade]
    assert kept[:3] == [0, 1, 2]
    assert min(errors) < errors[0]
    best = min(passport.trade, key=lambda row: row["rms_relative"])["kept_in_float32"]
    assert passport.metadata["kept_in_float32"] == best
    assert passport.comparison.rms_relative == pytest.approx(min(errors), rel=0.05)
    network = rezoo.load(str(trained))
    assert {type(network.get_layer(name)).__name__ for name in best} <= {"Conv2D", "Dense"}


def test_int8_needs_images(folder, tmp_path):
    if "litert" in NEEDED:
        pytest.skip(FORMATS["litert"].install)
    with pytest.raises(SpecError, match="calibrate"):
        export(str(folder), "litert", output=tmp_path / "out", quantize="int8")
    assert not list(tmp_path.iterdir())


@installed("onnx")
def test_wrong_epsilon_is_found_and_named(folder, tmp_path, monkeypatch):
    read = graphs._read_norm

    def wrong(layer):
        if layer.name != "layer2.0.bn1":
            return read(layer)
        layer.epsilon, before = 0.05, layer.epsilon
        try:
            return read(layer)
        finally:
            layer.epsilon = before

    readers = tuple(
        (kind, wrong if function is read else function) for kind, function in graphs._READERS
    )
    monkeypatch.setattr(graphs, "_READERS", readers)
    with pytest.raises(IncompatibleError, match=r"first to differ is layer2\.0\.conv1") as error:
        export(str(folder), "onnx", output=tmp_path / "out")
    assert error.value.exit_code == 6
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.iterdir())


@installed("onnx")
@pytest.mark.parametrize("fault", ["swapped channels", "no antialias"])
def test_wrong_preprocessing_is_found_and_named(folder, tmp_path, monkeypatch, fault):
    from rezoo.exporters import onnx_graph

    add = onnx_graph.OnnxGraph.add

    def wrong(self, kind, inputs, name, **attributes):
        if fault == "no antialias" and kind == "Resize":
            attributes["antialias"] = 0
        if fault == "swapped channels" and name == "pre.levels":
            turned = add(self, kind, inputs, "pre.turned", **attributes)
            order = self.constant("pre.order", [2, 1, 0], np.int64)
            return add(self, "Gather", [turned, order], name, axis=1)
        return add(self, kind, inputs, name, **attributes)

    monkeypatch.setattr(onnx_graph.OnnxGraph, "add", wrong)
    with pytest.raises(IncompatibleError, match="first to differ is preprocessing"):
        export(str(folder), "onnx", output=tmp_path / "out", takes="raw")


@installed("onnx")
def test_an_export_replaces_only_an_export(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(SpecError, match="has other files"):
        export(str(folder), "onnx", output=out, overwrite=True)
    assert (out / "mine.txt").read_text() == "keep"
    export(str(folder), "onnx", output=tmp_path / "b")
    with pytest.raises(SpecError, match="has an export already"):
        export(str(folder), "onnx", output=tmp_path / "b")
    export(str(folder), "onnx", output=tmp_path / "b", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "out"]


def test_wrong_words(call, folder, tmp_path):
    fails(call("export", folder, "--to", "onxx"), 2, "no format 'onxx'", "onnx")
    fails(call("export", folder), 2, "--to")
    fails(call("export", tmp_path / "none", "--to", "keras"), 3, "no such folder")
    fails(call("export", folder, "--to", "keras", "--quantize", "int8"), 6, "onnx")
    fails(call("export", folder, "--to", "onnx", "--quantize", "dynamic"), 6, "litert")
    fails(call("export", folder, "--to", "keras", "--input", "raw"), 6, "saved_model")
    fails(call("export", folder, "--to", "keras", "--images", "0"), 2, "--images 0")
    fails(call("export", "resnet18", "--to", "keras"), 2, "no weights")
    with pytest.raises(UnknownNameError):
        export(str(folder), "tflite")


def test_command_lists_formats_and_prints_a_passport(call, folder, tmp_path):
    answer = call("export", "--list")
    assert answer.rc == 0
    for name in FORMATS:
        assert name in answer.out
    answer = call("export", folder, "--to", "keras", "--output", tmp_path / "k", "--json")
    assert answer.rc == 0, answer
    assert json.loads(answer.out)["comparison"]["holds"] is True
    answer = call("export", folder, "--to", "keras", "--output", tmp_path / "k", "--overwrite")
    assert "same answers" in answer.out
    assert "It holds" in answer.out


def test_a_run_keeps_its_exports(trained, tmp_path, call):
    run = shutil.copytree(trained, tmp_path / "run")
    answer = call("export", run, "--to", "keras", "--images", "20")
    assert answer.rc == 0, answer
    assert (run / "exports" / "keras" / "model.keras").is_file()
    assert "20 images of digits" in answer.out
    assert call("verify", run).rc == 0


@installed("onnx")
def test_a_damaged_export_does_not_open(folder, tmp_path):
    export(str(folder), "onnx", output=tmp_path / "out")
    path = tmp_path / "out" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(IncompatibleError, match="does not open"):
        open_exported(tmp_path / "out")


def test_a_layer_of_keras_alone_goes_where_keras_goes(tmp_path):
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="gelu", name="c")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="g")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="fc")(x))
    graph = read_graph(model, (8, 8, 3))
    assert [node.kind for node in graph.nodes] == ["keras", "global_average_pool", "dense"]
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    wanted, found = (compiled_forward(m)(images) for m in (model, to_keras(graph)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bundle_says_what_a_user_must_know(folder):
    bundle, _ = read_bundle(resolve(str(folder)), takes="raw")
    facts = bundle.metadata()
    assert facts["preprocessing"]["inside"] is True
    assert facts["preprocessing"]["crop_pct"] == 0.875
    assert facts["input_shape"] == [64, 64, 3]
    assert len(facts["origin"]["sha256"]) == 64


def test_auto_keeps_the_fastest_format_that_holds(call, folder, tmp_path, monkeypatch):
    """Two formats are enough; the slower one is left out."""
    from rezoo.exporters import choosing

    few = {name: FORMATS[name] for name in ("keras", "saved_model")}
    monkeypatch.setattr(choosing, "FORMATS", few)
    monkeypatch.setattr(choosing, "ROUNDS", 1)
    answer = call("export", folder, "--to", "auto", "--output", tmp_path / "out", "--json")
    assert answer.rc == 0, answer
    document = json.loads(answer.out)
    tried = {row["format"]: row["latency_ms_p50"] for row in document["tried"]}
    assert set(tried) == set(few)
    assert document["format"] == min(tried, key=tried.get)
    assert document["folder"] == str(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "passport.json").read_text())["folder"] == str(
        tmp_path / "out"
    )
    assert open_exported(tmp_path / "out").format == document["format"]
    fails(
        call("export", folder, "--to", "auto", "--quantize", "int8", "--output", tmp_path / "b"), 6
    )
