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
    return "\n\n".join(map(_command, _contexts(context)))


def _contexts(context: Any) -> list[Any]:
    """Return a command and, where it is a group, those inside it."""
    import click

    inside = sorted(getattr(context.command, "commands", {}).items())
    children = [click.Context(c, parent=context, info_name=name) for name, c in inside]
    return [context, *(below for child in children for below in _contexts(child))]


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


def published_recipes() -> str:
    """Return every recipe with a claim: what it takes, what its source reached with it."""
    from rezoo import recipes
    from rezoo.recipes.recipe import Recipe

    rows = []
    for name in recipes.list_recipes():
        values, claim = recipes.read_with_claim(name)
        if claim:
            recipe = Recipe.from_dict(values, origin=name)
            length = f"{recipe.steps} steps" if recipe.steps else recipe.epochs
            size = f"{recipe.batch_size} / {recipe.learning_rate:g}"
            reproduced = claim.reproduced or "not yet"
            rows.append((code(name), length, size, _expected(claim), claim.cost, reproduced))
    return table(
        ["name", "epochs", "images a step / rate", "top-1 %", "cost", "reproduced by rezoo"], rows
    )


def _expected(claim: Any) -> str:
    if not claim.top1:
        return "none for these networks"
    figures = ", ".join(f"{name} {100 * part:.4g}" for name, part in claim.top1.items())
    return f"{figures} ± {100 * claim.tolerance:g}"


def claim_keys() -> str:
    """Return every key of `[claim]` and its meaning, from the docstring of the class."""
    from rezoo.recipes.claims import Claim

    text = inspect.getdoc(Claim).partition("Attributes:\n")[2]
    rows = re.findall(r"^ {4}(\w+): ((?:.+\n?(?: {8}.+\n?)*))", text, re.MULTILINE)
    return table(["key", "meaning"], [(code(key), " ".join(what.split())) for key, what in rows])


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


def weights(*, defaults: bool = False) -> str:
    """Return rezoo's own catalogue: all entries, or only those that `--pretrained` means."""
    rows = []
    for spec in _own_weights():
        if spec.default or not defaults:
            mark = "" if defaults or not spec.default else " *"
            pins = filter(None, (spec.commit and "commit", spec.sha256 and "SHA-256"))
            top1 = "" if spec.top1 is None else f"{spec.top1:.2%}"
            size = spec.preprocessing.for_test().size[0]
            pinned = " and ".join(pins) or "no"
            rows.append((code(spec.name) + mark, top1, size, spec.licence, pinned))
    return table(["name", "top-1", "px", "licence", "pinned"], rows)


def weights_count() -> str:
    """Return in one sentence how many weights there are, and how many of them are pinned."""
    specs = _own_weights()
    return (
        f"The catalogue has {len(specs)} entries of "
        f"{len({spec.architecture for spec in specs})} architectures. "
        f"{sum(bool(spec.sha256) for spec in specs)} have a SHA-256, "
        f"{sum(bool(spec.commit) for spec in specs)} of them a commit as well; "
        f"{sum(spec.default for spec in specs)} are the default of their architecture:"
    )


def _own_weights() -> list[Any]:
    """Return the entries of rezoo itself: those of whoever builds the site are no part of it."""
    from rezoo.sources import catalogue

    return [spec for spec in catalogue.describe() if spec.catalogue == catalogue.BUILTIN]


