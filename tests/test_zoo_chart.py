"""The chart of accuracy against cost: what is on it, whether it can be read, its files."""

from __future__ import annotations

import struct
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from conftest import fails
from rezoo.benchmarking import zoo_chart
from rezoo.benchmarking.drawing import LETTER, Disc, Line, Words, to_png, to_svg

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shapes():
    return zoo_chart.draw(zoo_chart.entries())


def test_entries_are_the_catalogue():
    found = {entry.name: entry for entry in zoo_chart.entries()}
    a1 = found["resnet50.a1_in1k"]
    assert (a1.image_size, a1.macs, a1.top1) == (288, 6_758_334_464, 0.8124)
    macs = [entry.macs for entry in zoo_chart.entries()]
    assert macs == sorted(macs)


def test_front():
    leading = zoo_chart.front(zoo_chart.entries())
    for entry in leading:
        assert not any(
            other.macs <= entry.macs and other.top1 > entry.top1 for other in zoo_chart.entries()
        )
    assert leading[-1].top1 == max(entry.top1 for entry in zoo_chart.entries())


def test_every_entry_is_drawn_and_told(shapes):
    titles = {s.title.partition(":")[0] for s in shapes if isinstance(s, Disc) and s.title}
    words = " ".join(s.text for s in shapes if isinstance(s, Words))
    for entry in zoo_chart.entries():
        assert entry.name in titles or entry.name in words
    assert "1 MAC is a multiply-add and 2 FLOPs" in words


def test_names_cover_neither_each_other_nor_discs(shapes):
    names = [s for s in shapes if isinstance(s, Words) and s.text.startswith(("resnet", "wide"))]
    assert len(names) > 20
    boxes = [(s.x - LETTER * len(s.text) / 2, s.x + LETTER * len(s.text) / 2, s.y) for s in names]
    for (a, b, y), (c, d, z) in combinations(boxes, 2):
        assert abs(y - z) >= 12 or min(b, d) <= max(a, c)
    discs = [s for s in shapes if isinstance(s, Disc) and s.title]
    hidden = [d.title for d in discs for a, b, y in boxes if a < d.x < b and abs(d.y - y) < 6]
    assert not hidden


def test_the_picture_of_the_documentation_is_current(shapes):
    """`rezoo benchmark --chart images/zoo.svg` draws it anew."""
    drawn = to_svg(zoo_chart.WIDTH, zoo_chart.HEIGHT, shapes)
    assert (ROOT / "images" / "zoo.svg").read_text("utf-8") == drawn
    root = ElementTree.fromstring(drawn)
    assert root.attrib["viewBox"] == f"0 0 {zoo_chart.WIDTH} {zoo_chart.HEIGHT}"


def test_files(call, tmp_path):
    for ending in (".svg", ".png"):
        path = tmp_path / f"zoo{ending}"
        answer = call("benchmark", "--chart", path)
        assert (answer.rc, answer.err) == (0, "")
        assert str(path) in answer.out
    image = Image.open(tmp_path / "zoo.png")
    assert image.size == (2 * zoo_chart.WIDTH, 2 * zoo_chart.HEIGHT)
    assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_png_has_the_colours_where_they_belong(tmp_path):
    shapes = [
        Disc(x=10, y=10, radius=4, colour="#d1601c"),
        Line(points=((20, 5), (20, 15)), colour="#2f5ec4", width=2),
        Words(x=30, y=10, text="M", colour="#1a2233"),
    ]
    data = to_png(40, 20, shapes)
    (tmp_path / "a.png").write_bytes(data)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert struct.unpack(">II", data[16:24]) == (80, 40)
    assert pixels[20, 20].tolist() == [0xD1, 0x60, 0x1C]
    assert pixels[20, 40].tolist() == [0x2F, 0x5E, 0xC4]
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels[:, 60:] == (0x1A, 0x22, 0x33)).all(-1).any()


@pytest.mark.parametrize(
    ("path", "rc", "message"),
    [
        ("zoo.pdf", 2, "the file must end in .png or .svg"),
        ("file/zoo.svg", 9, "cannot write"),
    ],
)
def test_bad_places(call, tmp_path, path, rc, message):
    (tmp_path / "file").touch()
    fails(call("benchmark", "--chart", tmp_path / path), rc, message)
