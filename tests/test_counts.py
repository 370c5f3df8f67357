"""Parameters and multiply-adds: specs and catalogue against the graph, graph against the papers.

The tables are exact arithmetic from the papers' architectures. They reproduce torchvision's and
timm's published figures to every printed digit.
"""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest

from conftest import fails
from rezoo import registry
from rezoo.models import tensors
from rezoo.sources import catalogue
from zoo import cost, graph, networks, ours, rows

V1 = {"blocks": tuple(("bottleneck_v1", width) for width in (64, 128, 256, 512))}
PADDED, PROJECTED = {"shortcut": "padded"}, {"shortcut": "projection"}
SMALL = {"stem": ("small", (64,)), "pool": "none"}

# ImageNet, 224 pixels, 1000 classes: architecture, what is changed in it,
# parameters, running statistics, MACs, output elements of convolutions and fc
IMAGENET = [
    ("resnet18", {}, 11_689_512, 9_600, 1_814_073_344, 2_484_712),
    ("resnet34", {}, 21_797_672, 17_024, 3_663_761_408, 3_739_112),
    ("resnet50", {}, 25_557_032, 53_120, 4_089_184_256, 11_114_984),
    ("resnet50_v1", {}, 25_557_032, 53_120, 3_857_973_248, 10_588_136),
    ("resnet101", {}, 44_549_160, 105_344, 7_801_405_440, 16_232_936),
    ("resnet101", V1, 44_549_160, 105_344, 7_570_194_432, 15_706_088),
    ("resnet152", {}, 60_192_808, 151_424, 11_513_626_624, 22_555_112),
    ("resnet152", V1, 60_192_808, 151_424, 11_282_415_616, 22_028_264),
    ("plain18", {}, 11_515_688, 7_808, 1_794_805_760, None),
    ("resnet18", PADDED, 11_515_688, 7_808, 1_794_805_760, None),
    ("plain34", {}, 21_623_848, 15_232, 3_644_493_824, None),
    ("resnet34", PADDED, 21_623_848, 15_232, 3_644_493_824, None),
    ("vgg16", {}, 138_357_544, 0, 15_470_264_320, 13_556_712),
    ("vgg16_bn", {}, 138_365_992, 8_448, 15_470_264_320, 13_556_712),
    ("vgg19", {}, 143_667_240, 0, 19_632_062_464, 14_861_288),
    ("vgg19_bn", {}, 143_678_248, 11_008, 19_632_062_464, 14_861_288),
]
# what Keras's count_params gives: with the running statistics
KERAS_TOTALS = {
    "resnet18": 11_699_112,
    "resnet34": 21_814_696,
    "resnet50": 25_610_152,
    "resnet50_v1": 25_610_152,
    "resnet101": 44_654_504,
    "resnet152": 60_344_232,
    "plain18": 11_523_496,
    "plain34": 21_639_080,
}
# no head: parameters, and with running statistics; 37 classes: parameters
HEADS = {
    "resnet18": (11_176_512, 11_186_112, 11_195_493),
    "resnet34": (21_284_672, 21_301_696, 21_303_653),
    "resnet50": (23_508_032, 23_561_152, 23_583_845),
    "resnet101": (42_500_160, 42_605_504, 42_575_973),
    "resnet152": (58_143_808, 58_295_232, 58_219_621),
}
# tensors with PyTorch's names: trainable, with running statistics, with num_batches_tracked
TENSORS = {
    "resnet18": (62, 102, 122),
    "resnet34": (110, 182, 218),
    "resnet50": (161, 267, 320),
    "resnet101": (314, 522, 626),
    "resnet152": (467, 777, 932),
}
MACS_AT = {
    128: (592_695_296, 1_196_675_072, 1_336_623_104, 2_548_776_960, 3_760_930_816),
    160: (925_798_400, 1_869_516_800, 2_087_321_600, 3_981_312_000, 5_875_302_400),
    176: (1_168_343_040, 2_337_374_208, 2_608_132_096, 4_899_860_480, 7_191_588_864),
    192: (1_332_924_416, 2_691_878_912, 3_004_841_984, 5_732_188_160, 8_459_534_336),
    224: (1_814_073_344, 3_663_761_408, 4_089_184_256, 7_801_405_440, 11_513_626_624),
    256: (2_369_245_184, 4_785_164_288, 5_340_348_416, 10_188_963_840, 15_037_579_264),
    288: (2_998_439_936, 6_056_087_552, 6_758_334_464, 12_894_863_360, 19_031_392_256),
    384: (5_330_161_664, 10_765_979_648, 12_013_223_936, 22_922_608_640, 33_831_993_344),
}
# CIFAR-10, 32 pixels: parameters and MACs with option A, running statistics, option B
CIFAR = {
    20: (269_722, 40_551_040, 1_376, 272_474, 40_813_184),
    32: (464_154, 68_862_592, 2_272, 466_906, 69_124_736),
    44: (658_586, 97_174_144, 3_168, 661_338, 97_436_288),
    56: (853_018, 125_485_696, 4_064, 855_770, 125_747_840),
    110: (1_727_962, 252_887_680, 8_096, 1_730_714, 253_149_824),
    1202: (19_421_274, 2_829_238_912, 89_632, 19_424_026, 2_829_501_056),
}
# Option C: 16, 32 and 64 channels with a 1x1 convolution and a normalization in every block
OPTION_C = {
    20: (
        272_474 + 3 * 16 * (16 + 2) + 2 * 32 * (32 + 2) + 2 * 64 * (64 + 2),
        40_813_184 + (3 * 32**2 * 16**2 + 2 * 16**2 * 32**2 + 2 * 8**2 * 64**2),
    ),
}
# ImageNet's widths with a 3x3 stem and no pooling, 32 pixels, 10 classes
ON_CIFAR = {"resnet18": (11_173_962, 555_422_720), "resnet50": (23_520_842, 1_297_829_888)}
LINES = (Path(__file__).with_name("golden") / "timm_counts.csv").read_text("utf-8").splitlines()
TIMM = list(csv.DictReader(line for line in LINES if not line.startswith("#")))
# arXiv:1512.03385, table 1: billions of multiply-adds as printed
TABLE_1 = {"resnet18": 1.8, "resnet34": 3.6, "resnet50": 3.8, "resnet101": 7.6, "resnet152": 11.3}


