"""The table of the zoo, generated from the registry and the catalogue when the site is built.

The page `zoo.md` calls these functions with markdown-exec. The table is HTML: each architecture
is a group of rows with an anchor.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from rezoo.utils.licences import PERMISSIVE

if TYPE_CHECKING:
    from rezoo.specs import ModelSpec, WeightsSpec

HEAD = ("name", "top-1", "px", "MACs", "params", "licence", "pinned")


def counts() -> str:
    """Return how many architectures and weights there are, in a sentence."""
    models, weights = _models(), _weights()
    families = len({spec.family for spec in models})
    accuracies = sum(spec.top1 is not None for spec in weights)
    return (
        f"{len(models)} architectures of {families} families, {len(weights)} published weights, "
        f"{accuracies} of them with a published accuracy."
    )


def zoo() -> str:
    """Return the table: a group of rows for each architecture, its weights below it."""
    found = itertools.groupby(_weights(), key=lambda spec: spec.architecture)
    weights = {name: list(group) for name, group in found}
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    groups = "\n".join(_group(spec, weights.get(spec.name, [])) for spec in _models())
    return (
        '<div class="zoo-scroll" tabindex="0" role="region" aria-label="The table of the zoo">\n'
        f'<table class="zoo" id="zoo-table">\n<thead><tr>{head}</tr></thead>\n'
        f"{groups}\n</table>\n</div>"
    )


def _group(spec: ModelSpec, weights: Iterable[WeightsSpec]) -> str:
    macs = _billions(spec.macs)
    params = f"{spec.params / 1e6:.1f} M" if spec.params else ""
    cells = ("", str(spec.image_size), macs, params, "", "")
    name = (
        f'<th scope="rowgroup"><a href="#{spec.name}"><code>{spec.name}</code></a><br>'
        f"<small>{escape(spec.family)}: {escape(spec.summary)}</small></th>"
    )
    rows = "\n".join(map(_row, weights))
    return f'<tbody id="{spec.name}">\n<tr>{name}{_cells(cells)}</tr>\n{rows}</tbody>'


def _row(spec: WeightsSpec) -> str:
    marks = {"*": spec.default, "+": spec.extra_data, "!": spec.non_commercial}
    mark = "".join(f" {mark}" for mark, holds in marks.items() if holds)
    classes = f"{spec.num_classes:,} classes" if spec.num_classes != 1000 else ""
    top1 = classes if spec.top1 is None else f"{spec.top1:.2%}"
    size = str(spec.preprocessing.for_test().size[0])
    pins = filter(None, (spec.commit and "commit", spec.sha256 and "SHA-256"))
    cells = (top1, size, _billions(spec.macs), "", spec.licence, ", ".join(pins))
    name = f"<td><code>{spec.architecture}<wbr>.{escape(spec.tag)}</code>{mark}</td>"
    commercial = spec.licence in PERMISSIVE
    return f"<tr{' data-commercial' if commercial else ''}>{name}{_cells(cells)}</tr>"


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{text}</td>" for text in texts)


def _billions(macs: int | None) -> str:
    return f"{macs / 1e9:.2f} G" if macs else ""


def _models() -> list[ModelSpec]:
    """Return rezoo's architectures by family, those with the fewest MACs first."""
    from rezoo.registry import architectures

    specs = [spec for entry, spec in architectures.describe() if entry.distribution == "rezoo"]
    known = [spec for spec in specs if spec]
    return sorted(known, key=lambda spec: (_family(spec.family), spec.macs or 0, spec.name))


def _family(name: str) -> tuple[bool, str]:
    """Return a key that sorts `resnet` first and the rest by name."""
    return (name != "resnet", name)


def _weights() -> list[WeightsSpec]:
    """Return the entries of rezoo's own catalogue, without those of the environment."""
    from rezoo.sources import catalogue

    return [spec for spec in catalogue.describe() if spec.catalogue == catalogue.BUILTIN]
