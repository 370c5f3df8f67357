"""`data-report.html`: what was found, on one page with small pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rezoo.data.audit.findings import Example, Findings, Group
from rezoo.utils.html import Raw, page, table
from rezoo.utils.names import printable

MARK = '<meta name="generator" content="rezoo data check">\n'
_GROUPS, _MEMBERS, _EXAMPLES, _CLASSES, _NAMES = 60, 6, 24, 200, 30
_STYLE = """
figure { display: inline-block; margin: 0 .8rem .6rem 0; width: 8.5rem; vertical-align: top;
         font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere }
figure img, .none { display: block; max-width: 112px; max-height: 112px; margin-bottom: .2rem }
.none { width: 112px; height: 60px; background: #eef0f5 }
.group { border-top: 1px solid #d5dae5; padding-top: .5rem }
.bad { color: #b3261e; font-weight: 600 } td { overflow-wrap: anywhere }
"""


def pictured(findings: Findings) -> list[Example]:
    """Return the examples whose pictures the page shows."""
    shown = [m for g in findings.groups[:_GROUPS] for m in g.members[:_MEMBERS]]
    for some in (findings.wrong_endings, findings.small, findings.large, findings.thin):
        shown += some[:_EXAMPLES]
    return shown


def report(findings: Findings, pictures: Mapping[int, bytes]) -> str:
    """Return the page; `pictures` are JPEG files by the examples' rows."""
    f = findings
    listed = (
        ("Cannot be decoded", f.undecodable, "reason"),
        ("Labels that are no class", f.bad_labels, "label"),
        ("Keys that stand twice", f.repeated_keys, ""),
    )
    shown = (
        ("Wrong ending, and usable", f.wrong_endings, len(f.wrong_endings)),
        ("Very small: shorter side below 32 pixels", f.small, f.extremes["small"]),
        ("Very large: over 20 megapixels", f.large, f.extremes["large"]),
        ("Very thin: one side over 16 times the other", f.thin, f.extremes["thin"]),
    )
    body = [
        _summary(f),
        *(_listed(title, examples, what) for title, examples, what in listed if examples),
        _groups(f, pictures),
        _classes(f),
        *(_shown(title, some, pictures, count) for title, some, count in shown if some),
        _files(f),
    ]
    title = f"{printable(f.dataset)}: data check"
    return page(title, "\n".join(body), pictures=True, style=_STYLE, head=MARK)


def _summary(f: Findings) -> str:
    found = [(name, _mark(n)) for name, n in f.problems().items()]
    sizes = [(f"{split} examples", f"{n:,}") for split, n in f.sizes.items()]
    notes = [("note", printable(note)) for note in f.notes]
    return (
        f"{table([*sizes, ('classes', f'{len(f.classes):,}'), *notes])}\n"
        f"<h2>Problems</h2>\n{table(found)}\n"
        f"<h2>Worth knowing</h2>\n{table([(name, f'{n:,}') for name, n in f.remarks().items()])}"
    )


def _mark(number: int) -> str:
    return Raw(f'<span class="bad">{number:,}</span>') if number else "none"


def _listed(title: str, examples: Sequence[Example], what: str) -> str:
    rows = [
        (e.split, printable(e.key), printable(e.label), printable(e.note)) for e in examples[:200]
    ]
    head = ("split", "example", "class", what)
    return f"<h2>{title}</h2>\n{table(rows, head=head)}{_more(len(examples), 200)}"


def _shown(
    title: str, examples: Sequence[Example], pictures: Mapping[int, bytes], count: int
) -> str:
    figures = "".join(_figure(e, pictures, e.note) for e in examples[:_EXAMPLES])
    return f"<h2>{title}</h2>\n<div>{figures}</div>{_more(count, _EXAMPLES)}"


def _groups(f: Findings, pictures: Mapping[int, bytes]) -> str:
    if not f.groups:
        return "<h2>The same picture several times</h2>\n<p>None was found.</p>"
    blocks = [_group(group, pictures) for group in f.groups[:_GROUPS]]
    text = (
        "The first of each group stays; <code>ignore.txt</code> lists the others. Pictures with "
        "several labels come first, then those in several splits."
    )
    cut = "<p>So much is alike that not all of it was compared.</p>" if f.cut else ""
    return (
        f"<h2>The same picture several times</h2>\n<p>{text}</p>{cut}\n"
        f"{''.join(blocks)}{_more(len(f.groups), _GROUPS)}"
    )


def _group(group: Group, pictures: Mapping[int, bytes]) -> str:
    words = [group.kind]
    if group.kind == "near":
        lowest = min(r for *_, r in group.links)
        words += sorted({how for _, _, how, *_ in group.links} - {"near"})
        words.append(f"correlation {lowest:.4f}")
    if group.across:
        words.append(Raw('<span class="bad">in several splits</span>'))
    if len(group.labels) > 1:
        words.append(Raw('<span class="bad">several labels</span>'))
    text = ", ".join(w if isinstance(w, Raw) else escape(w) for w in words)
    figures = "".join(_figure(m, pictures) for m in group.members[:_MEMBERS])
    more = _more(len(group.members), _MEMBERS)
    return f'<div class="group"><p>{text}</p>{figures}{more}</div>\n'


def _figure(example: Example, pictures: Mapping[int, bytes], note: str = "") -> str:
    content = pictures.get(example.row)
    if content:
        data = base64.b64encode(content).decode()
        image = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    else:
        image = '<span class="none"></span>'
    lines = (
        example.key,
        f"{example.split}, {example.label}" if example.label else example.split,
        f"{example.width}×{example.height}",
        note,
    )
    text = "<br>".join(escape(printable(line)) for line in lines if line)
    return f"<figure>{image}{text}</figure>"


def _classes(f: Findings) -> str:
    splits = list(f.counts)
    rows: list[tuple[Any, ...]] = [
        (printable(name), *(f.counts[s][i] for s in splits)) for i, name in enumerate(f.classes)
    ]
    lines = [(f"{s}: largest class / smallest", f"{ratio:.1f}") for s, ratio in f.imbalance.items()]
    for split, names in f.missing.items():
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        lines.append((f"{split} lacks", printable(", ".join(names[:_NAMES]) + more)))
    if len(rows) > _CLASSES:
        rows.sort(key=lambda row: (min(row[1:]), row[0]))
    text = f"{table(lines)}\n{table(rows[:_CLASSES], head=('class', *splits))}"
    return f"<h2>Classes</h2>\n{text}{_more(len(rows), _CLASSES)}"


def _files(f: Findings) -> str:
    spread = [(name, *(f"{v:,.6g}" for v in values)) for name, values in f.spread.items()]
    counts = [
        (what, ", ".join(f"{name} {n:,}" for name, n in some.items()))
        for what, some in (("format", f.formats), ("colours", f.colours), ("bits", f.depths))
    ]
    head = ("", "smallest", "median", "largest")
    flat = f"<p>{f.flat:,} pictures have too little contrast for near duplicates.</p>"
    return (
        f"<h2>Files</h2>\n{table(spread, head=head)}\n{table(counts)}\n{flat if f.flat else ''}"
        f"<p>Read and compared in {f.seconds:.0f} s.</p>"
    )


def _more(count: int, shown: int) -> str:
    text = f"and {count - shown:,} more: see <code>data-report.json</code>."
    return f"<p>{text}</p>" if count > shown else ""
