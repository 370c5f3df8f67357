"""The table of other tools' counts in docs/guides/benchmark.md, measured with the tools."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from peers import import_timm, timm_network

ROOT = Path(__file__).parents[1]
NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@pytest.fixture(scope="module")
def example():
    """Return the script that makes the table."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import count_as_others
    finally:
        sys.path.pop(0)
    return count_as_others


@pytest.fixture
def torch_networks(monkeypatch):
    """Replace the networks of torchvision, which is not installed here, by timm's."""
    import_timm()
    import torch
    import torchvision

    def network(name):
        model = timm_network(name).eval()
        # torchvision has a module for the last pooling, which ptflops and THOP count
        model.global_pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(1))
        return model

    monkeypatch.setattr(torchvision.models, "get_model", network, raising=False)


def documented():
    """Return tool → unit, the five counts, and the description."""
    text = (ROOT / "docs" / "guides" / "benchmark.md").read_text("utf-8")
    section = text.partition("### Counts of other tools")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (MACs|FLOPs) \|(.+)\| (.+) \|$", section, re.MULTILINE)
    return {tool: (unit, counts.split("|"), why) for tool, unit, counts, why in rows}


def assert_documented(example, tool, name):
    (row,) = [row for row in example.TOOLS if row.name == tool]
    unit, counts, counted = documented()[tool]
    assert (unit, counted) == (row.unit, row.counted)
    try:
        found = row.count(name)
    except ImportError as error:
        pytest.skip(str(error))
    assert f"{found / 1e9:.3f}" == counts[NETWORKS.index(name)].strip()


def test_the_table_has_all_tools(example):
    assert list(documented()) == [tool.name for tool in example.TOOLS]


OWN = (
    "rezoo",
    pytest.param("TensorFlow's profiler", marks=pytest.mark.ci),
    "He et al. 2015, table 1",
)


@pytest.mark.parametrize("tool", OWN)
@pytest.mark.parametrize(
    "name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])]
)
def test_counts_of_rezoos_networks(example, tool, name):
    assert_documented(example, tool, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("torch_networks")
@pytest.mark.parametrize(
    "tool",
    ["torch's `FlopCounterMode`", "fvcore, timm", "ptflops, aten", "ptflops, pytorch", "THOP"],
)
@pytest.mark.parametrize(
    "name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])]
)
def test_counts_of_torchs_networks(example, tool, name):
    assert_documented(example, tool, name)


@pytest.mark.filterwarnings("ignore")
def test_activations_are_those_of_fvcore(torch_networks, example):
    fvcore = pytest.importorskip("fvcore.nn")
    from test_info import COUNTS

    analysis = fvcore.ActivationCountAnalysis(example.torch_network("resnet18"), example.images())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert analysis.total() == COUNTS["resnet18"][-1]
