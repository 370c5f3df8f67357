"""The commands and the code of the documentation: parsed, compiled, compared with the program."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import rezoo
from rezoo.cli.main import cli
from rezoo.errors import NotFoundError
from rezoo.recipes import read_all
from rezoo.registry import architectures
from rezoo.sources import catalogue

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")])
FENCE = re.compile(r"^( *)``` ?\{?\.?(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, *languages):
    """Return the blocks of code of a page in some languages, but for those that are generated."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [
        re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        for indent, language, rest, text in found
        if language in languages and "exec=" not in rest and "--8<--" not in text
    ]


def logical_lines(text):
    """Return the lines of a shell script; those with an open quotation go on."""
    line = ""
    for part in re.sub(r"\\\n\s*", " ", text).split("\n"):
        line = f"{line}\n{part}" if line else part
        try:
            yield words(line)
        except ValueError:  # no closing quotation yet
            continue
        line = ""


def words(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def of_rezoo(text):
    """Return the command lines of rezoo in a shell script, each as a list of words."""
    for line in logical_lines(text):
        command: list[str] = []
        for word in [*line, ";"]:
            if set(word) <= set("();<>|&"):
                starts = [
                    i for i, w in enumerate(command) if w == "rezoo" or w.endswith("bin/rezoo")
                ]
                if starts and "install" not in command:
                    yield ["rezoo", *command[starts[0] + 1 :]]
                command = []
            elif "rezoo " in word:  # a script in quotation marks, for ssh
                yield from of_rezoo(word)
            else:
                command.append(word)


def commands(page):
    """Return the commands of rezoo in the blocks and in the inline code of a page."""
    text = page.read_text("utf-8")
    scripts = blocks(page, "bash")
    scripts += re.findall(r"^\$ (.*)$", "\n".join(blocks(page, "console")), re.MULTILINE)
    scripts += filter(complete, re.findall(r"(?<!`)`(rezoo [^`]+)`(?!`)", FENCE.sub("", text)))
    return [command for script in scripts for command in of_rezoo(script)]


def parsed(command):
    """Return the context of a command line after click has parsed it, without running it."""
    context = click.Context(cli, info_name="rezoo", **cli.context_settings)
    here, rest = cli, command[1:]
    while isinstance(here, click.Group):
        name = rest[0] if rest else ""
        here, rest = here.get_command(context, name), rest[1:]
        if here is None:
            raise click.UsageError(f"no command {name!r}")
        if not isinstance(here, click.Group):
            return here.make_context(name, list(rest), parent=context)
        context = click.Context(here, info_name=name, parent=context)
    raise AssertionError(command)


def complete(text):
    """Whether inline code is a whole command line: no part of one, and no placeholder."""
    return not re.search(r"…|\bCOMMAND\b|\bX\b|^rezoo --", text)


def fault(command, names):
    """Return what is wrong with a command line, or None."""
    try:
        context = parsed(command)
    except click.UsageError as error:
        kinds = (click.MissingParameter, click.BadOptionUsage)
        named = isinstance(error, kinds) and len(command) < 4  # `rezoo eval --csv`
        return None if named else error.message
    except (click.exceptions.Exit, NotFoundError):  # --help; a file of the reader
        return None
    recipe = context.params.get("recipe")
    if recipe and not recipe.endswith(".toml") and recipe not in names:
        return f"no recipe {recipe}"
    weights = [word for word in command if re.fullmatch(r"[a-z]+net[\w]*\.\w+_in1k\w*", word)]
    return next((f"no weights {word}" for word in weights if word not in names), None)


def test_every_command_of_the_pages_is_one_of_rezoo():
    """Click parses each, with its options and values; names of weights and recipes exist."""
    names = {*catalogue.list_weights(), *(recipe.name for recipe, _ in read_all())}
    found = [(name_of(page), command) for page in PAGES for command in commands(page)]
    faults = [(page, " ".join(c), why) for page, c in found if (why := fault(c, names))]
    assert faults == []
    assert len(found) > 250
    used = {command[1] for _, command in found if len(command) > 1}
    assert set(cli.list_commands(click.Context(cli))) <= used


def calls(tree):
    """Return the calls of rezoo's functions: their names, arguments and keywords."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="rezoo"), attr=name)):
                yield name, node


def check_call(name, node):
    """Raise a TypeError if a function of rezoo does not take these arguments."""
    signature = inspect.signature(getattr(rezoo, name))
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        return
    signature.bind_partial(*node.args, **{k.arg: k.value for k in node.keywords if k.arg})


@pytest.mark.ci
def test_the_code_of_the_pages_compiles_and_calls_what_there_is():
    """Names of modules, functions and keywords are rezoo's; inline code in tables is included."""
    faults = []
    texts = [(page, text) for page in PAGES for text in blocks(page, "python")]
    for page in PAGES:
        prose = FENCE.sub("", page.read_text("utf-8"))
        inline = re.findall(r"(?<!`)`(rezoo\.\w+\([^`…]*\))`(?!`)", prose)
        texts += [(page, text) for text in inline]
    assert len(texts) > 80
    for page, text in texts:
        place = f"{name_of(page)}: {text[:60]!r}"
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            faults.append(f"{place}: {error}")
            continue
        for name, node in calls(tree):
            try:
                check_call(name, node)
            except (AttributeError, TypeError) as error:
                faults.append(f"{place}: rezoo.{name}: {error}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rezoo."):
                module = __import__(node.module, fromlist=["x"])
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        faults.append(f"{place}: {node.module} has no {alias.name}")
    assert faults == []


def test_toml_of_the_pages_is_toml():
    found = [(page, text) for page in PAGES for text in blocks(page, "toml")]
    assert found
    for _, text in found:
        tomllib.loads(text)


def test_every_guide_has_a_result_on_its_first_screen():
    """A block of code, a table or a picture stands within the first 15 lines, then the rest."""
    late = []
    for page in sorted((DOCS / "guides").glob("*.md")):
        lines = page.read_text("utf-8").split("\n")
        assert lines[0].startswith("# "), page
        first = next(i for i, line in enumerate(lines) if re.match(r"```|\||!\[", line))
        if first > 15:
            late.append((page.name, first))
    assert late == []


def test_pictures_have_a_text_and_pages_one_title():
    for page in PAGES:
        if DOCS not in page.parents:
            continue
        text = FENCE.sub("", page.read_text("utf-8"))
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, page
        assert all(alt.strip() for alt in re.findall(r"!\[(.*?)\]\(", text)), page


def test_names_of_architectures_in_code_exist():
    known = {entry.name for entry, _ in architectures.describe()}
    used = re.compile(r'create_model\("(\w+)"')
    for page in PAGES:
        for name in used.findall(page.read_text("utf-8")):
            assert name in known or name == "resnet51", (page, name)
