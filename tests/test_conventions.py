"""What other tools print: our rules against the tools themselves, where they are installed."""

from __future__ import annotations

import json
from functools import cache

import keras
import pytest

from conftest import fails
from peers import import_timm, timm_network
from rezoo import create_model
from rezoo.benchmarking.conventions import CONVENTIONS, elements
from rezoo.models.layers import weights_follow
from rezoo.models.profile import profile

# networks and sizes: each block, stem and shortcut, odd sides
CASES = [
    ("resnet10t", 96),
    ("test_resnet", 70),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (("resnet18", 64), ("resnet50", 75))),
]
VGG = pytest.param("vgg16", 224, marks=pytest.mark.slow)  # with biases and without a norm
NOT_IN_TIMM = [("resnet20", 32), ("plain20", 32), ("resnet50_v1", 64)]
# at 224 pixels, as the tools or their documentation print them, in billions
PRINTED = {
    "torchvision": {"resnet18": 1.814, "resnet34": 3.664, "resnet50": 4.089},
    "timm, fvcore": {"resnet18": 1.82, "resnet34": 3.67, "resnet50": 4.11},
    "ptflops, aten": {"resnet18": 1.81, "resnet50": 4.09},
    "ptflops, pytorch": {"resnet18": 1.83, "resnet50": 4.13},
    "THOP": {"resnet18": 1.82, "resnet34": 3.68},  # its README has 4.14 for resnet50, the tool 4.13
}


@cache
def network(name, size):
    with weights_follow():
        return create_model(name, input_shape=(size, size, 3))


def printed(name, size, tool, unit="MACs"):
    """Return what our rule of a tool gives."""
    counted = elements(network(name, size), input_shape=(size, size, 3))
    (rule,) = [c.rule for c in CONVENTIONS if (c.tool, c.unit) == (tool, unit)]
    return rule(counted)


def twin(name, *, like_torchvision):
    """Return timm's network; torchvision's has a module for the last pooling."""
    import_timm()
    import torch

    model = timm_network(name).eval()
    if like_torchvision:
        model.global_pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(1))
    return model


def test_figures_as_printed():
    for tool, row in PRINTED.items():
        for name, figure in row.items():
            digits = len(str(figure).partition(".")[2])
            assert round(printed(name, 224, tool) / 1e9, digits) == figure, (tool, name)


@pytest.mark.parametrize(("name", "size"), [*CASES, VGG, *NOT_IN_TIMM])
def test_macs_are_those_of_the_profile(name, size):
    costs = profile(network(name, size), input_shape=(size, size, 3))
    assert printed(name, size, "rezoo") == costs.macs == printed(name, size, "torchvision")
    assert printed(name, size, "rezoo", "FLOPs") == costs.flops


def test_a_network_of_any_size_is_counted_at_one():
    model = create_model("resnet20")
    assert elements(model, input_shape=(32, 32, 3)).macs == 40_551_040
    assert model.input_shape == (None, None, None, 3)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="a graph of TensorFlow")
@pytest.mark.parametrize(("name", "size"), [*CASES, VGG, *NOT_IN_TIMM])
def test_tensorflow_profiler(name, size, capfd):
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    model = network(name, size)
    run = tf.function(lambda x: model(x, training=False))
    traced = run.get_concrete_function(tf.TensorSpec((1, size, size, 3)))
    frozen = convert_to_constants.convert_variables_to_constants_v2(traced)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    with tf.Graph().as_default() as rebuilt:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        found = tf.compat.v1.profiler.profile(rebuilt, options={**options, "output": "none"})
    assert found.total_float_ops == printed(name, size, "TensorFlow profiler", "FLOPs")


@pytest.mark.parametrize(("name", "size"), [*CASES, VGG])
def test_torch_flop_counter(name, size):
    torch = pytest.importorskip("torch")
    counting = pytest.importorskip("torch.utils.flop_counter")
    model = twin(name, like_torchvision=False)
    with counting.FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    wanted = counter.get_total_flops()
    assert printed(name, size, "torch FlopCounterMode", "FLOPs") == wanted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.parametrize("like_torchvision", [False, True])
def test_fvcore(name, size, like_torchvision):
    fvcore = pytest.importorskip("fvcore.nn")
    import torch

    model = twin(name, like_torchvision=like_torchvision)
    found = fvcore.FlopCountAnalysis(model, torch.zeros(1, 3, size, size))
    found.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert printed(name, size, "timm, fvcore") == found.total()
    activations = fvcore.ActivationCountAnalysis(model, torch.zeros(1, 3, size, size))
    activations.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    costs = profile(network(name, size), input_shape=(size, size, 3))
    assert costs.activations == activations.total()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.parametrize("backend", ["aten", "pytorch"])
def test_ptflops(name, size, backend):
    ptflops = pytest.importorskip("ptflops")
    macs, _ = ptflops.get_model_complexity_info(
        twin(name, like_torchvision=True),
        (3, size, size),
        as_strings=False,
        print_per_layer_stat=False,
        backend=backend,
    )
    assert printed(name, size, f"ptflops, {backend}") == macs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "size"), CASES)
def test_thop(name, size):
    thop = pytest.importorskip("thop")
    import torch

    model = twin(name, like_torchvision=True)
    macs, _ = thop.profile(model, inputs=(torch.zeros(1, 3, size, size),), verbose=False)
    assert printed(name, size, "THOP") == macs


def test_counts_by_one_command(call):
    names = ("resnet18", "resnet34", "resnet50")
    answer = call("benchmark", "--counts", *names, "--json")
    assert answer.rc == 0, answer.err
    found = {row["target"]: row for row in json.loads(answer.out)["counts"]}
    row = found["resnet50"]
    wanted = {"params": 25_557_032, "macs": 4_089_184_256, "flops": 8_178_368_512}
    assert {key: row[key] for key in wanted} == wanted
    assert (row["statistics"], row["activations"]) == (53_120, 11_114_984)
    table = {name: found[name]["tools"][-1]["count"] for name in names}
    assert table == {
        "resnet18": 1_794_805_760,
        "resnet34": 3_644_493_824,
        "resnet50": 3_857_973_248,
    }
    assert all(tool["why"] for tool in row["tools"])


def test_counts_as_text(call):
    answer = call("benchmark", "--counts", "resnet20", "plain20", "--image-size", 48)
    assert answer.rc == 0, answer.err
    text = " ".join(answer.out.split())
    for words in ("ptflops, aten", "THOP", "one MAC is one multiply-add and two FLOPs", "91,239,"):
        assert words in text


def test_a_file_has_no_layers(call, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not read")
    answer = call("benchmark", "--counts", tmp_path / "model.onnx")
    fails(answer, 6, "is an exported file, which has no layers to count")
