"""Text for Markdown pages: names from data and users stay text, whatever they contain."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


def plain(text: object) -> str:
    """Escape text for a line of Markdown: no markup, HTML, link, line break or table cell."""
    flat = " ".join(str(text).split())
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
    escaped = re.sub(r"([\\`*_{}\[\]#|~$^@])", r"\\\1", html.escape(visible, quote=False))
    return re.sub(r"(?i)(:)(//)|(www)(\.)|(:)(\w+:)", _no_link, escaped)


def _no_link(found: re.Match[str]) -> str:
    """Take apart what sites turn into links and pictures by themselves: https://, www., :joy:."""
    first, second = (part for part in found.groups() if part)
    return f"\\{first}{second}" if first == ":" else f"{first}\\{second}"


def code(value: object) -> str:
    """Return a code span for a table cell."""
    flat = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
