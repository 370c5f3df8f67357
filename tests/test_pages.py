"""Templates escape every value; charts and cards are the same each time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rezoo.artifacts.card import model_card
from rezoo.errors import IntegrityError
from rezoo.evaluation.report import curves
from rezoo.tasks import SINGLE_LABEL
from rezoo.training.run_folder import write_history
from rezoo.utils import figures
from rezoo.utils.files import write_json
from rezoo.utils.pages import code, plain, render

LINES = (figures.Line(((1, 0.5), (2, 0.25)), "train"), figures.Line(((1, 0.4), (2, 0.3)), "val"))
CHART = figures.Chart("loss", LINES)
HOSTILE = "[x](http://evil.example) | <script> `a`\n# b"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b*c", "a\\_b\\*c"),
        ("a | b", "a \\| b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("line\nbreak", "line break"),
        ("\x1b[31m", "\N{REPLACEMENT CHARACTER}\\[31m"),
        ("https://a.b", "https\\://a.b"),
        ("www.a.b", "www\\.a.b"),
        (":joy:", "\\:joy:"),
        (3.5, "3.5"),
    ],
)
def test_plain(text, escaped):
    assert plain(text) == escaped


def test_code():
    assert code("a|b `c`\nd") == "`a\\|b 'c' d`"
    assert code("") == ""


def test_values_in_html_are_escaped():
    page = render("sheet.svg", title="<script>", charts=[], width=1, height=1)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_hostile_records_stay_text_in_the_card(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["images"] = {HOSTILE: 5}
    metrics["best_epoch"] = HOSTILE
    metrics["test"] = {**metrics["val"], "measured_utc": "](http://evil.example)"}
    write_json(run / "metrics.json", metrics)
    environment = json.loads((run / "environment.json").read_text())
    environment |= {"cpus": HOSTILE, "devices": [HOSTILE], "packages": {HOSTILE: HOSTILE}}
    write_json(run / "environment.json", environment)
    body = model_card(run).split("\n---\n", 1)[1]
    assert not re.search(r"(?<!\\)\]\(", body)
    assert "<script" not in body
    assert "\n# b" not in body
    assert body.count("\\[x\\]") >= 5


def test_records_of_another_kind_are_an_error(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    for change in ({"images": {"train": "many"}}, {"val": {"top1": 0.5}}, {"data": {"name": "x"}}):
        write_json(run / "metrics.json", metrics | change)
        with pytest.raises(IntegrityError, match="are damaged"):
            model_card(run)


DRAW = """
import sys
from rezoo.utils.figures import Chart, Line, draw
lines = (Line(((1, 0.5), (2, 0.25)), "train"), Line(((1, 0.4), (2, 0.3)), "val"))
sys.stdout.write(draw(Chart("loss", lines)))
assert "matplotlib.pyplot" not in sys.modules
"""


def test_charts_do_not_depend_on_the_process_or_on_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 30\ntext.usetex: True\n")
    command = [sys.executable, "-c", DRAW]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == figures.draw(CHART)


def test_charts_leave_the_settings_of_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.draw.cache_clear()
    drawn = figures.draw(CHART)
    assert dict(matplotlib.rcParams) == before
    assert drawn.count("currentColor") > 10  # readable on light and on dark pages
    assert "<script" not in drawn


def test_curves_are_drawn_every_half_minute(tmp_path):
    path = tmp_path / "curves.svg"
    setup = SimpleNamespace(
        config=SimpleNamespace(architecture="resnet18"),
        recipe=SimpleNamespace(epochs=3),
        task=SINGLE_LABEL,
    )
    rows = [
        {"epoch": 1, "val_loss": 2.0, "wall_time_s": 20.0},
        {"epoch": 2, "val_loss": 1.0, "wall_time_s": 40.0},
        {"epoch": 3, "val_loss": 0.5, "wall_time_s": 59.0},
    ]
    write_history(tmp_path, setup, rows[:1])
    assert not path.exists()
    write_history(tmp_path, setup, rows[:2])
    assert path.read_bytes() == curves("resnet18, 3 epochs", SINGLE_LABEL, rows[:2])
    write_history(tmp_path, setup, rows)
    assert path.read_bytes() == curves("resnet18, 3 epochs", SINGLE_LABEL, rows[:2])
