"""Reports of small arrays, for the tests of pages."""

from __future__ import annotations

import dataclasses
import functools
import html.parser
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.report import gallery
from rezoo.evaluation.report.gallery import Gallery
from rezoo.evaluation.report.run_records import RunRecords
from rezoo.evaluation.report.run_report import report
from rezoo.specs import ModelConfig
from rezoo.tasks import MULTI_LABEL, SINGLE_LABEL

HOSTILES = (
    "<script>alert(1)</script>",
    "[/red] {{ 7 * 7 }}",
    "\N{CAT FACE} \N{FAMILY}",
    "x" * 300,
    "ابجد هوز",
    "\u202etxt.exe",
    '" onload="alert(1)',
    "new\nline",
    "\x1b[31mred",
    'a/it\'s a "photo" &amp; more.jpg',
    "<!-- end -->",
    "$x^2$ \udc80",
)
EPOCHS = [
    {"epoch": float(n), "train_loss": 2 / n, "val_loss": 3 / n, "val_top1": 1 - 1 / n}
    for n in (1, 2, 3)
]
CORRUPTIONS = {
    "split": "test",
    "count": 1000,
    "figure": "top1",
    "parameters": "ImageNet-C",
    "seed": 0,
    "clean": 0.9,
    "clean_interval": [0.88, 0.92],
    "drop_interval": [0.185, 0.215],
    "kinds": [
        {
            "name": name,
            "values": [0.9, 0.8, 0.7, 0.6, 0.5],
            "intervals": [[0.45, 0.95]] * 5,
            "drop": 0.2,
            "drop_interval": [0.18, 0.22],
        }
        for name in ("motion_blur", "jpeg")
    ],
}


def predictions(
    labels: tuple[str, ...], count: int = 200, *, several: bool = False, spread: float = 2.0
) -> Predictions:
    """Return predictions for random images, three quarters of them right or so."""
    classes = len(labels)
    random = np.random.default_rng(classes)
    truth = random.integers(0, classes, count)
    logits = random.normal(0, spread, (count, classes)).astype(np.float32)
    logits[np.arange(count), truth] += 2 * spread
    of_each = np.eye(classes, dtype=np.float32)[truth] if several else truth
    logits = logits - 4 if several else logits
    task = MULTI_LABEL if several else SINGLE_LABEL
    found = collect(task, lambda images: images, [(logits, of_each)])
    keys = tuple(f"{labels[t]}/{i}.jpg" for i, t in enumerate(truth))
    facts = {"split": "val", "preprocessing": "as it is", "model": "m", "dataset": "d"}
    return dataclasses.replace(found, keys=keys, labels=labels, facts=facts)


def records(found: Predictions, **others: Any) -> RunRecords:
    """Return the records of a run with these predictions on val."""
    values: dict[str, Any] = {
        "folder": Path("/home/me/my runs/it's"),
        "config": ModelConfig(
            architecture="resnet18", num_classes=found.width, multi_label=found.multi_label
        ),
        "metrics": {
            "data": {"name": "folder", "licence": "unknown", "private": True},
            "images": {"train": 1000, "val": len(found)},
            "images_left_out": {"train": 2, "val": 0},
            "best_epoch": 2,
            "epochs": 3,
            "val": {"count": len(found)},
            "wall_time_s": 90.0,
            "warnings": ["the loss has not fallen"],
            **({} if found.multi_label else {"corruptions": CORRUPTIONS}),
        },
        "recipe": {"name": "quick", "epochs": 3, "seed": 7, "flip": 0.5},
        "history": EPOCHS,
        "environment": {"python": "3.11", "devices": ["a CPU"], "packages": {"keras": "3"}},
        "start": {"dataset": "folder:/home/me/pictures", "source": "resnet18", "options": {}},
    }
    return RunRecords(**values | others)


def photograph(seed: int, *, noise: float = 20.0, side: int = 160) -> np.ndarray:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 5, 3)).repeat(side // 5, 0).repeat(side // 5, 1)
    return np.clip(small + random.normal(0, noise, small.shape), 0, 255).astype(np.uint8)


@functools.cache
def shot() -> gallery.Shot:
    return gallery._shot(photograph(1), np.random.default_rng(1).normal(0, 1, (5, 5)))


def pictures(found: Predictions, *, noise: float = 0.0) -> Gallery:
    """Return the gallery of some predictions; without noise, all have the same image."""

    def shots(answers):
        if not noise:
            return tuple((answer, shot()) for answer in answers)
        shown = []
        for answer in answers:
            pixels = photograph(answer.row, noise=noise)
            values = np.random.default_rng(answer.row).normal(0, 1, (5, 5))
            shown.append((answer, gallery._shot(pixels, values)))
        return tuple(shown)

    return Gallery(
        mistakes=shots(gallery.mistakes(found)), least_certain=shots(gallery.least_certain(found))
    )


def page_of(found: Predictions, **options: Any) -> str:
    of_run = options.pop("records", None) or records(found)
    if "gallery" not in options:
        options["gallery"] = pictures(found)
    return report(of_run, found, **options)


class Elements(html.parser.HTMLParser):
    """What is on a page.

    Attributes:
        tags: Elements in their order, with the names of their attributes.
        titles: Texts of the headings of sections.
        alts: Alternative texts of the images.
        text: All text, each piece in its element.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.titles: list[str] = []
        self.alts: list[str] = []
        self.text: list[tuple[str, str]] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.tags.append((tag, *(name for name, _ in attrs)))
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])

    def handle_data(self, data):
        self.text.append((self._open, data))
        if self._open == "h2" and data.strip():
            self.titles.append(data)

    def of(self, tag: str) -> list[str]:
        """Return the texts in the elements of a kind."""
        return [text for name, text in self.text if name == tag]