@pytest.mark.parametrize("name", networks(ours()))
def test_specs_and_catalogue_state_the_counts_of_the_graph(name):
    spec, counted = registry.architectures.get(name), cost(name)
    assert (spec.params, spec.macs) == (counted.params, counted.macs)
    assert counted.flops == 2 * counted.macs
    assert re.match(rf"{counted.weighted_layers}\b", spec.summary) or spec.family == "vgg"
    entries = [entry for entry in catalogue.describe() if entry.architecture == name]
    for size in {entry.preprocessing.for_test().size[0] for entry in entries}:
        at = [e for e in entries if e.preprocessing.for_test().size == (size, size)]
        for classes in {e.num_classes for e in at}:
            macs = cost(name, size=size, classes=classes).macs
            assert {e.macs for e in at if e.num_classes == classes} == {macs}


def test_parameters_are_those_of_timms_table():
    """147 of the members that timm has, too; millions with two decimals."""
    specs = {row["name"]: registry.architectures.get(row["name"]) for row in TIMM}
    assert len(specs) == 147
    for row in TIMM:
        assert float(row["params"]) == round(specs[row["name"]].params / 1e6, 2), row


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [r for r in TIMM if "blur" not in r["name"]], ids=lambda r: f"{r['name']}-{r['pixels']}"
)
def test_macs_and_activations_are_those_of_timms_table(row):
    """Timm counts blurring as a convolution; rezoo does not."""
    counted = cost(row["name"], size=int(row["pixels"]))
    assert abs(counted.activations / 1e6 - float(row["activations"])) <= 0.0051
    normalized = [x for x in counted.layers if x.kind == "BatchNormalization"]
    if normalized or row["name"].startswith("vgg"):  # group normalization is counted otherwise
        added = 2 * sum(math.prod(layer.output_shape) for layer in normalized)
        assert abs((counted.macs + added) / 1e9 - float(row["macs"])) <= 0.006


@pytest.mark.parametrize(
    ("name", "changes", "params", "statistics", "macs", "activations"), rows(IMAGENET)
)
def test_imagenet_table(name, changes, params, statistics, macs, activations):
    counted = cost(name, changes=changes)
    assert (counted.params, counted.statistics, counted.macs) == (params, statistics, macs)
    assert activations in (None, counted.activations)
    if not changes and name in KERAS_TOTALS:
        assert counted.params + counted.statistics == KERAS_TOTALS[name]


