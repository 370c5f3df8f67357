"""Tables of the site that are written from the code at build time, so that they cannot drift.

A page runs one of these functions with markdown-exec; each returns Markdown.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence


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

    context = click.Context(cli, info_name="rezoo")
    parts = [_command(cli, context, "rezoo")]
    for name in sorted(cli.commands):
        command = cli.commands[name]
        parts.append(_command(command, click.Context(command, parent=context, info_name=name)))
    return "\n\n".join(parts)


def _command(command: object, context: object, title: str = "") -> str:
    title = title or context.command_path
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    text = "\n\n".join(p.removeprefix("\b").strip() for p in paragraphs)
    records = [p.get_help_record(context) for p in command.get_params(context)]
    rows = [(code(name), what) for name, what in filter(None, records)]
    return f"## `{title}`\n\n```text\n{usage}\n```\n\n{text}\n\n{table(['option', ''], rows)}"


def recipe_keys() -> str:
    """Return every key of a recipe with its default, what is allowed, and what it means.

    The meaning is the comment behind the field in `rezoo.specs.Recipe`.
    """
    from rezoo import specs

    rules = {key: text for key, (_, text) in specs._RECIPE_RULES.items()}
    rows = [
        (f"**{name}**", "", "", "") if not kind else (code(name), kind, default, what)
        for name, kind, default, what in _recipe_fields(inspect.getsource(specs.Recipe), rules)
    ]
    return table(["key", "allowed", "default", "meaning"], rows)


_FIELD = re.compile(r"    (?P<name>\w+): (?P<type>[^=#]+?)(?: = (?P<default>.+?))?(?:  # (?P<what>.*))?")


def _recipe_fields(source: str, rules: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    kinds = {"str": "text", "int": "whole number", "float": "number", "bool": "true, false"}
    for line in source.partition("def __post_init__")[0].splitlines():
        if line.startswith("    # "):
            yield line.removeprefix("    # "), "", "", ""
        elif found := _FIELD.fullmatch(line):
            kind = found["type"].removesuffix(" | None")
            default = found["default"] or "the file's name"
            shown = {"None": "of the weights or the dataset", '""': ""}.get(default, code(default))
            yield found["name"], rules.get(found["name"], kinds.get(kind, kind)), shown, found[
                "what"
            ] or found["name"].replace("_", " ")


def exit_codes() -> str:
    """Return the exit codes and the exceptions behind them, from `rezoo.errors`."""
    from rezoo import errors

    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RezooError)
    ]
    rows = [
        (kind.exit_code, code(kind.__name__), _builtin(kind), inspect.getdoc(kind).splitlines()[0])
        for kind in sorted(found, key=lambda kind: kind.exit_code)
    ]
    return table(["exit code", "exception", "also a", "when"], rows)


def _builtin(kind: type) -> str:
    from rezoo.errors import RezooError

    bases = (b for b in kind.__mro__ if b.__module__ == "builtins" and b not in (Exception, object))
    name = next((base.__name__ for base in bases), "")
    return code(name) if issubclass(kind, RezooError) and name != "BaseException" else ""


def intervals() -> str:
    """Return what the 95 % interval of a measured 90 % is, for some numbers of images."""
    from rezoo.evaluation.metrics import wilson_interval

    rows = []
    for count in (20, 100, 1_000, 10_000):
        low, high = wilson_interval(count * 9 // 10, count)
        rows.append((f"{count * 9 // 10:,} of {count:,}", f"{low:.1%} to {high:.1%}"))
    return table(["right", "95 % interval"], rows)
