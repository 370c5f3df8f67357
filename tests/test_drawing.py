"""Pictures of networks: what is read from a graph, what an SVG says, light and dark, bad input."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import keras
import pytest

from conftest import fails
from rezoo import registry
from rezoo.drawing.canvas import metric
from rezoo.drawing.outline import outline
from rezoo.drawing.picture import draw_networks, outline_of
from rezoo.errors import IncompatibleError
from rezoo.models import layers, shortcuts
from rezoo.models.profile import profile
from tiny import NETWORK, tiny_network  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = (
    "blocks",
    "failures",
    "hero",
    "macs",
    "options",
    "paths",
    "residual-block",
    "ruler",
    "side-by-side",
    "stages",
)
PHONE = 358  # pixels of a page's text on a phone 390 pixels wide


def texts(svg: str) -> list[str]:
    return [
        "".join(text.itertext()).strip() for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


def gate(x, name):
    """Multiply channels by values computed from their means, as squeeze-and-excitation does."""
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    y = layers.conv(y, 4, 1, bias=True, name=f"{name}.fc1")
    y = layers.conv(y, x.shape[-1], 1, bias=True, name=f"{name}.fc2")
    return keras.layers.Multiply(name=f"{name}.scale")([x, y])


def residual_network(*, gated: bool = False):
    """Build a stem, two stages of two blocks whose sums are an operator's, and a head."""
    pixels = keras.Input((16, 16, 3))
    x = layers.conv(pixels, 8, 3, name="first")
    for stage, width in enumerate((8, 16)):
        for block in range(2):
            name, stride = f"part{stage}.{block}", 2 if stage and not block else 1
            y = layers.conv(x, width, 3, stride=stride, name=f"{name}.a")
            y = layers.conv(y, width, 3, name=f"{name}.b")
            y = gate(y, f"{name}.gate") if gated else y
            x = y + shortcuts.projection_shortcut(x, width, stride=stride, name=name)
    return keras.Model(pixels, layers.classifier(x, 5, activation=None), name="little")


@pytest.fixture(scope="module")
def little():
    return residual_network()


def test_stages_blocks_and_shortcuts_are_read_from_the_graph(little):
    found = outline(little)
    assert [(s.role, s.size, len(s.blocks), len(s.layers)) for s in found.stages] == [
        ("stem", (16, 16), 1, 1),
        ("stage", (16, 16), 2, 4),
        ("stage", (8, 8), 2, 4),
        ("head", (1, 1), 1, 1),
    ]
    changes = [b.shortcut.changes for stage in found.stages[1:3] for b in stage.blocks]
    assert changes == [False, False, True, False]
    (projection,) = found.stages[2].blocks[0].shortcut.layers
    assert (projection.name, projection.params) == ("part1.0.downsample.0", 8 * 16)
    assert sum(s.macs for s in found.stages) == profile(little, input_shape=(16, 16, 3)).macs


@pytest.mark.ci
def test_gates_belong_to_their_block_and_count_no_layers():
    found = outline(residual_network(gated=True))
    assert [len(s.layers) for s in found.stages] == [1, 4, 4, 1]
    kinds = [[b.kind for b in block.bypasses] for block in found.stages[1].blocks]
    assert kinds == [["product", "sum"]] * 2
    assert sum(s.macs for s in found.stages) == found.profile.macs
    assert "gate" in texts(draw_networks([found], "blocks"))


