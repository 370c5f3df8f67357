"""Pages that stand alone: they need no network, run no script, and take every name as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a2233; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid #d5dae5; padding: .25rem .8rem .25rem 0; text-align: left }
svg { margin: 0 1rem 1rem 0 } text { font: 12px system-ui, sans-serif; fill: #4a556b }
"""


class Raw(str):
    """HTML that stands in a table's cell as it is."""

    __slots__ = ()


def page(title: str, body: str, *, pictures: bool = False, style: str = "", head: str = "") -> str:
    """Return a whole page.

    Args:
        title: Of the page, as text.
        body: HTML.
        pictures: Whether pictures inside the page itself (`data:`) may be shown.
        style: CSS beside `STYLE`.
        head: HTML that stands in the head besides.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    if pictures:
        policy += "; img-src data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{head}<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
"""


def table(rows: Iterable[Sequence[Any]], *, head: Sequence[str] = ()) -> str:
    """Return a table; cells are text, or HTML where they are `Raw`."""
    first = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = [f"<tr>{first}</tr>"] if head else []
    lines += ["<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _cell(value: Any) -> str:
    return value if isinstance(value, Raw) else escape(str(value))
