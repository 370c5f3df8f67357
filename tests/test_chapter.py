"""The chapter on residual networks and its lesson: code runs, commands print the figures."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rezoo.cli.main import cli
from rezoo.registry import architectures

CONCEPTS = Path(__file__).parents[1] / "docs" / "concepts"
PAGES = ("residual-networks.md", "from-vgg-to-resnet50.md", "relatives.md")
LESSON = "../guides/lesson.md"
PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
BASH = re.compile(r"^```bash\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"\d{1,3}(?:,\d{3})+")


def content(page):
    return (CONCEPTS / page).read_text("utf-8")


@pytest.mark.ci
@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs_and_prints_the_text_below_it(page):
    blocks, names = PYTHON.findall(content(page)), {}
    assert blocks
    for code, text in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        assert printed.getvalue() == text


def commands():
    """Return the commands that have figures in a comment, beside them or on the line above."""
    above: list[str] = []
    for line in "\n".join(
        code for page in (*PAGES, LESSON) for code in BASH.findall(content(page))
    ).split("\n"):
        command, _, comment = line.partition("#")
        figures = FIGURE.findall(comment)
        if command.strip() and (figures or above):
            mark = pytest.mark.slow if "--layers" in command else ()  # they build the network
            yield pytest.param(command.strip(), figures or above, marks=mark, id=command.strip())
        above = figures if not command else []


@pytest.mark.ci
@pytest.mark.parametrize(("command", "figures"), list(commands()))
def test_the_command_prints_the_figures_beside_it(command, figures):
    program, *arguments = shlex.split(command)
    assert program == "rezoo"
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert [figure for figure in figures if figure not in done.output] == []


def test_the_table_of_costs_has_the_counts_of_the_networks():
    text = content("from-vgg-to-resnet50.md")
    counts = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    assert len(counts) == 7
    for name, params, macs in counts:
        spec = architectures.get(name)
        assert (f"{spec.params:,}", f"{spec.macs:,}") == (params, macs), name
