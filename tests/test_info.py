"""Parameters, multiply-adds and activations of the architectures, exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import fails
from rezoo import registry
from rezoo.models.factory import create_model
from rezoo.models.profile import profile
from zoo import graph, networks

# Computed; equal to torchvision's and timm's published figures to every printed digit.
# name: (weighted layers, parameters, running statistics, MACs, activations) at 224 pixels
COUNTS = {
    "resnet18": (18, 11_689_512, 9_600, 1_814_073_344, 2_484_712),
    "resnet34": (34, 21_797_672, 17_024, 3_663_761_408, 3_739_112),
    "resnet50": (50, 25_557_032, 53_120, 4_089_184_256, 11_114_984),
    "resnet50_v1": (50, 25_557_032, 53_120, 3_857_973_248, 10_588_136),
    "resnet101": (101, 44_549_160, 105_344, 7_801_405_440, 16_232_936),
    "resnet152": (152, 60_192_808, 151_424, 11_513_626_624, 22_555_112),
    # counted by torch 2.13.0 from the networks of timm 1.0.31; these and the ones above are
    # printed and compared by: pytest -s tests/test_parity.py -k counts
    "resnet26": (26, 15_995_176, 30_848, 2_342_256_640, 7_351_784),
    "resnet200": (200, 64_673_832, 176_000, 15_007_481_856, 32_188_904),
    "wide_resnet50_2": (50, 68_883_240, 68_224, 11_398_021_120, 14_401_512),
    "wide_resnet101_2": (101, 126_886_696, 137_856, 22_753_050_624, 21_225_448),
    "resnet18d": (20, 11_708_744, 9_728, 2_053_713_920, 3_287_528),
    "resnet26d": (28, 16_014_408, 30_976, 2_581_897_216, 8_154_600),
    "resnet34d": (36, 21_816_904, 17_152, 3_903_401_984, 4_541_928),
    "resnet50d": (52, 25_576_264, 53_248, 4_328_824_832, 11_917_800),
    "resnet101d": (103, 44_568_392, 105_472, 8_041_046_016, 17_035_752),
    "resnet152d": (154, 60_212_040, 151_552, 11_753_267_200, 23_357_928),
    "resnet200d": (202, 64_693_064, 176_128, 15_247_122_432, 32_991_720),
    "resnet10t": (12, 5_435_488, 5_872, 1_097_259_008, 2_434_536),
    "resnet14t": (16, 10_081_632, 19_440, 1_676_822_528, 5_796_328),
    "resnet26t": (28, 16_011_872, 30_960, 2_550_286_336, 8_054_248),
    "resnet50t": (52, 25_573_728, 53_232, 4_297_213_952, 11_817_448),
    "resnet50c": (52, 25_576_264, 53_248, 4_328_824_832, 11_917_800),
    "resnet101c": (103, 44_568_392, 105_472, 8_041_046_016, 17_035_752),
    "resnet152c": (154, 60_212_040, 151_552, 11_753_267_200, 23_357_928),
    "resnet50s": (52, 25_680_808, 53_504, 5_444_337_664, 13_523_432),
    "resnet101s": (103, 44_672_936, 105_728, 9_156_558_848, 18_641_384),
    "resnet152s": (154, 60_316_584, 151_808, 12_868_780_032, 24_963_560),
    "test_resnet": (13, 469_688, 2_080, 200_900_352, 1_253_832),
}


@pytest.fixture(scope="module")
def model():
    """A network of any size."""
    return create_model("resnet18")


@pytest.mark.ci
@pytest.mark.parametrize("name", networks(COUNTS, ci=()))  # test_parity.py has more of them
def test_counts(name):
    model = graph(name, size=224)
    counted = profile(model, input_shape=(224, 224, 3))
    layers, params, statistics, macs, activations = COUNTS[name]
    assert counted.weighted_layers == layers
    assert (counted.params, counted.statistics) == (params, statistics)
    assert (counted.macs, counted.flops) == (macs, 2 * macs)
    assert counted.activations == activations
    assert model.count_params() == params + statistics
    assert registry.architectures.get(name).summary.split(",")[0] == f"{layers} layers"


def test_readme_has_these_counts():
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    shown = {name: tuple(int(x.replace(",", "")) for x in row) for name, *row in rows}
    counts = {name: (row[0], row[1], row[3]) for name, row in COUNTS.items()}
    assert len(shown) == 6
    assert shown.items() <= counts.items()


@pytest.mark.ci
def test_stages_are_the_table_of_the_paper():
    stages = profile(graph("resnet50"), input_shape=(224, 224, 3)).stages()
    assert [(s.name, s.output_shape) for s in stages] == [
        ("conv1", (112, 112, 64)),
        ("maxpool", (56, 56, 64)),
        ("layer1", (56, 56, 256)),
        ("layer2", (28, 28, 512)),
        ("layer3", (14, 14, 1024)),
        ("layer4", (7, 7, 2048)),
        ("global_pool", (2048,)),
        ("fc", (1000,)),
    ]
    assert stages[2].contents == "[1×1, 64 · 3×3, 64 · 1×1, 256] ×3"
    assert [s.weighted_layers for s in stages] == [1, 0, 9, 12, 18, 9, 0, 1]
    basic = profile(graph("resnet18"), input_shape=(224, 224, 3)).stages()
    assert basic[2].contents == "[3×3, 64 · 3×3, 64] ×2"
    mixed = profile(graph("test_resnet"), input_shape=(160, 160, 3)).stages()
    assert [s.name for s in mixed] == [s.name for s in stages]
    assert (mixed[0].contents, mixed[0].weighted_layers) == ("[3×3, 16 · 3×3, 16 · 3×3, 32] ×1", 3)
    assert mixed[4].contents == "[1×1, 48 · 3×3, 48 · 1×1, 192] ×1"


@pytest.mark.ci
def test_stages_add_up(model):
    counted = profile(model, input_shape=(97, 160, 3))
    assert sum(s.params for s in counted.stages()) == counted.params
    assert sum(s.macs for s in counted.stages()) == counted.macs


def test_profile_leaves_the_model_alone(model):
    before = [w.path for w in model.weights]
    profile(model, input_shape=(64, 32, 3))
    assert [w.path for w in model.weights] == before
    assert model.input_shape == (None, None, None, 3)


def test_info_of_an_architecture(call):
    answer = call("info", "resnet50", "--layers", "--json")
    assert answer.rc == 0
    found = json.loads(answer.out)
    layers, params, statistics, macs, activations = COUNTS["resnet50"]
    wanted = {
        "architecture": "resnet50",
        "input_shape": [224, 224, 3],
        "num_classes": 1000,
        "weighted_layers": layers,
        "params": params,
        "statistics": statistics,
        "macs": macs,
        "flops": 2 * macs,
        "activations": activations,
    }
    assert {key: found[key] for key in wanted} == wanted
    assert len(found["stages"]) == 8


def test_info_states_the_counts_of_an_architecture_without_building_it(call):
    _, params, _, macs, _ = COUNTS["resnet50"]
    found = json.loads(call("info", "resnet50", "--json").out)
    assert [found[key] for key in ("params", "macs", "flops")] == [params, macs, 2 * macs]
    assert "stages" not in found
    text = call("info", "resnet50").out
    assert f"{macs:,} MACs" in text
    assert "rezoo info resnet50 --layers" in text


def test_info_as_text(call):
    answer = call("info", "resnet18", "--image-size", 128, "--num-classes", 37)
    assert answer.rc == 0
    for text in ("592,", "11,195,493", "GMACs", "1 MAC, a multiply-add, is 2 FLOPs", "1512.03385"):
        assert text in answer.out


def test_info_of_data_and_recipes(call):
    digits = json.loads(call("info", "digits", "--json").out)
    assert (digits["classes"], digits["licence"]) == (10, "CC BY 4.0")
    quick = json.loads(call("info", "quick", "--json").out)
    assert quick["epochs"] == 30
    for name in ("digits", "quick"):
        assert name in call("info", name).out


def test_info_of_a_run(call, trained):
    found = json.loads(call("info", trained, "--json").out)
    assert found["architecture"] == "test_resnet"
    assert found["input_shape"] == [8, 8, 1]
    assert found["class_names"] == list("0123456789")
    assert found["preprocessing"]["mean"] == [0.5]


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", "seer-license", "apache-2.0"])
def test_info_marks_a_licence_without_commercial_use(call, tmp_path, licence):
    cfg = {"input_size": [3, 224, 224], "license": licence}
    config = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    marked = licence != "apache-2.0"
    assert json.loads(call("info", tmp_path, "--json").out)["non_commercial"] == marked
    text = " ".join(call("info", tmp_path).out.split())
    assert (f"licence {licence}, which forbids commercial use" in text) == marked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-size", "0"], "sides are 1 to 8192"),
        (["--image-size", "8193"], "sides are 1 to 8192"),
        (["--num-classes", "-1"], "num_classes: -1"),
    ],
)
def test_info_out_of_bounds(call, options, message):
    fails(call("info", "resnet18", *options), 2, message)