_CATALOGUE_KEYS = {
    "arch": "the architecture's registered name",
    "tag": "what follows the dot in `arch.tag`",
    "repo": "`owner/name` on the Hub",
    "licence": "of the weights, as their authors state it",
    "default": "whether `--pretrained` means these weights; needs a `sha256` and a licence that "
    "allows commercial use",
    "commit": "40 hexadecimal digits; without it, `main` is asked for and the hash decides",
    "sha256": "of `model.safetensors`, 64 hexadecimal digits in lower case; without it, the entry "
    "is listed and not loaded by name",
    "bytes": "size of `model.safetensors`; a larger file is not downloaded",
    "num_classes": "width of the head; 1000 where not given",
    "train_size": "height and width in pixels; 224 where not given",
    "crop_pct": "part of the resized shorter side that the crop keeps, at `train_size`; 0.875 "
    "where not given",
    "test_size": "height and width of the quoted accuracy; `train_size` where not given",
    "test_crop_pct": "likewise for `crop_pct`",
    "interpolation": "`bilinear` (where not given) or `bicubic`",
    "mean": "per channel, on 0 to 1; ImageNet's where not given",
    "std": "likewise",
    "macs": "multiply-adds for one image at the test size, for lists",
    "top1_train_size": "published top-1 in percent at `train_size`",
    "top5_train_size": "likewise top-5",
    "top1_test_size": "published top-1 in percent at `test_size`",
    "top5_test_size": "likewise top-5",
    "note": "what a user should know",
}
_TOML_KINDS = {str: "text", bool: "true or false", int: "integer", float: "number", list: "list"}


def catalogue_keys() -> str:
    """Return every key of a catalogue's entry; fails where one has no meaning here."""
    from rezoo.sources import catalogue

    if differing := catalogue._KEYS.keys() ^ _CATALOGUE_KEYS.keys():
        raise ValueError(
            f"docs/generate.py and rezoo.sources.catalogue differ by {sorted(differing)}"
        )
    rows = [
        (
            code(key),
            _TOML_KINDS[catalogue._KEYS[key]],
            "yes" if key in catalogue._REQUIRED else "",
            what,
        )
        for key, what in _CATALOGUE_KEYS.items()
    ]
    return table(["key", "kind", "required", "meaning"], rows)


_RUN_FILES = {
    "config.json": "the architecture, its classes, the preprocessing and the manifest",
    "model.safetensors": "the weights of the best epoch, in PyTorch's layout",
    "reference.safetensors": "up to four images, what the network sees of them, and its logits",
    "recipe.toml": "the recipe in full",
    "metrics.json": "the best epoch's figures on val; `rezoo eval` adds those on test",
    "history.csv": "a line for each epoch",
    "environment.json": "versions of packages, system, processor and devices",
    "README.md": "a model card, written from the other files",
    "report.html": "curves, figures and classes on one page that needs no network",
    "curves.svg": "the curves alone, drawn anew after each epoch",
    "checkpoints/": "the last state, for `--resume`; `local.json`, which model and data the run "
    "was started with; `last/`, a model folder with the last weights",
    "events/": "for TensorBoard, with `--tensorboard`",
    "exports/": "what `rezoo export` made of it, a folder for each format",
}


def run_files() -> str:
    """Return the files of a run folder, with those in the manifest and those that are pushed."""
    from rezoo.artifacts import run_files as records

    folders = {f"{name}/" for name in (records.CHECKPOINTS, records.EVENTS, records.EXPORTS)}
    if differing := _RUN_FILES.keys() ^ {*records.PUBLISHED, *folders}:
        raise ValueError(
            f"docs/generate.py and rezoo.artifacts.run_files differ by {sorted(differing)}"
        )
    rows = [
        (
            code(name),
            what,
            "yes" if name in records.LISTED else "by `checksum`" if name == "config.json" else "",
            "yes" if name in records.PUBLISHED else "never",
        )
        for name, what in _RUN_FILES.items()
    ]
    return table(["file", "content", "in the manifest", "pushed"], rows)


def config_keys() -> str:
    """Return rezoo's own keys of `config.json`, from the docstring of `rezoo.artifacts.config`."""
    from rezoo.artifacts import config

    lines = [x for x in inspect.getdoc(config).splitlines() if x.startswith("|")]
    found = {line.split("`")[1] for line in lines if "`" in line}
    if differing := found ^ {*config._OWN}:
        raise ValueError(f"the docstring of rezoo.artifacts.config differs by {sorted(differing)}")
    return "\n".join(lines)
