"""The report in a real browser: layout, console, keyboard, what screen readers are told."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import pytest

from browser import COLOURS, running
from report_pages import HOSTILES, Elements, page_of, predictions, records

pytestmark = pytest.mark.ci
BREEDS = tuple(f"a breed with a long name, number {i}" for i in range(37))
# The contrast of WCAG 2.2 of each text with what is behind it; texts on drawings are left out.
CONTRAST = f"""
(() => {{
{COLOURS}  const low = [];
  for (const e of document.querySelectorAll("body *:not(svg *)")) {{
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const [a, b] = [getComputedStyle(e).color, behind(e, 0)].map((c) =>
      luminance(typeof c === "string" ? parse(c) : c));
    const found = contrast(a, b);
    if (found < 4.5) low.push([e.tagName, e.textContent.slice(0, 30), found]);
  }}
  return low;
}})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of 37 classes, twelve of which have hostile names."""
    names = (*HOSTILES, *BREEDS)[:37]
    found = predictions(names)
    metrics = {**records(found).metrics, "warnings": ["x" * 400, *HOSTILES]}
    of_run = dataclasses.replace(records(found), metrics=metrics)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(found, records=of_run, notes=HOSTILES), "utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "media"), [(1400, "screen"), (390, "screen"), (718, "print")])
def test_layout(browser, page, width, dark, media):
    browser.open(page, width=width, dark=dark, media=media)
    assert browser.messages == []
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.images.length") == 96
    assert browser.ask("[...document.images].every(i => i.naturalWidth == 160 && i.alt)")
    assert browser.ask(CONTRAST) == []
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 22, 31)") == (dark and media == "screen")
    wide = "getComputedStyle(document.querySelector('.wide')).overflowX"
    assert browser.ask(wide) == ("visible" if media == "print" else "auto")


def test_nothing_but_the_page_is_loaded_or_run(browser, page):
    browser.open(page, width=1400)
    assert browser.ask("document.querySelectorAll('script, link, iframe, object').length") == 0
    assert browser.ask("performance.getEntriesByType('resource').length") in (0, 96)
    browser.ask("document.body.append(Object.assign(document.createElement('script'), "
                "{textContent: 'document.title = 1'}))")  # fmt: skip
    assert browser.ask("document.title") == "resnet18 on folder"
    assert any("Content Security Policy" in text for text in browser.messages)


def test_keyboard(browser, page):
    browser.open(page, width=390)
    browser.press("Tab")
    active = "document.activeElement"
    assert browser.ask(f"{active}.textContent") == "Skip to the figures"
    assert browser.ask(f"{active}.getBoundingClientRect().left") >= 0
    assert browser.ask(f"getComputedStyle({active}).outlineStyle") == "solid"
    seen = []
    for _ in range(24):
        browser.press("Tab")
        seen.append(browser.ask(f"{active}.tagName + ' ' + ({active}.ariaLabel || '')"))
    assert seen.count("A ") == 15
    for what in ("DIV Confusion matrix", "DIV Classes", "SUMMARY ", "PRE "):
        assert what in seen
    assert browser.ask("[...document.querySelectorAll('.wide')].every(e => e.tabIndex == 0)")


def test_what_a_screen_reader_is_told(browser, page):
    browser.open(page, width=1400)
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    for role in ("image", "region", "link", "navigation", "heading"):
        names = [name for kind, name in told if kind == role]
        assert names, role
        assert all(names), role
    assert ("image", "reliability curve: accuracy") in told
    assert any(name.startswith("Confusion matrix: rows are the truth") for _, name in told)
    levels = browser.ask("[...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName[1])")
    assert levels.count("1") == 1
    assert all(int(b) - int(a) <= 1 for a, b in itertools.pairwise(levels))
    assert browser.ask("[...document.querySelectorAll('th')].every(h => h.scope)")
    ids = re.findall(r' id="([^"]+)"', page.read_text("utf-8"))
    assert len(set(ids)) == len(ids)
    assert len(Elements(page.read_text("utf-8")).alts) == 96


def test_the_report_of_the_pets(browser, page, tmp_path):
    """A matrix of 37 breeds is as large as its text needs, and scrolls on a phone."""
    browser.open(page, width=390)
    box = "document.querySelector('[aria-label=\"Confusion matrix\"]')"
    sizes = browser.ask(f"[{box}.clientWidth, {box}.scrollWidth, {box}.scrollLeft]")
    assert sizes[0] <= 390 < sizes[1]
    height = f"Math.min(...[...{box}.querySelectorAll('text')].map(t => t.getBBox().height))"
    assert browser.ask(height) >= 9
    browser.photograph(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert json.dumps(browser.messages) == "[]"