@pytest.mark.parametrize("name", networks(("resnet50", "resnet101", "resnet152")))
def test_v1_saves_the_same_macs_at_each_depth(name):
    ours, papers = cost(name), cost(name, changes=V1)
    assert ours.macs - papers.macs == 231_211_008
    assert ours.params == papers.params


@pytest.mark.parametrize("name", networks(HEADS))
def test_heads(name):
    none, pets = (cost(name, size=32, classes=classes) for classes in (0, 37))
    assert (none.params, none.params + none.statistics, pets.params) == HEADS[name]


@pytest.mark.parametrize("name", networks(TENSORS))
def test_tensors(name):
    model = graph(name)
    counters = sum(n.endswith(".running_var") for n, _ in tensors.named_variables(model))
    trainable, all_weights = len(model.trainable_weights), len(model.weights)
    assert (trainable, all_weights, all_weights + counters) == TENSORS[name]


@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "size", "macs"),
    rows(
        [
            (name, size, macs)
            for size, of_size in MACS_AT.items()
            for name, macs in zip(HEADS, of_size, strict=True)
        ],
        ci=(),
    ),
)
def test_macs_by_resolution(name, size, macs):
    counted = cost(name, size=size)
    assert counted.macs == macs
    assert counted.params == cost(name).params


@pytest.mark.parametrize(("name", "depth"), rows([(f"resnet{d}", d) for d in CIFAR]))
def test_cifar_table(name, depth):
    params, macs, statistics, params_b, macs_b = CIFAR[depth]
    padded = cost(name)
    assert (padded.params, padded.statistics, padded.macs) == (params, statistics, macs)
    projected = cost(name, changes=PROJECTED)
    assert (projected.params, projected.macs) == (params_b, macs_b)
    assert cost(name, classes=100).params == params + 5_850
    if f"plain{depth}" in registry.architectures.names():
        plain = cost(f"plain{depth}")
        assert (plain.params, plain.statistics, plain.macs) == (params, statistics, macs)


def test_the_wide_network_has_the_parameters_of_its_paper():
    """arXiv:1605.07146, table 5: 36.5 million, and 28 convolutions with the three shortcuts."""
    spec = registry.architectures.get("wide_resnet28_10")
    assert round(spec.params / 1e6, 1) == 36.5
    blocks = sum(spec.config["depths"])
    assert (1 + 2 * blocks + 3, spec.summary.split(",")[0]) == (28, "26 layers")


def test_option_c_projects_in_every_block():
    counted = cost("resnet20", changes={"shortcut": "projection_everywhere"})
    assert (counted.params, counted.macs) == OPTION_C[20]


@pytest.mark.parametrize("name", ON_CIFAR)
def test_small_stems(name):
    counted = cost(name, size=32, classes=10, changes=SMALL)
    assert (counted.params, counted.macs) == ON_CIFAR[name]


@pytest.mark.parametrize(("name", "printed"), rows(TABLE_1.items()))
def test_table_1_of_the_paper(name, printed):
    """The paper prints 3.858 as 3.8 and rounds the others."""
    macs = cost(name, changes=PADDED if name in ("resnet18", "resnet34") else V1).macs
    assert printed == (int(macs / 1e8) / 10 if name == "resnet50" else round(macs / 1e9, 1))


def test_list_shows_and_sorts(call):
    models = json.loads(call("list", "--sort", "macs", "--json").out)
    assert list(models) == ["models"]
    found = [row["macs"] for row in models["models"]]
    assert found == sorted(found)
    row = next(row for row in models["models"] if row["name"] == "resnet50")
    wanted = {"params": 25_557_032, "macs": 4_089_184_256, "image_size": 224, "num_classes": 1000}
    assert {key: row[key] for key in wanted} == wanted
    text = call("list", "--models").out
    assert "4.089G" in text
    weights = json.loads(call("list", "--weights", "--sort", "top1", "--json").out)["weights"]
    top1 = [row["top1"] for row in weights if row["top1"] is not None]
    assert top1 == sorted(top1, reverse=True)
    a1 = next(row for row in weights if row["name"] == "resnet50.a1_in1k")
    assert (a1["image_size"], a1["macs"]) == (288, 6_758_334_464)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sort", "top1"], "--sort top1 is for --weights"),
        (["--datasets", "--sort", "macs"], "--sort macs is for architectures and --weights"),
        (["--sort", "size"], "'size' is not one of"),
    ],
)
def test_list_sorts_only_what_it_can(call, args, message):
    fails(call("list", *args), 2, message)
