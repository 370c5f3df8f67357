"""Tables of the site that are written from the code at build time, so that they cannot drift.

A page runs one of these functions with markdown-exec; each returns Markdown.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def code(text: object) -> str:
    """Return code for a table's cell, in which a bar must not end the cell."""
    escaped = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    return f"<code>{escaped}</code>" if escaped else ""


def commands() -> str:
    """Return usage, help and options of every command, from click."""
    import click

    from rezoo.cli.main import cli

    context = click.Context(cli, info_name="rezoo", **cli.context_settings)
    children = [
        click.Context(command, parent=context, info_name=name)
        for name, command in sorted(cli.commands.items())
    ]
    return "\n\n".join(map(_command, [context, *children]))


def _command(context: Any) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    paragraphs = inspect.cleandoc(command.help).split("\n\n")
    text = "\n\n".join(p.removeprefix("\b").strip() for p in paragraphs)
    records = [p.get_help_record(context) for p in command.get_params(context)]
    rows = [(code(name), what) for name, what in filter(None, records) if what]
    options = table(["option", "meaning"], rows)
    return f"## `{context.command_path}`\n\n```text\n{usage}\n```\n\n{text}\n\n{options}"


def recipe_keys() -> str:
    """Return every key of a recipe with what is allowed, its default and its meaning.

    The meaning is the comment behind the field in `rezoo.recipes.recipe.Recipe`.
    """
    from rezoo.recipes import recipe

    rules = {key: text for key, (_, text) in recipe._RECIPE_RULES.items()}
    source = inspect.getsource(recipe.Recipe).partition("def __post_init__")[0]
    rows = []
    for line in source.splitlines():
        if line.startswith("    # "):  # the head of a group of fields
            rows.append((f"**{line.removeprefix('    # ')}**", "", "", ""))
        elif field := _FIELD.fullmatch(line):
            allowed = rules.get(field["name"]) or _KINDS[field["type"]]
            rows.append((code(field["name"]), allowed, _default(field), field["what"] or ""))
    return table(["key", "allowed", "default", "meaning"], rows)


_FIELD = re.compile(
    r"    (?P<name>\w+): (?P<type>[^=#]+?)(?: = (?P<default>.+?))?(?:  # (?P<what>.*))?"
)
_KINDS = {"str": "text", "bool": "true or false"}


def _default(field: re.Match[str]) -> str:
    """Return a default as TOML writes it."""
    special = {None: "the file's name", "None": "from weights or dataset", '""': ""}
    if field["default"] in special:
        return special[field["default"]]
    return code(field["default"].replace("(", "[").replace(")", "]").replace("False", "false"))


def exit_codes() -> str:
    """Return the exceptions, their exit codes and built-in bases, from `rezoo.errors`."""
    from rezoo import errors

    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RezooError)
    ]
    rows = []
    for kind in sorted(found, key=lambda kind: kind.exit_code):
        builtin = next(b.__name__ for b in kind.__mro__ if b.__module__ == "builtins")
        when = inspect.getdoc(kind).splitlines()[0]
        rows.append((kind.exit_code, code(kind.__name__), code(builtin), when))
    return table(["exit code", "exception", "also a", "when"], rows)


def intervals() -> str:
    """Return what the 95 % interval of a measured 90 % is, for some numbers of images."""
    from rezoo.evaluation.metrics import wilson_interval

    rows = []
    for count in (20, 100, 1_000, 10_000):
        low, high = wilson_interval(count * 9 // 10, count)
        rows.append((f"{count * 9 // 10:,} of {count:,}", f"{low:.1%} to {high:.1%}"))
    return table(["right", "95 % interval"], rows)
