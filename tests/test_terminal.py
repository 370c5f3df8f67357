"""What a terminal shows: spinners, bars and the lines between them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from rezoo.cli import console
from rezoo.cli.progress import LiveDisplay, reporter
from rezoo.recipes.recipe import Recipe
from rezoo.training.reporters import Plan

WARNS = """
import time, warnings
from rezoo.cli import console, main
from rezoo.errors import DataWarning
warnings.showwarning = main._show_warning
with console.status("opening"):
    time.sleep(0.3)  # until the spinner is drawn
    warnings.warn(DataWarning("the first"))
with console.counter("evaluating") as progress:
    progress(3, 10)
    warnings.warn(DataWarning("the second"))
"""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_warning_does_not_share_its_line_with_a_spinner_or_a_bar():
    leader, follower = os.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", WARNS], stderr=follower, env=env, check=True, timeout=60)
    os.close(follower)
    shown = b""
    while chunk := _read(leader):
        shown += chunk
    os.close(leader)
    for text in (b"Warning: the first", b"Warning: the second"):
        line = re.split(rb"[\r\n]", shown.partition(text)[0])[-1]
        assert text in shown
        assert re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", line) == b""
    assert b"opening" in shown.partition(b"Warning")[0]


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # nobody writes any more
        return b""


def bars(width, monkeypatch, *, epochs=100, at=(0, 0), steps=1234, figures=()):
    """Return the lines that a run's display leaves on a terminal of some width."""
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=width, color_system=None)
    shown = LiveDisplay(terminal)
    recipe = Recipe(name="quick", epochs=epochs, summary="a summary that is long " * 5)
    plan = Plan(
        model="resnet18", dataset="digits", recipe=recipe, recipe_reason="", folder="runs/a",
        steps_per_epoch=steps, sizes={"train": 1000}, classes=("a", "b"), class_counts={}, notes=(),
    )  # fmt: skip
    shown.started(plan, *at)
    for epoch, step in figures:
        values = {"loss": 0.123, "gradient_norm": 12.3, "learning_rate": 0.001}
        shown.step(epoch, step, {**values, "images_per_s": 12345.0, "top1": 0.5})
    shown.finished()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("width", [70, 100, 200])
def test_a_narrow_terminal_leaves_out_whole_figures(monkeypatch, width):
    lines = bars(width, monkeypatch, figures=[(99, 1234)])
    run, epoch = lines[-2:]
    assert max(map(len, lines)) <= width
    assert "…" not in run + epoch
    assert "123400/123400 epoch 100" in run
    assert "1234/1234" in epoch
    assert "loss 0.123" in epoch
    assert ("grad norm 12" in run) == ("12345 img/s" in epoch) == (width > 70)
    assert "a summary that is long" in " ".join(lines)


def test_a_run_without_steps_leaves_no_word_of_them(monkeypatch):
    for at in ((0, 0), (100, 0)):  # an error before the first step; a finished run
        lines = bars(80, monkeypatch, at=at)
        assert "compiling" not in lines[-1] + lines[-2]
    assert not any(
        line.startswith(("run ", "epoch ")) for line in bars(80, monkeypatch, at=(100, 0))
    )


class Stream(io.StringIO):
    """A stream that is a terminal or not."""

    encoding = "utf-8"

    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


def test_a_counter_shows_no_count_before_it_is_known(monkeypatch):
    stream = Stream(True)
    monkeypatch.setattr("sys.stderr", stream)
    terminal = Console(file=stream, force_terminal=True, width=70, color_system=None)
    monkeypatch.setattr(console, "open_console", lambda stderr: terminal)
    with console.counter("evaluating") as progress:
        progress(0, 0)
        progress(7, 1000)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "0/0" not in text
    assert "?" not in text
    assert "7/1,000" in text


@pytest.mark.parametrize("width", [40, 70, 100, 200])
def test_a_table_cuts_the_summary_and_no_number(monkeypatch, width):
    stream = io.StringIO()
    narrow = Console(file=stream, width=width)
    monkeypatch.setattr(console, "open_console", lambda: narrow)
    rows = [
        {
            "name": f"seresnext101d_32x8d.ah_in1k_{i}",
            "top-1": "84.36 %",
            "params": "93.6M",
            "px": 288,
            "summary": "squeeze and excitation, deep stem, pooled shortcuts, groups",
            "hardware": "68 TPU-v3-core-hours-on-a-machine-with-a-long-name",
        }
        for i in range(3)
    ]
    console.table("", rows)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for i in range(3):
        assert f"seresnext101d_32x8d.ah_in1k_{i}" in text
    for cell in ("84.36 %", "93.6M", "288"):
        assert text.count(cell) == (3 if width >= 70 else 0)
    assert ("squeeze" in text) == (width >= 100)
    assert ("pooled shortcuts, groups" in text) == (width == 200)
    assert text.count("68 TPU-v3-core-hours-on-a-machine-with-a-long-name") == 3 * (width == 200)
    assert ("a wider terminal also shows: " in text) == (width < 100)


ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9]")


@pytest.mark.parametrize(
    ("tty", "variables", "styles", "colours", "live"),
    [
        (False, {}, False, False, False),
        (False, {"FORCE_COLOR": "1"}, True, True, False),  # in the log of a build
        (False, {"TTY_COMPATIBLE": "1"}, True, True, False),
        (True, {}, True, True, True),
        (True, {"NO_COLOR": "1"}, True, False, True),
        (True, {"TERM": "dumb"}, False, False, False),
        (True, {"TTY_COMPATIBLE": "0"}, False, False, False),
    ],
    ids=str,
)
def test_variables_decide_on_colours_and_the_stream_on_bars(
    monkeypatch, tty, variables, styles, colours, live
):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    out, err = Stream(tty), Stream(tty)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    console.lines("a heading", style="bold red")
    assert bool(ESCAPE.search(out.getvalue())) == styles
    assert bool(COLOURS.search(out.getvalue())) == colours
    with console.status("starting"), console.counter("counting") as progress:
        progress(1, 2)
    assert bool(err.getvalue()) == live
    assert isinstance(reporter(), LiveDisplay) == live
