"""The table of differences from timm goes on where it stopped, and its exit status is honest."""

import json
import runpy
import sys
from pathlib import Path

import keras
import pytest

from peers import import_timm

SCRIPT = Path(__file__).parents[1] / "examples" / "parity_table.py"


@pytest.fixture
def table(monkeypatch, tmp_path, capsys):
    """Run the script on a file of results: `table(rows, *names)` returns its status and output."""
    file = tmp_path / "results.jsonl"

    def run(rows, *names):
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *names, "--results", str(file)])
        monkeypatch.syspath_prepend(str(SCRIPT.parents[1] / "tests"))
        status = runpy.run_path(str(SCRIPT))["main"]()
        return status, capsys.readouterr().out, file.read_text().splitlines()

    return run


def row(name, size, difference, **more):
    found = {"architecture": name, "backend": keras.config.backend(), "size": size}
    return {**found, "difference": difference, "seconds": 2.0, **more}


def test_a_network_may_differ_by_three_times_the_rounding_of_torch(table):
    sizes = ("224x224", "225x193")
    close = [row("resnetv2_50x1_bit", size, 3e-5, rounding=2e-5) for size in sizes]
    status, out, lines = table(close, "resnetv2_50x1_bit")
    assert (status, len(lines)) == (0, 2)  # nothing was compared
    assert "| resnetv2_50x1_bit | 3.0e-05 (torch 2.0e-05) | 3.0e-05 (torch 2.0e-05) |" in out
    assert "1 of 1 networks, in 4 processor seconds\nabove 1e-05: resnetv2_50x1_bit; " in out
    assert "at most 1.5 times torch's own rounding" in out
    far = [row("resnetv2_50", size, 3e-5) for size in sizes]
    status, out, _ = table([*close, *far], "resnetv2_50")
    assert status == 1
    assert f"too large: {json.dumps(far[0])}" in out
    assert "bit" not in out


@pytest.mark.slow
def test_only_what_is_missing_is_compared(table):
    import_timm()
    known = row("test_resnet", "224x224", 1e-7)
    status, out, lines = table([known], "test_resnet")
    assert status == 0
    assert [json.loads(line)["size"] for line in lines] == ["224x224", "225x193"]
    assert json.loads(lines[0]) == known
    assert json.loads(lines[1])["difference"] <= 1e-6
    assert "1 of 1 networks" in out
