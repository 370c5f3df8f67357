"""Pages from the templates of `rezoo/utils/templates`: every value in them is escaped."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

LOCAL, END = "<!-- only on this machine -->", "<!-- end -->"  # marks of what is not published


def for_others(page: bytes) -> bytes:
    """Return an HTML page without what must stay on this machine: all that is between the marks."""
    between = re.compile(rb"%b.*?%b\n?" % (LOCAL.encode(), END.encode()), re.DOTALL)
    return between.sub(b"", page)


def render(template: str, **values: Any) -> str:
    """Return a template, filled.

    In `.html` and `.svg` templates values are escaped for HTML, in `.md` templates for one line
    of Markdown, by `plain`. The filter `safe` keeps a value as it is; in `.md` templates the
    filter `code` makes it a code span.

    Args:
        template: Name of a file in `rezoo/utils/templates`.
        **values: Values of the variables in the template.

    Raises:
        jinja2.UndefinedError: The template uses a variable without a value.
    """
    markdown = template.endswith(".md")
    return _environment(markdown).get_template(template).render(values)


@cache
def _environment(markdown: bool) -> Environment:
    """Return Jinja2's environment, which keeps compiled templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("rezoo.utils"),
        autoescape=not markdown,
        finalize=(lambda v: v if isinstance(v, Markup) else plain(v)) if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = lambda value: Markup(code(value))
    return environment


def plain(text: object) -> str:
    """Escape text for one line of Markdown: no markup, HTML, link, list, line break or cell."""
    flat = " ".join(str(text).split())
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
    escaped = re.sub(r"([\\`*_{}\[\]#|~$^@])", r"\\\1", html.escape(visible, quote=False))
    escaped = re.sub(r"^([-+=]|\d+(?=[.)]( |$)))", _break_block, escaped)
    return re.sub(r"(?i)(:)(//)|(www)(\.)|(:)(\w+:)", _break_link, escaped)


def _break_block(found: re.Match[str]) -> str:
    """Break what begins a list or a heading at the start of a line: "- ", "+ ", "1. ", "---"."""
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def _break_link(found: re.Match[str]) -> str:
    """Break what sites turn into links and pictures: https://, www., :joy:."""
    first, second = (part for part in found.groups() if part)
    return f"\\{first}{second}" if first == ":" else f"{first}\\{second}"


def code(value: object) -> str:
    """Return a Markdown code span that is also valid in a table cell; empty for empty text."""
    flat = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
    return f"`{visible}`" if visible else ""