def test_a_picture_has_the_counts_of_the_graph_and_is_the_same_each_time(little):
    found = outline(little)
    svg = draw_networks([found])
    assert svg == draw_networks([found])
    words = texts(svg)
    assert "1 + 4 + 4 + 1 = 10" in words
    for count in (found.profile.macs, *(s.macs for s in found.stages)):
        assert f"{metric(count)} MACs" in words
    assert f"{2 * 9 * 8 * 8:,} weights" in words  # two 3×3 at 8 channels
    dark = svg.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    used = set(re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", svg.partition("</style>")[2]))
    assert used
    assert not [colour for colour in used if f'"{colour}"' not in dark]


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_of_the_documentation_suit_phones_and_dark_pages(name):
    svg = (ROOT / "images" / f"{name}.svg").read_text("utf-8")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    sizes = [float(size) for size in re.findall(r"font: (?:[a-z0-9]+ )*([\d.]+)px", svg)]
    sizes += [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert sizes
    assert min(sizes) * PHONE / width >= 11
    dark = svg.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    used = set(re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", svg.partition("</style>")[2]))
    assert not [colour for colour in used if f'"{colour}"' not in dark]


@pytest.mark.slow
def test_layers_whose_channels_are_joined_are_side_by_side():
    pixels = keras.Input((8, 8, 3))
    x = layers.conv(pixels, 6, 3, name="first")
    one = layers.conv(x[..., :3], 3, 3, name="one")
    two = layers.conv(one + x[..., 3:], 3, 3, name="two")
    joined = keras.layers.Concatenate(name="join")([one, two, x])
    model = keras.Model(pixels, layers.classifier(joined, 5, activation=None), name="parts")
    found = outline(model)
    assert [layer.text for s in found.stages for layer in s.layers] == [
        "3×3, 6",
        "2 × (3×3, 3)",
        "fc, 5",
    ]
    assert sum(s.macs for s in found.stages) == found.profile.macs
    assert "bars side by side: their channels are joined" in texts(draw_networks([found]))


def concatenated(x):
    return keras.layers.Concatenate(name="join")(
        [layers.conv(x, 4, k, name=f"c{k}") for k in (1, 3)]
    )


def dense_block(x):
    return keras.layers.Concatenate(name="join")([layers.conv(x, 4, 3, name="c"), x])


def largest(x):
    return keras.layers.Maximum(name="join")([x, layers.conv(x, 3, 3, name="c")])


def two_branches(x):
    branches = []
    for side in "lr":
        y = layers.conv(x, 8, 3, name=f"{side}1")
        branches.append(layers.conv(y, 8, 3, name=f"{side}2"))
    return keras.layers.Add(name="join")(branches)


def nested(x):
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, layers.conv(inner, 8, 3, name="c"), name="inner")(x)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (concatenated, "join joins convolutions of several shapes"),
        (dense_block, "join adds channels to those before it"),
        (largest, "join joins branches that are not added"),
        (two_branches, "join adds branches of several convolutions"),
        (nested, "one of its layers is a model itself"),
        (keras.layers.Flatten(), "it does not begin with a convolution"),
    ],
    ids=["concatenated", "dense block", "largest", "two branches", "nested", "dense"],
)
def test_what_is_no_stack_of_stages_is_refused(build, reason):
    pixels = keras.Input((8, 8, 3))
    y = keras.layers.Flatten(name="flat")(build(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, name="fc")(y), name="odd")
    with pytest.raises(IncompatibleError, match=f"odd cannot be drawn: {reason}") as refused:
        outline(model)
    assert "convolutions follow one another" in refused.value.hint


def test_a_model_of_a_class_of_its_own_is_refused():
    class Odd(keras.Model):
        pass

    with pytest.raises(IncompatibleError, match="odd cannot be drawn: it is no functional model"):
        outline(Odd(name="odd"))


def test_draw_writes_a_file(call, tmp_path):
    file = tmp_path / "new" / "tiny.svg"
    answer = call("draw", NETWORK, NETWORK, "-o", file, "--image-size", 32)
    assert (answer.rc, answer.out.strip()) == (0, str(file))
    words = texts(file.read_text("utf-8"))
    assert words.count(NETWORK) == 2
    assert "maps of 16×16" in words
    call("draw", NETWORK, "-o", file, "--part", "ruler")  # the file is replaced
    assert f"{NETWORK}: 2 layers" in texts(file.read_text("utf-8"))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_wrong_use_of_draw(call, tmp_path):
    file = tmp_path / "a.svg"
    fails(call("draw", "resnet18"), 2, "Missing option '-o'")
    fails(call("draw", "-o", file), 2, "Missing argument 'MODEL...'")
    fails(call("draw", "resnet18", "-o", tmp_path / "a.png"), 2, "a.png", ".svg")
    fails(call("draw", "resnet19", "-o", file), 2, "resnet19", "resnet18")
    fails(call("draw", "resnet18", "-o", file, "--part", "all"), 2, "'network', 'ruler', 'blocks'")
    fails(call("draw", "resnet18", "-o", file, "--image-size", 0), 2, "sides are 1 to 8192")
    fails(call("draw", tmp_path / "nosuch", "-o", file), 3, "nosuch")
    (tmp_path / "file").write_text("")
    fails(call("draw", NETWORK, "-o", tmp_path / "file" / "a.svg"), 9, "cannot write")
    assert not file.exists()


