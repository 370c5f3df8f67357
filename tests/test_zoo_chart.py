"""The chart of published weights: its dots, its front, and the picture of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def chart():
    """Return the module of the example that draws the chart."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import draw_zoo
    finally:
        sys.path.pop(0)
    return draw_zoo


def words(path):
    """Return the texts of an SVG file, sorted."""
    texts = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return sorted("".join(text.itertext()).strip() for text in texts)


def test_entries_are_the_catalogue(chart):
    found = {entry.name: entry for entry in chart.entries()}
    a1 = found["resnet50.a1_in1k"]
    assert (a1.preprocessing.for_test().size, a1.macs, a1.top1) == (
        (288, 288),
        6_758_334_464,
        0.8124,
    )
    macs = [entry.macs for entry in chart.entries()]
    assert macs == sorted(macs)


def test_front(chart):
    entries = chart.entries()
    leading = chart.front(entries)
    for entry in leading:
        assert not any(other.macs <= entry.macs and other.top1 > entry.top1 for other in entries)
    assert leading[-1].top1 == max(entry.top1 for entry in entries)


def test_the_picture_of_the_documentation_is_current(chart, tmp_path):
    """`python examples/draw_zoo.py` draws it."""
    chart.main(str(tmp_path / "zoo.svg"))
    drawn = words(tmp_path / "zoo.svg")
    assert drawn == words(ROOT / "images" / "zoo.svg")
    leading = [entry for entry in chart.front(chart.entries()) if entry.top1 >= chart.LEAST]
    assert {chart.marked_name(entry) for entry in leading} <= set(drawn)
    marks = {"regnety_320.swag_ft_in1k": " + !", "regnety_160.lion_in12k_ft_in1k": " +"}
    assert {name + mark for name, mark in marks.items()} <= set(drawn)
    assert {"+ more training data", "! no commercial use"} <= set(drawn)
    below = [entry.name for entry in chart.entries() if entry.top1 < chart.LEAST]
    assert all(any(name in text for text in drawn) for name in below)
