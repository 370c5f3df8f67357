"""The 1000 classes of ImageNet (ILSVRC 2012), in the order of the labels."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def imagenet1k_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the WordNet ids (`n01440764`) and the readable names (`tench`), 1000 of each."""
    text = files("rezoo.artifacts").joinpath("imagenet1k.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    ids, names = zip(*rows, strict=True)
    return ids, names
