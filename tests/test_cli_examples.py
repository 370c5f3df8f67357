"""The examples in the help of each command are command lines that rezoo takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from rezoo.cli.main import cli
from rezoo.exporters.formats import get_format
from rezoo.recipes import list_recipes
from rezoo.sources.selection import list_models


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", [*commands(cli)], ids=" ".join)
def test_every_help_has_examples_that_are_parsed(path):
    command = find(path)
    text = command.get_help(click.Context(command, info_name=path[-1]))
    lines = [line.strip() for line in text.partition("Examples:")[2].splitlines()]
    examples = [shlex.split(line) for line in lines if line]
    assert 1 <= len(examples) <= 3
    for program, *words in examples:
        assert program == "rezoo"
        assert tuple(words[: len(path)]) == path
        context = command.make_context(path[-1], words[len(path) :])
        check_names(context.params)


def check_names(values: dict[str, object]) -> None:
    """Check the names of architectures and recipes; paths are the reader's."""
    given = values.get("model") or values.get("models") or values.get("targets") or ()
    for model in [given] if isinstance(given, str) else given:
        if "/" not in model:
            assert model.partition(".")[0] in list_models()
    if to := values.get("to"):
        get_format(to, quantize=values["quantize"], takes=values["takes"], gives=values["gives"])
    if recipe := values.get("recipe"):
        assert recipe in list_recipes()
    assert str(values.get("output")) not in ("", ".")
