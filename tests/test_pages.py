"""Templates escape every value; charts and cards are the same each time."""

from __future__ import annotations

import html.parser
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tomli_w
import yaml
from markdown_it import MarkdownIt

from rezoo.artifacts.card import model_card
from rezoo.errors import IncompatibleError, IntegrityError
from rezoo.evaluation.report.training_curves import curves
from rezoo.tasks import SINGLE_LABEL
from rezoo.training.run_folder import write_history
from rezoo.utils import figures
from rezoo.utils.files import write_bytes, write_json
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
        ("- item", "\\- item"),
        ("12. item", "12\\. item"),
        ("3) item", "3\\) item"),
        ("3 of 4", "3 of 4"),
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


HOSTILES = (
    HOSTILE,
    "a: b",
    "---",
    "===",
    "- item",
    "+ item",
    "12. item",
    "3) item",
    "> quote",
    "# head",
    "    indented",
    "```\nfence",
    "`code`",
    "!!python/object:os.system",
    "![x](y)",
    "[a]: http://evil.example",
    "](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "</details></summary>",
    "<!-- hidden -->",
    "--> <b>",
    "a || b | c",
    "\\| \\` \\",
    "**bold** __it__ ~~gone~~ $x$ ^1^",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred",
    "\u202ereversed\u2028line",
    "&lt;b&gt; &#60;",
    "https://evil.example www.evil.example :joy: <https://evil.example>",
)


def records_with(run, text, tmp_path):
    """Return a copy of a run that has a text wherever its records may have one."""
    run = shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config |= {"label_names": [f"{text} {i}" for i in range(10)], "architecture": text}
    config["label_names"][0] = text
    config["base_model"] = {"repo": "a/b", "commit": "0" * 40, "licence": text}
    config["pretrained_cfg"] |= {"license": text, "tag": text}
    write_json(run / "config.json", config)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["data"] = {"name": text, "licence": text, "hub_id": text, "private": False}
    metrics["images"] = {text: 5}
    wrong = {"name": text, "count": 2, "right": 1, "taken_for": [{"name": text, "count": 1}]}
    metrics["val"]["worst_classes"] = [wrong]
    metrics["test"] = {**metrics["val"], "measured_utc": "2026-01-31T12:00:00+00:00"}
    write_json(run / "metrics.json", metrics)
    environment = {"cpus": 2, "devices": [text], "packages": {text: text}}
    write_json(run / "environment.json", environment)
    write_bytes(run / "recipe.toml", tomli_w.dumps({text: text, "list": [text]}).encode())
    return run


class Structure(html.parser.HTMLParser):
    """The elements and attributes of a page, in their order, without its texts."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, attrs))

    def handle_endtag(self, tag):
        self.seen.append(tag)

    def handle_comment(self, data):
        self.seen.append(data)


def shape(value):
    """Return JSON values without their texts."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@pytest.fixture(scope="module")
def harmless(finished_run, tmp_path_factory):
    return model_card(records_with(finished_run, "word", tmp_path_factory.mktemp("harmless")))


@pytest.mark.parametrize("hostile", HOSTILES, ids=lambda text: repr(text[:12]))
def test_texts_of_records_stay_texts_in_the_card(finished_run, harmless, tmp_path, hostile):
    """A card with a hostile text has the structure of one with a harmless text."""
    card = model_card(records_with(finished_run, hostile, tmp_path))
    wanted, found = (text.split("\n---\n", 1) for text in (harmless, card))
    head = yaml.safe_load(found[0].removeprefix("---\n"))
    assert shape(head) == shape(yaml.safe_load(wanted[0].removeprefix("---\n")))
    assert head["datasets"] == [hostile]
    assert Structure(found[1]).seen == Structure(wanted[1]).seen
    assert "\x1b" not in found[1]
    assert "\u202e" not in found[1]


def changed(name, **values):
    """Return a change of some keys of a JSON file, `split__key` for a key of a split."""

    def change(run):
        content = json.loads((run / name).read_text())
        for key, value in values.items():
            *path, last = key.split("__")
            place = content
            for part in path:
                place = place[part]
            place[last] = value
            if value is None:
                del place[last]
        write_json(run / name, content)

    return change