@pytest.mark.ci
def test_an_image_that_is_too_small_for_a_network_is_refused(call, tmp_path):
    answer = call("draw", "vgg16", "-o", tmp_path / "a.svg", "--image-size", 32)
    fails(answer, 2, "vgg16 cannot be built for images of 32x32", "give a larger --image-size")


@pytest.mark.ci
def test_the_picture_of_resnet50_has_the_figures_of_the_paper(call, tmp_path):
    file = tmp_path / "resnet50.svg"
    assert call("draw", "resnet50", "-o", file).rc == 0
    words = texts(file.read_text("utf-8"))
    wanted = ("1 + 9 + 12 + 18 + 9 + 1 = 50", "50 layers", "4.09 G MACs", "69,632 weights")
    assert not set(wanted) - set(words)
    assert call("draw", "resnet34", "resnet50", "--part", "blocks", "-o", file).rc == 0
    words = texts(file.read_text("utf-8"))
    wanted = ("1,179,648 weights", "69,632 weights", "589,824", "256 channels, 14×14")
    assert not set(wanted) - set(words)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.architectures.names())
def test_every_architecture_is_drawn(name):
    spec = registry.architectures.get(name)
    shape = (spec.image_size, spec.image_size, 3)
    found = outline_of(name, input_shape=shape)
    counted = sum(len(stage.layers) for stage in found.stages)
    assert counted == found.profile.weighted_layers
    assert sum(stage.macs for stage in found.stages) == found.profile.macs
    svg = draw_networks([found])
    words = texts(svg)
    assert f"{metric(found.profile.macs)} MACs" in words
    assert f"{name}: {counted} layers" in words
    assert svg == draw_networks([found])


@pytest.mark.slow
def test_pictures_of_the_documentation_are_current(tmp_path, monkeypatch):
    """`python examples/draw_pictures.py` draws them."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    runpy.run_path(str(ROOT / "examples" / "draw_pictures.py"))["main"](str(tmp_path))
    sys.modules.pop("draw_shortcuts", None)
    drawn = sorted(tmp_path.iterdir())
    assert {path.stem for path in drawn} == {*DRAWN} - {"failures"}
    for path in drawn:
        current = (ROOT / "images" / path.name).read_text("utf-8")
        assert sorted(texts(path.read_text("utf-8"))) == sorted(texts(current)), path.name


@pytest.mark.slow
def test_the_table_of_architectures_is_that_of_the_paper():
    found = runpy.run_path(str(ROOT / "docs" / "generate.py"))["architectures_of_the_paper"]()
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found.splitlines()]
    cells = {row[0]: row[1:] for row in rows}
    assert [*cells][2:8] == ["112×112", "56×56", "28×28", "14×14", "7×7", "1×1"]
    assert cells["56×56"][2] == "3×3 max pool<br>[1×1, 64<br>3×3, 64<br>1×1, 256] ×3"
    blocks = [[cells[s][n].rpartition("×")[2] for s in [*cells][3:7]] for n in range(5)]
    depths = ["2 2 2 2", "3 4 6 3", "3 4 6 3", "3 4 23 3", "3 8 36 3"]
    assert [" ".join(numbers) for numbers in blocks] == depths
    assert cells["layers"] == ["18", "34", "50", "101", "152"]
    printed = [float(cell) for cell in cells["10⁹, as printed in the paper"]]
    for macs, paper in zip(cells["MACs"], printed, strict=True):
        assert abs(int(macs.replace(",", "")) / 1e9 - paper) < 0.06  # 3.858 is printed as 3.8
