"""The built site: its search, its addresses, and its pages in a real browser."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from browser import COLOURS, running
from rezoo.registry import architectures
from rezoo.sources import catalogue
from rezoo.utils.licences import PERMISSIVE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "https://docs.example.org/"
# Word → a page that has to be among those that a search finds.
SEARCHED = {
    "phone": "guides/phone/",
    "mobile": "guides/phone/",
    "tflite": "guides/phone/",
    "android": "guides/phone/",
    "freeze": "guides/transfer/",
    "callback": "guides/python/",
    "colab": "guides/notebook/",
    "gpu": "guides/gpu/",
    "browser": "guides/browser/",
    "multi-label": "guides/several-labels/",
    "keras.applications": "guides/coming-from/",
}
# Contrast by WCAG 2.2 of each link in the text with what is behind it, below 4.5.
PALE_LINKS = f"""
(() => {{
{COLOURS}  return [...document.querySelectorAll("article a:not(.headerlink)")]
    .filter((a) => a.textContent.trim() && a.checkVisibility())
    .map((a) => [a, luminance(parse(getComputedStyle(a).color)), luminance(behind(a, 0.9))])
    .map(([a, x, y]) => [a.textContent, contrast(x, y)])
    .filter(([_, found]) => found < 4.5);
}})()
"""
# Tables that are wider than the room for them and that cannot be scrolled.
CUT = """
[...document.querySelectorAll("article table, article pre, article img")].filter((e) => {
  const scrolls = (p) => ["auto", "scroll"].includes(getComputedStyle(p).overflowX);
  if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false;
  for (let p = e; p.tagName !== "ARTICLE"; p = p.parentElement) if (scrolls(p)) return false;
  return true;
}).map((e) => e.textContent.slice(0, 40))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site: REZOO_SITE_FOLDER, built with REZOO_SITE as below, or a new one."""
    if given := os.environ.get("REZOO_SITE_FOLDER"):
        return Path(given)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    env = {**os.environ, "REZOO_SITE": ADDRESS, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    if "No module named mkdocs" in done.stderr:
        pytest.skip("MkDocs is not installed: pip install 'rezoo[docs]'")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return sorted(path for path in site.rglob("index.html"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found


def show(browser, page, *, width, dark):
    """Open a page as a new reader would: without a colour scheme from an earlier page."""
    browser.open("about:blank", width=width)
    browser.open(page, width=width, dark=dark)
    if browser.ask("localStorage.length"):
        browser.ask("localStorage.clear()")
        browser.open("about:blank", width=width)
        browser.open(page, width=width, dark=dark)
    scheme = browser.ask("document.body.dataset.mdColorScheme")
    assert scheme == ("slate" if dark else "default")


@pytest.mark.parametrize("word", SEARCHED)
def test_search_finds(site, word):
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    found = {
        entry["location"].partition("#")[0]
        for entry in index
        if word in f"{entry['title']} {entry['text']}".lower()
    }
    assert SEARCHED[word] in found


def test_addresses_come_from_one_variable(pages):
    """Each page has one canonical link, which begins with that address."""
    for page in pages:
        canonical = re.findall(r'<link rel="canonical" href="([^"]*)"', page.read_text("utf-8"))
        assert len(canonical) == 1, page
        assert canonical[0].startswith(ADDRESS), page


def test_the_site_asks_no_other_host(pages):
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="([^"]+)"', text)
        assert [url for url in loaded if "//" in url] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_no_page_is_cut_and_all_links_can_be_read(browser, pages, width, dark):
    faults = []
    for page in pages:
        show(browser, page, width=width, dark=dark)
        wide = browser.ask("document.documentElement.scrollWidth")
        cut, pale = browser.ask(CUT), browser.ask(PALE_LINKS)
        if wide > width or cut or pale:
            faults.append((page.parent.name, wide, cut, pale[:3]))
    assert faults == []


def test_headings_are_in_order_and_pictures_have_texts(browser, pages):
    faults = []
    for page in pages:
        show(browser, page, width=1400, dark=False)
        headings = "[...document.querySelectorAll('article :is(h1, h2, h3, h4)')]"
        levels = [int(level) for level in browser.ask(f"{headings}.map(h => h.tagName[1])")]
        jumps = [b for a, b in itertools.pairwise(levels) if b > a + 1]
        texts = browser.ask("[...document.querySelectorAll('article img')].every(i => i.alt)")
        loaded = "[...document.querySelectorAll('article img:not([loading])')]"
        there = browser.ask(f"{loaded}.every(i => i.naturalWidth > 0)")
        if levels.count(1) != 1 or jumps or not texts or not there:
            faults.append((page.parent.name, levels.count(1), jumps, texts, there))
    assert faults == []


def test_the_zoo_has_an_anchor_for_each_architecture_and_can_be_filtered(browser, site):
    show(browser, site / "zoo" / "index.html", width=390, dark=True)
    own = [entry.name for entry, _ in architectures.describe() if entry.distribution == "rezoo"]
    ids = browser.ask("[...document.querySelectorAll('#zoo-table tbody')].map(b => b.id)")
    assert sorted(ids) == sorted(own)
    visible = (
        "[...document.querySelectorAll('#zoo-table td:first-child')]"
        ".filter(c => c.checkVisibility()).map(c => c.textContent.split(' ')[0])"
    )
    weights = [spec for spec in catalogue.describe() if spec.catalogue == catalogue.BUILTIN]
    assert set(browser.ask(visible)) == {spec.name for spec in weights}
    found = filtered(browser, visible, words="RESNET50.TV bsd")
    assert found == {"resnet50.tv_in1k", "resnet50.tv2_in1k"}
    small = filtered(browser, visible, words="", macs="1.5", commercial=True)
    assert small
    for spec in weights:
        if spec.name in small and spec.macs:
            assert spec.macs <= 1.5e9
            assert spec.licence in PERMISSIVE


def filtered(browser, visible, *, words, macs="", commercial=False):
    """Fill in the filter of the zoo; return the names that are left."""
    form = "document.getElementById('zoo-filter')"
    browser.ask(
        f"{form}.elements.words.value = {words!r}; {form}.elements.macs.value = {macs!r};"
        f"{form}.elements.commercial.checked = {str(commercial).lower()};"
        f"{form}.dispatchEvent(new Event('input'))"
    )
    return set(browser.ask(visible))
