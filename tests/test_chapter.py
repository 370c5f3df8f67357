"""The chapter on residual networks: its code runs, and its commands print its figures."""

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
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"\d{1,3}(?:,\d{3})+")


def blocks(page):
    return BLOCK.findall((CONCEPTS / page).read_text("utf-8"))


@pytest.mark.ci
@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs_and_prints_the_text_below_it(page):
    found, names = blocks(page), {}
    ran = 0
    for (language, code), (below, text) in zip(found, [*found[1:], ("", "")], strict=True):
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, page, "exec"), names)
            assert printed.getvalue() == (text if below == "text" else "")
            ran += 1
    assert ran


def commands(page):
    for language, code in blocks(page):
        if language == "bash":
            for line in code.splitlines():
                command, _, comment = line.partition("#")
                if figures := FIGURE.findall(comment):
                    yield command.strip(), figures


@pytest.mark.ci
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_print_the_figures_beside_them(page):
    checked = 0
    for command, figures in commands(page):
        program, *arguments = shlex.split(command)
        assert program == "rezoo"
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        for figure in figures:
            assert figure in done.output, command
            checked += 1
    assert checked


def test_the_table_of_depths_has_the_counts_of_the_networks():
    text = (CONCEPTS / PAGES[1]).read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)`.* \| ([\d,]+) \| ([\d,]+) \| [\d.]* ?\|$", text, re.MULTILINE)
    assert len(rows) == 7
    for name, params, macs in rows:
        spec = architectures.get(name)
        assert (f"{spec.params:,}", f"{spec.macs:,}") == (params, macs), name
