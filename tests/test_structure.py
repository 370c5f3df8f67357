"""The rules of CONTRIBUTING on files, functions and names, checked on the source itself."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import rezoo

PACKAGE = Path(rezoo.__file__).parent
FILES = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*.py"))}

MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 50  # a function's docstring is not counted


@cache
def tree(name: Path) -> ast.Module:
    return ast.parse(FILES[name].read_text("utf-8"))


def lines_without_docstring(function: ast.FunctionDef) -> int:
    docstring = 0
    if ast.get_docstring(function):
        first = function.body[0]
        docstring = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("name", FILES, ids=str)
def test_files_and_functions_are_short(name):
    lines = FILES[name].read_text("utf-8").count("\n")
    assert lines <= MAX_FILE_LINES
    functions = [n for n in ast.walk(tree(name)) if isinstance(n, ast.FunctionDef)]
    long = {f.name: lines_without_docstring(f) for f in functions}
    assert {f: lines for f, lines in long.items() if lines > MAX_FUNCTION_LINES} == {}


def test_no_file_name_stands_twice():
    """A file of `cli` may be named like the module that its command calls."""
    found = defaultdict(list)
    for name in FILES:
        if not name.stem.startswith("__") and name.parts[0] != "cli":
            found[name.stem].append(str(name))
    assert {stem: names for stem, names in found.items() if len(names) > 1} == {}


def test_no_class_name_stands_twice():
    found = defaultdict(list)
    for name in FILES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(name))
    assert {kind: names for kind, names in found.items() if len(names) > 1} == {}
