"""Pages from templates: HTML with everything escaped that is not the template's own."""

from __future__ import annotations

from typing import Any


def render(template: str, **values: Any) -> str:
    """Return a template of `rezoo/utils/templates`, filled.

    In `.html` templates each value is escaped. A value that the template names and that is not
    given is an error.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("rezoo.utils"),
        autoescape=select_autoescape(["html", "svg"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)
