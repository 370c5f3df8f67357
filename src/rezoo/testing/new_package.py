"""`rezoo plugin new`: a package with one architecture, dataset or recipe, and its tests."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from rezoo.errors import PluginError, SpecError, writing
from rezoo.testing.subjects import KINDS, registered
from rezoo.utils.pages import render

NEW_KINDS = ("architecture", "dataset", "recipe")
_LONGEST = 50  # characters
_TRY = {
    "architecture": "rezoo train {name} --dataset digits --epochs 2",
    "dataset": "rezoo train resnet20 --dataset {name} --epochs 2",
    "recipe": "rezoo train resnet20 --dataset digits --recipe {name}",
}
_CONTENT = {
    "architecture": "`src/{package}/{name}.py` has the network, a small one that you replace. "
    "`params` and `macs` in its spec are those of the small one: `rezoo plugin check {name}` gives "
    "the figures of yours.",
    "dataset": "`src/{package}/{name}.py` has the data: made-up images that you replace. An "
    "accuracy on them means nothing.",
    "recipe": "`src/{package}/{name}.toml` has the values, which you replace. "
    "`rezoo info {name}` explains every key.",
}


@dataclass(frozen=True)
class NewPackage:
    """A package that has been written.

    Attributes:
        folder: Its folder.
        files: Its files, as paths below the folder.
        command: A command that uses what it registers.
    """

    folder: Path
    files: tuple[str, ...]
    command: str


def write_package(name: str, kind: str, parent: Path = Path()) -> NewPackage:
    """Write a package that registers a name, with tests that pass.

    Args:
        name: The name that users will type.
        kind: One of `NEW_KINDS`.
        parent: The folder in which the folder of the package, `rezoo-NAME`, is made.

    Raises:
        SpecError: The name is not allowed, or the folder has files already.
        PluginError: An installed distribution registers the name.
        ResourceError: The folder cannot be written.
    """
    _check_name(name, kind)
    distribution, package = f"rezoo-{name.replace('_', '-')}", f"rezoo_{name}"
    folder = parent / distribution
    _refuse_files(folder)
    module = package if kind == "recipe" else f"{package}.{name}"
    command = _TRY[kind].format(name=name)
    values = {
        "name": name,
        "kind": kind,
        "a_kind": f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        "distribution": distribution,
        "package": package,
        "group": KINDS[kind].group.removeprefix("rezoo."),
        "reference": f"{module}:{name}",
        "version": version("rezoo"),
        "command": command,
        "content": _CONTENT[kind].format(name=name, package=package),
    }
    files = _files(name, kind, package)
    hint = "go to a folder that you may write to."
    with writing(folder, hint=hint), TemporaryDirectory(prefix=".rezoo-", dir=parent) as own:
        for path, template in files.items():
            target = Path(own, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(render(f"plugin/{template}.txt", **values), "utf-8")
        folder.mkdir(exist_ok=True)
        for found in Path(own).iterdir():
            found.rename(folder / found.name)
    return NewPackage(folder, tuple(files), command)


def _files(name: str, kind: str, package: str) -> dict[str, str]:
    """Return path → template of each file."""
    source = "toml" if kind == "recipe" else "py"
    return {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "LICENSE": "LICENSE",
        f"src/{package}/__init__.py": "init.py",
        f"src/{package}/{name}.{source}": f"{kind}.{source}",
        f"tests/test_{name}.py": f"test_{kind}.py",
        ".github/workflows/test.yml": "workflow.yml",
        ".gitignore": "gitignore",
    }


def _check_name(name: str, kind: str) -> None:
    """Refuse a name that is not allowed, or that an installed distribution registers."""
    allowed = f"a-z, 0-9 and _, first a letter, at most {_LONGEST} characters"
    if name.lower().startswith(("rezoo-", "rezoo_")):
        rest = re.sub(r"\W", "_", name[6:].lower())
        raise SpecError(
            f"name: {name!r} begins with rezoo",
            hint=f"give the name that users type: rezoo plugin new {rest or 'NAME'} makes the "
            f"package rezoo-{rest.replace('_', '-') or 'NAME'}.",
        )
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{_LONGEST - 1}}}", name):
        proposed = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:_LONGEST]
        other = f"; for example {proposed}" if proposed else ""
        raise SpecError(f"name: {name!r}; allowed are {allowed}", hint=f"choose another{other}.")
    if keyword.iskeyword(name):
        raise SpecError(
            f"name: {name!r} is a word of Python", hint=f"choose another, for example {name}_net."
        )
    owners = [e for k, e in registered() if k == kind and e.name == name]
    if kind == "recipe" and not owners:
        from rezoo.recipes import list_recipes

        if name in list_recipes():
            raise PluginError(f"rezoo itself has the recipe {name!r}", hint="choose another name.")
    if owners:
        raise PluginError(
            f"{owners[0].distribution} {owners[0].version} registers the {kind} {name!r}",
            hint="choose another name: two packages cannot share one.",
        )


def _refuse_files(folder: Path) -> None:
    if not folder.exists():
        return
    found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [folder.name]
    if others := [name for name in found if name != ".git"]:
        raise SpecError(
            f"{folder} exists and has {', '.join(others[:3])}{', …' if len(others) > 3 else ''}",
            hint="no file was written. Choose another name, or move the folder away.",
        )
