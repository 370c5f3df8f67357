"""Parameters and multiply-adds by arithmetic, from the graph, and by TensorFlow's profiler.

The tables are exact arithmetic from the papers' architectures. They reproduce torchvision's and
timm's published figures to every printed digit.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest

from conftest import fails
from rezoo import registry
from rezoo.models import counts, resnet
from rezoo.models.factory import deep_graphs
from rezoo.models.layers import weights_follow
from rezoo.models.profile import profile
from test_info import COUNTS

V1 = {"blocks": tuple(("bottleneck_v1", width) for width in (64, 128, 256, 512))}
PADDED, PROJECTED = {"shortcut": "padded"}, {"shortcut": "projection"}
SMALL = {"stem": ("small", (64,)), "pool": False}

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
# ImageNet's widths with a 3x3 stem and no pooling, 32 pixels, 10 classes
ON_CIFAR = {"resnet18": (11_173_962, 555_422_720), "resnet50": (23_520_842, 1_297_829_888)}
FAMILIES = ("resnet", "plain")
# arXiv:1512.03385, table 1: billions of multiply-adds as printed
TABLE_1 = {"resnet18": 1.8, "resnet34": 3.6, "resnet50": 3.8, "resnet101": 7.6, "resnet152": 11.3}

QUICK = ("resnet18", "plain18", "plain34", "resnet20", "resnet32")  # others build for seconds


def spec_of(name, changes):
    spec = registry.architectures.get(name)
    return dataclasses.replace(spec, config={**spec.config, **changes})


def graph(spec, *, image_size=None, num_classes=None):
    """Return what is counted from the built network."""
    size = image_size or spec.image_size
    with weights_follow(), deep_graphs():
        model = spec.build(
            name=spec.name,
            input_shape=(size, size, 3),
            num_classes=spec.num_classes if num_classes is None else num_classes,
            classifier_activation=None,
            **spec.config,
        )
    return profile(model, input_shape=(size, size, 3))


def figures(counted):
    return counted.params, counted.statistics, counted.macs, counted.activations


def rows(table):
    """Return the rows of a table as parameters of a test; those of large networks are slow."""
    return [
        pytest.param(*row, marks=() if row[0] in QUICK else pytest.mark.slow, id=f"{row[0]}-{n}")
        for n, row in enumerate(table)
    ]


def ours():
    claims = registry.architectures.entries().values()
    return [entry.name for entries in claims for entry in entries if entry.builtin]


def test_every_architecture_is_in_a_table():
    others = {name for name, *_ in IMAGENET} | {f"{kind}{d}" for kind in FAMILIES for d in CIFAR}
    assert set(ours()) <= {*COUNTS, *others}


@pytest.mark.parametrize("name", ours())
def test_specs_say_what_arithmetic_gives(name):
    spec, counted = registry.architectures.get(name), counts.count(name)
    assert (spec.params, spec.macs) == (counted.params, counted.macs)
    assert counted.flops == 2 * counted.macs
    if name in COUNTS:  # which test_info counts from the graphs, and test_parity by torch
        _, *wanted = COUNTS[name]
        size = 32 if spec.image_size == 32 else 224
        assert list(figures(counts.count(name, image_size=size))) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", ours())
def test_arithmetic_is_the_graph_at_every_size(name):
    spec = registry.architectures.get(name)
    sizes = (spec.image_size, 224, 257) if spec.family == "vgg" else (spec.image_size, 75, 64)
    for size in sizes:
        assert figures(counts.count(spec, image_size=size)) == figures(graph(spec, image_size=size))


@pytest.mark.parametrize(
    "name", ["resnet20", "resnet18", "resnet10t", "test_resnet", "resnet50_v1"]
)
def test_arithmetic_is_the_graph(name):
    for size, classes in ((75, 7), (64, 0)):
        spec = registry.architectures.get(name)
        wanted = graph(spec, image_size=size, num_classes=classes)
        counted = counts.count(spec, image_size=size, num_classes=classes)
        assert figures(counted) == figures(wanted)


@pytest.mark.parametrize(
    ("name", "changes", "params", "statistics", "macs", "activations"), IMAGENET
)
def test_imagenet_table(name, changes, params, statistics, macs, activations):
    counted = counts.count(spec_of(name, changes))
    assert (counted.params, counted.statistics, counted.macs) == (params, statistics, macs)
    assert activations in (None, counted.activations)
    if not changes and name in KERAS_TOTALS:
        assert counted.params + counted.statistics == KERAS_TOTALS[name]


@pytest.mark.parametrize(
    ("name", "changes", "params", "statistics", "macs", "activations"), rows(IMAGENET)
)
def test_imagenet_table_from_the_graph(name, changes, params, statistics, macs, activations):
    counted = graph(spec_of(name, changes))
    assert (counted.params, counted.statistics, counted.macs) == (params, statistics, macs)
    assert activations in (None, counted.activations)


def test_strides_of_v1_cost_the_same_less_at_each_depth():
    for name in ("resnet50", "resnet101", "resnet152"):
        ours, papers = counts.count(name), counts.count(spec_of(name, V1))
        assert ours.macs - papers.macs == 231_211_008
        assert ours.params == papers.params


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    none, pets = (counts.count(name, num_classes=n) for n in (0, 37))
    assert (none.params, none.params + none.statistics, pets.params) == HEADS[name]


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name):
    """Kernel, gamma and beta of each convolution; kernel and bias of the head."""
    config = registry.architectures.get(name).config
    blocks = Counter(
        kind
        for (kind, _), n in zip(config["blocks"], config["depths"], strict=True)
        for _ in range(n)
    )
    convolutions = 1 + sum({"basic": 2, "bottleneck": 3}[k] * n for k, n in blocks.items())
    convolutions += 3 + ("bottleneck" in blocks)  # projections
    trainable = 3 * convolutions + 2
    wanted = (trainable, trainable + 2 * convolutions, trainable + 3 * convolutions)
    assert wanted == TENSORS[name]


@pytest.mark.parametrize("size", MACS_AT)
def test_macs_by_resolution(size):
    for name, macs in zip(HEADS, MACS_AT[size], strict=True):
        assert counts.macs(name, image_size=size, num_classes=1000) == macs


@pytest.mark.parametrize("depth", CIFAR)
def test_cifar_table(depth):
    params, macs, statistics, params_b, macs_b = CIFAR[depth]
    padded = counts.count(f"resnet{depth}")
    assert figures(padded)[:3] == (params, statistics, macs)
    projected = counts.count(spec_of(f"resnet{depth}", PROJECTED))
    assert (projected.params, projected.macs) == (params_b, macs_b)
    assert counts.count(f"resnet{depth}", num_classes=100).params == params + 5_850
    if f"plain{depth}" in registry.architectures.names():
        assert counts.count(f"plain{depth}") == padded


@pytest.mark.parametrize(("name", "depth"), rows([(f"resnet{d}", d) for d in CIFAR]))
def test_cifar_table_from_the_graph(name, depth):
    params, macs, statistics, params_b, macs_b = CIFAR[depth]
    assert figures(graph(spec_of(name, {})))[:3] == (params, statistics, macs)
    projected = graph(spec_of(name, PROJECTED))
    assert (projected.params, projected.macs) == (params_b, macs_b)


@pytest.mark.parametrize("name", ON_CIFAR)
def test_small_stems(name):
    spec = spec_of(name, SMALL)
    counted = counts.count(spec, image_size=32, num_classes=10)
    assert (counted.params, counted.macs) == ON_CIFAR[name]
    assert figures(graph(spec, image_size=32, num_classes=10)) == figures(counted)


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_of_the_paper(name):
    """The paper prints 3.858 as 3.8 and rounds the others."""
    macs = counts.as_in_paper(name).macs
    printed = int(macs / 1e8) / 10 if name == "resnet50" else round(macs / 1e9, 1)
    assert printed == TABLE_1[name]


def test_the_paper_has_no_others():
    assert counts.as_in_paper("resnet50_v1").macs == 3_857_973_248
    for name in ("resnet26", "resnet50d", "resnet20", "wide_resnet50_2", "vgg16", "test_resnet"):
        assert counts.as_in_paper(name) is None


def test_parts_of_plugins_are_not_guessed():
    spec = spec_of("resnet18", {"blocks": (("mystery", 64),) * 4})
    assert counts.count(spec) is None
    assert counts.macs(spec) == spec.macs  # as it says
    assert counts.macs(spec, image_size=96) is None
    other = dataclasses.replace(spec, build=lambda **_: None)
    assert counts.count(other) is None
    assert counts.as_in_paper(other) is None
    assert resnet.build is spec.build


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