def copied(name, key, other):
    """Return a change that gives a key of a JSON file the value of another."""

    def change(run):
        content = json.loads((run / name).read_text())
        write_json(run / name, {**content, other: content[key]})

    return change


M, E, C = "metrics.json", "environment.json", "config.json"
SIZE = {"name": "x", "count": -1, "right": 0, "taken_for": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(M, images={"train": "many"}), "key images.train is 'many'; it must be an integer"),
        (changed(M, images=None), "key images is missing"),
        (changed(M, images={"x" * 2000: 1}), "key name in images is 'xxx"),
        (changed(M, val={"top1": 0.5}), "key val.count is missing"),
        (changed(M, val=3), "key val is 3; it must be an object"),
        (changed(M, val__top1=True), "key val.top1 is True; it must be a number from 0 to 1"),
        (changed(M, val__top1=1e300), "key val.top1 is 1e+300; it must be a number from 0 to 1"),
        (changed(M, val__top1=None), "key val.top1 is missing"),
        (changed(M, val__top1_interval=[0.5]), "val.top1_interval is [0.5]; it must be two"),
        (changed(M, val__measured_utc="](x)"), "val.measured_utc is '](x)'; it must be a date"),
        (changed(M, val__worst_classes=[SIZE]), "key val.worst_classes[0].count is -1"),
        (changed(M, val__worst_classes=[{}]), "key val.worst_classes[0].name is missing"),
        (copied(M, "val", "test"), "key test.measured_utc is missing"),
        (changed(M, data={"name": "x"}), "key data.licence is missing"),
        (changed(M, data=["x"]), "key data is ['x']; it must be an object"),
        (changed(M, best_epoch=HOSTILE), "key best_epoch is '[x](http://e"),
        (changed(M, epochs=None), "key epochs is missing"),
        (changed(M, wall_time_s="1"), "key wall_time_s is '1'; it must be a number"),
        (changed(M, num_classes=5), "key num_classes is 5; config.json says 10"),
        (changed(M, multi_label=True), "key val.map is missing"),
        (changed(E, cpus=HOSTILE), "key cpus is '[x](http://e"),
        (changed(E, devices="gpu"), "key devices is 'gpu'; it must be a list"),
        (changed(E, devices=["gpu"] * 2000), "key devices is ['gpu', "),
        (changed(E, packages={"a": 1}), "key packages.a is 1; it must be a text"),
        (changed(C, base_model={"repo": "](http://evil)"}), "base_model: key repo is '](http"),
        (changed(C, base_model={"commit": "main"}), "base_model: key commit is 'main'"),
        (changed(C, base_model="x"), "base_model: the document is 'x'; it must be an object"),
        (changed(C, architecture="x" * 2000), "key 'architecture' has 2,000 characters"),
        (changed(C, label_names=["x" * 2000] * 10), "a class name has over 1,000 characters"),
        (changed(C, label_descriptions=[1] * 10), "label_descriptions must be a list of texts"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_values_of_another_kind_are_named(finished_run, tmp_path, change, message):
    run = shutil.copytree(finished_run, tmp_path / "run")
    change(run)
    with pytest.raises(IncompatibleError) as refused:
        model_card(run)
    assert message in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("history.csv", "epoch,x\n1," + "a" * 200_000, "field larger than field limit"),
        ("history.csv", "epoch,x\n\xe9,1".encode("latin-1"), "history.csv is damaged: 'utf-8'"),
        ("history.csv", "loss\n1\n", "line 2: epoch is None; it must be an integer"),
        ("history.csv", "epoch\n1\none\n", "line 3: epoch is 'one'; it must be an integer"),
        ("metrics.json", "[" * 10_000, "is not valid JSON: it has more than 32 levels"),
        ("environment.json", b'{"devices": ["\xff"]}', "line 1 is not UTF-8"),
        ("recipe.toml", "a = 2026-01-01", "key a is datetime.date(2026, 1, 1); it must be a text"),
        ("recipe.toml", "a = {b = 1}", "key a is {'b': 1}; it must be a text"),
        ("recipe.toml", "a = [[1]]", "key a is [[1]]; it must be a text"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_records_that_are_damaged(finished_run, tmp_path, name, content, message):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((IntegrityError, IncompatibleError)) as refused:
        model_card(run)
    assert message in refused.value.message
    assert name in refused.value.message


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
