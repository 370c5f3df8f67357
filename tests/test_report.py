"""The report of a run: its sections, what they show, and what leaves this machine."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from report_pages import HOSTILES, Elements, page_of, pictures, predictions, records
from rezoo.evaluation.report import class_views, gallery
from rezoo.evaluation.report.gallery import Gallery
from rezoo.evaluation.report.run_records import quoted
from rezoo.evaluation.report.run_report import _rounded
from rezoo.evaluation.scoring.metrics import scored
from rezoo.tasks import SINGLE_LABEL
from rezoo.training.run_folder import _predictions
from rezoo.utils.figures import COLOURS
from rezoo.utils.matrices import _STRONG, LARGEST, matrix_svg, shortened
from rezoo.utils.names import printable
from rezoo.utils.pages import for_others

WORDS = tuple(f"class {i}" for i in range(12))
ALL = (
    "Figures", "Training", "Confusions", "Classes", "Confidence", "Corruptions", "Worst mistakes",
    "Least certain", "Data", "Recipe", "Environment", "Commands",
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return predictions(WORDS)


@pytest.fixture(scope="module")
def page(found):
    return page_of(found)


def test_sections_stand_in_their_order(page):
    assert tuple(Elements(page).titles) == ALL
    links = re.findall(r'<a href="#([\w-]+)">', page)
    assert [f'id="{link}"' in page for link in links] == [True] * len(ALL)


def test_sections_without_content_are_left_out(found):
    of_run = records(found)
    probe = {**of_run.metrics, "epochs": 0, "best_epoch": 0}
    del probe["corruptions"]
    of_run = dataclasses.replace(of_run, metrics=probe, recipe={}, environment={})
    titles = Elements(page_of(found, records=of_run, gallery=Gallery())).titles
    assert titles == ["Figures", "Confusions", "Classes", "Confidence", "Data", "Commands"]


def test_corruptions_are_drawn_and_listed_with_paired_intervals(page):
    section = page[page.index('<section id="corruptions"') : page.index('<section id="worst')]
    text = " ".join(Elements(section).of("p"))
    assert "On the test split with each image corrupted, 1,000 images: top-1 at" in text
    assert "drop 20.0 pt (18.5 to 21.5 pt)" in text
    assert re.findall(r'aria-label="over the severity: ([^"]+)"', section) == [
        "top-1, blur", "top-1, digital",
    ]  # fmt: skip
    headers = Elements(section).of("th")
    assert [text for text in headers if text.strip()] == [
        "corruption", "1", "2", "3", "4", "5", "mean", "drop", "95 % interval",
        "motion blur", "jpeg",
    ]  # fmt: skip
    cells = [text for text in Elements(section).of("td") if text.strip()]
    assert cells[-2:] == ["20.0 pt", "18.0 to 22.0 pt"]


def test_multi_label_has_its_own_sections():
    found = predictions(WORDS, several=True)
    page = page_of(found)
    assert not {"Confusions", "Confidence"} & set(Elements(page).titles)
    assert "average precision" in page
    assert "mAP on val" in page.replace("</b> ", "")
    losses = [found.losses[answer.row] for answer in gallery.mistakes(found)]
    assert losses == sorted(losses, reverse=True)
    for answer in gallery.mistakes(found):
        row = answer.row
        wrong = np.abs(1 / (1 + np.exp(-found.logits[row])) - found.truth[row])
        assert found.classes[wrong.argmax()] == answer.mapped
        assert [index for index, _ in answer.truth] == np.flatnonzero(found.truth[row]).tolist()


def test_the_headline_is_the_first_figure_with_its_interval(found, page):
    top1 = f"{found.right.mean():.2%}"
    (lead,) = re.findall(r'<p class="lead">.*', page)
    assert f"<b>{top1}</b> top-1 on val, 95&nbsp;% interval" in lead


def test_a_test_split_leads_and_val_stands_beside_it(found):
    test = dataclasses.replace(found, facts={**found.facts, "split": "test"})
    of_run = records(found)
    val = {"count": 77, "loss": 0.5, "top1": 0.25, "top1_interval": [0.2, 0.3]}
    scores = {"test": {"count": len(found)}, "val": val}
    of_run = dataclasses.replace(of_run, metrics={**of_run.metrics, **scores})
    page = page_of(test, records=of_run, gallery=Gallery())
    assert "top-1 on test" in page
    assert "val, 77 images" in page
    assert "25.00% <small>(20.00% to 30.00%)" in page
    assert "rezoo eval . --split test" in page


def test_figures_of_the_classes_are_those_of_scikit_learn(found):
    rows = {row.name: row for row in class_views.class_table(found, scored(found)).shown}
    precision, recall, _, count = precision_recall_fscore_support(found.truth, found.top[:, 0])
    for i, name in enumerate(WORDS):
        row = rows[name]
        assert (row.count, row.figure, row.precision) == (
            count[i],
            f"{recall[i]:.1%}",
            f"{precision[i]:.1%}",
        )
    shares = [row.share for row in rows.values()]
    assert shares == sorted(shares)


def test_the_axes_of_the_matrix_are_named_and_rows_are_truth():
    counts = np.array([[5, 2], [0, 9]])
    drawn = matrix_svg(counts, ["cat", "dog"])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert texts == ["cat", "cat", "dog", "dog", "prediction", "truth", "5", "2", "9"]
    places = re.findall(r' x="([\d.]+)" y="([\d.]+)"[^>]*>(\d)</text>', drawn)
    x, y = ({number: float(place[i]) for *place, number in places} for i in (0, 1))
    assert y["5"] == y["2"] < y["9"]  # the upper row is that of cats, two of them taken for dogs
    assert x["5"] < x["2"] == x["9"]


@pytest.mark.ci
def test_a_matrix_is_drawn_up_to_a_number_of_classes():
    names = tuple(f"name {i}" for i in range(LARGEST))
    assert page_of(predictions(names)).count("Confusion matrix:") == 1
    many = predictions(tuple(f"name {i}" for i in range(1000)), 3000)
    page = page_of(many)
    assert "Confusion matrix:" not in page
    table = page[page.index("Most confused pairs") : page.index('<h2 id="classes-title"')]
    assert table.count('<th scope="row">') == class_views.MOST_PAIRS
    assert "950 more classes" in page


def test_texts_in_the_matrix_are_readable_on_each_cell():
    """The relative luminance and the contrast are those of WCAG 2.2."""

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))

    def rgb(text):
        return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])

    for ink, paper in (("#1a2233", "#ffffff"), ("#e3e7ef", "#12161f")):
        for colour in COLOURS[:2]:
            cell = _STRONG * rgb(colour) + (1 - _STRONG) * rgb(paper)
            low, high = sorted((luminance(cell), luminance(rgb(ink))))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_mistakes_and_uncertain_images(found):
    wrong, unsure = gallery.mistakes(found), gallery.least_certain(found)
    assert len(wrong) == len(unsure) == gallery.MOST
    assert not any(answer.right for answer in wrong)
    losses = found.losses[[answer.row for answer in wrong]]
    assert (np.diff(losses) <= 0).all()
    assert losses.min() >= np.sort(found.losses[~found.right])[-gallery.MOST]
    sure = [answer.given[0][1] for answer in unsure]
    assert sure == sorted(sure)
    some = unsure[0]
    exact = np.exp(found.logits[some.row].astype(float))
    assert sure[0] == pytest.approx((exact / exact.sum()).max())


def test_without_mistakes_there_are_none():
    perfect = predictions(WORDS, spread=1e-3)
    perfect = perfect.at(perfect.right)
    page = page_of(
        perfect, gallery=Gallery(least_certain=pictures(perfect.at(np.arange(1))).least_certain)
    )
    assert "Worst mistakes" not in page
    assert "Most confused pairs" not in page
    assert "Least certain" in page


def test_without_logits_there_is_no_confidence(found):
    bare = dataclasses.replace(found, logits=found.logits[:, :0])
    titles = Elements(page_of(bare, gallery=Gallery())).titles
    assert "Confidence" not in titles
    assert "Confusions" in titles


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1e-6, "<1%"), (0.3, "30%"), (0.994, "99%"), (0.9951, ">99%"), (1, "100%")],
)
def test_only_what_is_certain_is_0_or_100_percent(share, text):
    assert _rounded(share) == text


def test_names_stay_names(page):
    """A page with hostile names has the elements of one with harmless names."""
    found = predictions(WORDS)
    hostile = dataclasses.replace(
        found,
        labels=HOSTILES,
        keys=tuple(key.replace("class", HOSTILES[i % 12]) for i, key in enumerate(found.keys)),
    )
    strange = page_of(hostile)
    ours, theirs = Elements(strange), Elements(page)
    assert ours.tags == theirs.tags
    assert ours.titles == theirs.titles
    names = {class_views.one_line(name) for name in HOSTILES}
    assert names <= set(ours.of("bdi"))
    assert len(names) == len(HOSTILES)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\ud800-\udfff]", strange)
    assert strange.encode()
    assert "Worst mistakes" not in for_others(strange.encode()).decode()


def test_texts_of_records_stay_texts(found):
    def with_texts(texts):
        of_run = records(found)
        text = texts[0]
        metrics = {
            **of_run.metrics,
            "warnings": texts,
            "data": {"name": text, "licence": text, "private": True},
        }
        environment = {"python": text, "devices": texts, "packages": dict.fromkeys(texts, text)}
        config = dataclasses.replace(of_run.config, architecture=text)
        values = {"config": config, "metrics": metrics, "environment": environment}
        of_run = dataclasses.replace(of_run, **values)
        return page_of(found, records=of_run, gallery=Gallery(), notes=texts)

    harmless = Elements(with_texts([f"word {i}" for i in range(len(HOSTILES))]))
    strange = with_texts(list(HOSTILES[::-1]))
    assert Elements(strange).tags == harmless.tags
    assert strange.encode()
    for text in HOSTILES:
        assert class_views.one_line(text, most=1000) in Elements(strange).of("li")


def test_what_differs_from_the_recipe_is_shown_and_the_rest_is_folded(found, page):
    start = page.index('id="recipe-title"')
    shown, folded = page[start : page.index('id="environment-title"')].split("<details>")
    assert "What differs from the recipe quick" in shown
    assert {"epochs", "seed"} == set(re.findall(r"<code>(\w+)</code>", shown))
    assert re.findall(r"<code>(\w+)</code>", folded) == ["flip"]
    of_run = records(found, recipe={"name": "mine", "epochs": 90, "seed": 1})
    what, differing, others = of_run.settings()
    assert what == "the default values"
    assert [setting.key for setting in differing] == ["seed"]
    assert [setting.key for setting in others] == ["epochs"]


@pytest.mark.parametrize("text", [*HOSTILES, "", "a b", "it's", "a\\'b\nc", "$(touch x)", "~/a*?"])
def test_words_of_commands_are_those_of_the_shell(text):
    word = quoted(text)
    assert "\n" not in word
    assert printable(word) == word
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == text.encode("utf-8", "surrogateescape")


def test_commands_repeat_the_run(found):
    of_run = records(found)
    texts = [command.text for command in of_run.commands("val")]
    data = "--dataset folder:/home/me/pictures"
    assert texts == [
        "cd '/home/me/my runs/it'\"'\"'s'",
        f"rezoo train resnet18 {data} --recipe recipe.toml --output ../again",
        "rezoo eval . --split val",
        "rezoo verify .",
    ]
    options = {"on_bad_image": "error", "bad_limit": 0.01, "ignore": "", "cache": "auto"}
    start = {"dataset": "digits", "source": "hf://a/b@c", "options": options, "deterministic": True}
    metrics = {**of_run.metrics, "data": {"private": False}}
    public = dataclasses.replace(of_run, start=start, metrics=metrics).commands("test")
    assert [command.private for command in public] == [True, False, False, False]
    assert "--deterministic --on-bad-image error --recipe" in public[1].text
    assert public[2].text == "rezoo eval . --dataset digits --split test"
    assert len(dataclasses.replace(of_run, start={}).commands("val")) == 3


def test_what_stays_on_this_machine(found):
    page = page_of(found, notes=["ignore.txt is /home/me/ignore.txt"])
    assert "/home/me/my runs" in page
    assert page.count("data:image/jpeg") == 4 * gallery.MOST
    assert all(key in page for key in (found.keys[a.row] for a in gallery.mistakes(found)))
    sent = for_others(page.encode()).decode()
    assert "/home/me" not in sent
    assert "data:image" not in sent
    assert ".jpg" not in sent
    assert "Worst mistakes" not in sent
    assert "Confusion matrix" in sent
    assert for_others(sent.encode()) == sent.encode()
    kept = Elements(sent)
    private = ("Worst mistakes", "Least certain")
    assert kept.titles == [title for title in ALL if title not in private]


def test_photographs_that_may_be_shared_are_pushed(found):
    page = page_of(found, shareable=True)
    sent = for_others(page.encode()).decode()
    assert sent.count("data:image/jpeg") == 4 * gallery.MOST
    assert "leaves this section out" not in page


def test_no_scripts_and_a_strict_policy(page):
    tags = [tag[0] for tag in Elements(page).tags]
    assert not {"script", "link", "iframe", "object", "form"} & set(tags)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.split("; ")[0] == "default-src 'none'"
    assert "script-src" not in policy
    assert not re.search(r"(?:src|href)=\"(?!#|data:image/jpeg;base64,)", page)


@pytest.mark.ci
def test_the_size_is_bounded():
    """Images of noise, and 1000 classes with long names that must be escaped."""
    names = tuple(f"{'<' * 900}{i}" for i in range(1000))
    noisy = predictions(names, 3000)
    page = page_of(noisy, gallery=pictures(noisy, noise=100))
    assert len(page.encode()) < 6_000_000


def test_a_long_text_is_cut():
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
    assert shortened("ab cd", 4) == "ab…"


def test_the_report_of_a_run(trained):
    """The images of digits may be shared; at 8 pixels there is no activation map."""
    page = (trained / "report.html").read_text("utf-8")
    parts = Elements(page)
    assert [title for title in ALL if title not in parts.titles] == ["Corruptions"]
    assert page.count("data:image/jpeg") == 2 * gallery.MOST
    metrics = json.loads((trained / "metrics.json").read_text())
    assert f"{metrics['val']['top1']:.2%}" in page
    assert f"cd {quoted(str(trained.parent))}" not in page
    assert "rezoo train test_resnet --dataset digits --recipe recipe.toml" in page
    assert b"data:image/jpeg" in for_others(page.encode())


def test_a_network_without_finite_logits_does_not_fail_the_run(found, tmp_path):
    """Its scores are recorded; there are only no probabilities."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    broken = np.where(found.logits > 5, np.nan, found.logits)
    examples = SimpleNamespace(key=lambda i: found.keys[i])
    setup = SimpleNamespace(
        task=SINGLE_LABEL,
        validation_batches=[(broken, found.truth)],
        data=SimpleNamespace(reference="digits"),
        config=records(found).config,
        val=SimpleNamespace(examples=examples, readable=lambda: np.arange(len(found))),
    )
    predicted = _predictions(tmp_path, setup, lambda images: images)
    assert predicted.logits.shape == (len(found), 0)
    assert predicted.keys == found.keys
    assert predicted.facts["split"] == "val"
    assert "Confusions" in Elements(page_of(predicted, gallery=Gallery())).titles
