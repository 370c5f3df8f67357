"""Tables of the site, generated from the code when the site is built.

A page calls one of these functions with markdown-exec. Each returns Markdown.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def code(text: object) -> str:
    """Return code for the cell of a table."""
    return f"<code>{escaped(text)}</code>" if str(text) else ""


def escaped(text: object) -> str:
    """Return text in which neither `<` nor a vertical bar has a meaning."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


def commands() -> str:
    """Return usage, help and options of each command, from click."""
    import click

    from rezoo.cli.main import cli

    context = click.Context(cli, info_name="rezoo", **cli.context_settings)
    return "\n\n".join(map(_command, _contexts(context)))


def _contexts(context: Any) -> list[Any]:
    """Return the context of a command and, for a group, those of its commands."""
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
    rows = [(code(name), escaped(what)) for name, what in filter(None, records) if what]
    options = table(["option", "meaning"], rows)
    if command.epilog:
        shown = inspect.cleandoc(command.epilog.removeprefix("\b\nExamples:\n"))
        options += f"\n\nExamples:\n\n```text\n{shown}\n```"
    return f"## `{context.command_path}`\n\n```text\n{usage}\n```\n\n{text}\n\n{options}"


def recipe_keys() -> str:
    """Return the allowed values, the default and the meaning of each recipe key."""
    from rezoo.recipes.describe import meanings
    from rezoo.recipes.recipe import RECIPE_RULES, Recipe

    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    rows = []
    for line in inspect.getsource(Recipe).splitlines():
        key = line.strip().partition(":")[0]
        if group := re.fullmatch(r" {4}# (.+)", line):  # above a group of fields
            rows.append((f"**{group[1]}**", "", "", ""))
        elif key in fields and line.startswith(f"    {key}:"):
            allowed = RECIPE_RULES[key][1] if key in RECIPE_RULES else _KINDS[fields[key].type]
            rows.append((code(key), allowed, _default(fields[key]), meanings()[key]))
    return table(["key", "allowed", "default", "meaning"], rows)


_KINDS = {"str": "text", "bool": "true or false"}


def _default(field: dataclasses.Field[Any]) -> str:
    """Return a default as TOML has it."""
    value = field.default
    if value is dataclasses.MISSING:
        return "name of the file"
    if value is None:
        inherited = field.name in ("image_size", "crop_pct", "crop_mode", "interpolation")
        return "from weights or dataset" if inherited else "not set"
    if isinstance(value, tuple):
        return code(f"[{', '.join(f'{number:.4g}' for number in value)}]")
    return code(str(value).lower() if isinstance(value, bool) else value)


def published_recipes() -> str:
    """Return length, cost and accuracy of each recipe with a claim."""
    from rezoo import recipes

    rows = []
    for recipe, claim in recipes.read_all():
        if claim:
            length = f"{recipe.steps} steps" if recipe.steps else recipe.epochs
            size = f"{recipe.batch_size} / {recipe.learning_rate:g}"
            reproduced = claim.reproduced or "not yet"
            rows.append((code(recipe.name), length, size, _expected(claim), claim.cost, reproduced))
    return table(
        ["name", "epochs", "batch size / learning rate", "top-1 %", "cost", "reproduced by rezoo"],
        rows,
    )


def _expected(claim: Any) -> str:
    if not claim.top1:
        return "none for architectures of rezoo"
    figures = ", ".join(f"{name} {100 * part:.4g}" for name, part in claim.top1.items())
    return f"{figures} ± {100 * claim.tolerance:g}"


def claim_keys() -> str:
    """Return the meaning of each key of `[claim]`, from the docstring of the class."""
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
    """Return the 95 % interval of an accuracy of 90 % for some numbers of images."""
    from rezoo.evaluation.scoring.intervals import wilson_interval

    rows = []
    for count in (20, 100, 1_000, 10_000):
        low, high = wilson_interval(count * 9 // 10, count)
        rows.append((f"{count * 9 // 10:,} of {count:,}", f"{low:.1%} to {high:.1%}"))
    return table(["right", "95 % interval"], rows)


def corruptions() -> str:
    """Return what each kind of corruption does, and the parameters of each published set."""
    from rezoo.evaluation.damage.corruptions import KINDS, SETS

    rows = []
    for name, kind in KINDS.items():
        does = inspect.getdoc(kind.change).splitlines()[0]
        sets = (", ".join(map(str, kind.parameters[size])) for size in SETS)
        rows.append((code(name), kind.group, escaped(does), *sets))
    heads = (f"{name}, {size} px" for size, name in SETS.items())
    return table(["kind", "group", "what it does", *heads], rows)


def default_weights() -> str:
    """Return the entries of rezoo's catalogue that `--pretrained` means."""
    rows = []
    for spec in _own_weights():
        if spec.default:
            pins = filter(None, (spec.commit and "commit", spec.sha256 and "SHA-256"))
            top1 = "" if spec.top1 is None else f"{spec.top1:.2%}"
            size = spec.preprocessing.for_test().size[0]
            rows.append((code(spec.name), top1, size, spec.licence, " and ".join(pins)))
    return table(["name", "top-1", "px", "licence", "pinned"], rows)


def weights_count() -> str:
    """Return the number of entries, pinned entries and defaults in a sentence."""
    specs = _own_weights()
    return (
        f"The catalogue has {len(specs)} entries of "
        f"{len({spec.architecture for spec in specs})} architectures. "
        f"{sum(bool(spec.sha256) for spec in specs)} have a SHA-256, "
        f"{sum(bool(spec.commit) for spec in specs)} of them also a commit; "
        f"{sum(spec.default for spec in specs)} are the default of their architecture:"
    )


def families() -> str:
    """Return members, published weights, lines and longest function of each file of a family."""
    import ast
    from collections import Counter
    from importlib.util import find_spec
    from pathlib import Path

    from rezoo import registry

    published = Counter(spec.architecture for spec in _own_weights())
    members: dict[str, list[Any]] = {}
    for entry, spec in registry.architectures.describe():
        if spec and entry.builtin:
            members.setdefault(entry.point.module, []).append(spec)
    rows = []
    for module, specs in sorted(members.items(), key=lambda item: -len(item[1])):
        text = Path(find_spec(module).origin or "").read_text("utf-8")
        functions = [x for x in ast.walk(ast.parse(text)) if isinstance(x, ast.FunctionDef)]
        lengths = {x.name: _lines_of_code(x) for x in functions}
        longest = max(lengths, key=lengths.__getitem__, default="")
        rows.append(
            (
                code(f"{module.rpartition('.')[2]}.py"),
                ", ".join(sorted({code(spec.family) for spec in specs})),
                len(specs),
                sum(published[spec.name] for spec in specs),
                len(text.splitlines()),
                f"{code(longest)}, {lengths[longest]}" if longest else "",
            )
        )
    head = ["file", "families", "members", "weights", "lines", "longest function, lines"]
    return table(head, rows)


def _lines_of_code(function: Any) -> int:
    """Return the number of lines of a function without its docstring."""
    import ast

    first = function.body[0]
    documented = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return int(function.end_lineno - function.lineno + 1 - documented)


def _own_weights() -> list[Any]:
    """Return the entries of rezoo's own catalogue, without those of the environment."""
    from rezoo.sources import catalogue

    return [spec for spec in catalogue.describe() if spec.catalogue == catalogue.BUILTIN]


_CATALOGUE_KEYS = {
    "arch": "the architecture's registered name",
    "tag": "what follows the dot in `arch.tag`",
    "repo": "`owner/name` on the Hub",
    "licence": "licence of the weights, as stated by their authors",
    "default": "whether `--pretrained` loads these weights; requires a `sha256` and a licence that "
    "allows commercial use",
    "commit": "40 hexadecimal digits; without it, `main` is used and the SHA-256 decides",
    "sha256": "of `model.safetensors`, 64 hexadecimal digits in lower case; without it, the file "
    "is compared with the SHA-256 that the Hub states",
    "bytes": "size of `model.safetensors`; a larger file is not downloaded",
    "num_classes": "width of the head; 1000 if not given",
    "train_size": "height and width in pixels; 224 if not given",
    "crop_pct": "part of a resized side that the crop keeps, at `train_size`; 0.875 if not given",
    "test_size": "height and width of the published accuracy; `train_size` if not given",
    "test_crop_pct": "likewise for `crop_pct`",
    "crop_mode": "`center` (if not given), `squash` or `border`",
    "interpolation": "`bilinear` (if not given) or `bicubic`",
    "mean": "per channel, on 0 to 1; ImageNet's if not given",
    "std": "likewise",
    "macs": "multiply-adds for one image at `test_size`; lists show them",
    "top1_train_size": "published top-1 in percent at `train_size`",
    "top5_train_size": "likewise top-5",
    "top1_test_size": "published top-1 in percent at `test_size`",
    "top5_test_size": "likewise top-5",
    "extra_data": "training data other than ImageNet-1k, in words; lists mark it",
    "note": "a remark for users",
}
_TOML_KINDS = {str: "text", bool: "true or false", int: "integer", float: "number", list: "list"}


def catalogue_keys() -> str:
    """Return kind and meaning of each key of an entry of a catalogue."""
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
    "config.json": "architecture, classes, preprocessing and the manifest",
    "model.safetensors": "weights of the best epoch, in PyTorch's layout",
    "reference.safetensors": "up to four images, the inputs made from them, and the logits",
    "calibration.safetensors": "class means for the similarity, if `rezoo calibrate` chose it",
    "recipe.toml": "recipe with every key",
    "metrics.json": "scores of the best epoch on val; `rezoo eval --record` adds those on test",
    "history.csv": "one row per epoch",
    "environment.json": "versions of packages, system and devices; what changed on resuming",
    "README.md": "model card, written from the other files",
    "report.html": "curves, figures, confusions, mistakes as pictures, recipe and commands on one "
    "page; pushed without paths and, unless their licence allows it, without photographs",
    "curves.svg": "the curves, drawn every 30 s of training and at the end",
    "predictions-*.npz": "logits and truth of each image of a split, with `rezoo eval --record`",
    "checkpoints/": "last state and the one before, for `--resume`; `local.json`, what the run was "
    "started with; `data.safetensors`, which images it has; `last/`, a model folder with the last "
    "weights",
    "events/": "for TensorBoard, with `--tensorboard`",
    "exports/": "output of `rezoo export`, one folder per format",
}


def run_files() -> str:
    """Return the files of a run folder, and whether they are in the manifest and pushed."""
    from rezoo.artifacts import run_files as records

    folders = {f"{name}/" for name in (records.CHECKPOINTS, records.EVENTS, records.EXPORTS)}
    predictions = {"predictions-*.npz"}
    if differing := _RUN_FILES.keys() ^ {*records.PUBLISHED, *predictions, *folders}:
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
    """Return rezoo's keys of `config.json`, from the docstring of `rezoo.artifacts.config`."""
    from rezoo.artifacts import config

    lines = [x for x in inspect.getdoc(config).splitlines() if x.startswith("|")]
    found = {line.split("`")[1] for line in lines if "`" in line}
    if differing := found ^ {*config.OWN}:
        raise ValueError(f"the docstring of rezoo.artifacts.config differs by {sorted(differing)}")
    return "\n".join(lines)


# "Deep Residual Learning for Image Recognition", arXiv:1512.03385, table 1, last row, in 10⁹
_PRINTED = {"18": 1.8, "34": 3.6, "50": 3.8, "101": 7.6, "152": 11.3}


def architectures_of_the_paper() -> str:
    """Return table 1 of arXiv:1512.03385, read from the graphs of the networks at 224 pixels."""
    outlines = {depth: _of_the_paper(depth) for depth in _PRINTED}
    first = next(iter(outlines.values()))
    rows = []
    for index, stage in enumerate(first.stages):
        cells = [_layers(outline, index) for outline in outlines.values()]
        rows.append(("×".join(map(str, stage.size)), *cells))
    counted = {depth: sum(len(s.layers) for s in o.stages) for depth, o in outlines.items()}
    rows += [
        ("layers", *counted.values()),
        ("MACs", *(f"{outline.profile.macs:,}" for outline in outlines.values())),
        ("10⁹, as printed in the paper", *_PRINTED.values()),
    ]
    return table(["output", *(f"{depth} layers" for depth in outlines)], rows)


def _of_the_paper(depth: str) -> Any:
    """Return the outline of a network as the paper counts it: with option A, or its bottleneck."""
    from rezoo.drawing.outline import outline
    from rezoo.models.factory import start_from_zeros
    from rezoo.registry import architectures

    spec = architectures.get(f"resnet{depth}")
    v1 = [(block.replace("bottleneck", "bottleneck_v1"), w) for block, w in spec.config["blocks"]]
    option = "padded" if v1 == list(spec.config["blocks"]) else "projection"
    given = {"name": spec.name, "input_shape": (224, 224, 3), "num_classes": spec.num_classes}
    config = {**spec.config, "blocks": v1, "shortcut": option, "classifier_activation": None}
    return outline(start_from_zeros(lambda: spec.build(**given, **config)))


def _layers(outline: Any, index: int) -> str:
    """Return the pooling and the blocks of a stage in the notation of the paper."""
    stage = outline.stages[index]
    place = outline.line.index(stage.layers[0])
    lines = [outline.line[place - 1].cost.text] if not outline.line[place - 1].counted else []
    for texts, blocks in stage.runs:
        lines.append("<br>".join(texts))
        if len(texts) > 1:
            lines[-1] = f"[{'<br>'.join(texts)}] ×{blocks}"
    return "<br>".join(lines)


def contract(kind: str) -> str:
    """Return the checks of `rezoo plugin check` for a kind of name, from their docstrings."""
    from rezoo.testing.contract import name_of
    from rezoo.testing.subjects import CHECKS

    rows = [(name_of(check), str(check.__doc__).splitlines()[0]) for check in CHECKS[kind]]
    return table(("check", "what must hold"), rows)


def new_package(kind: str, path: str) -> str:
    """Return a file of the package that `rezoo plugin new mine` writes, as a code block."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from rezoo.testing.new_package import write_package

    with TemporaryDirectory() as folder:
        made = write_package("mine", kind, Path(folder))
        content = (made.folder / path).read_text("utf-8")
    language = {".py": "python", ".toml": "toml"}[Path(path).suffix]
    return f'``` {{.{language} title="{path}"}}\n{content.rstrip()}\n```'


def colab() -> str:
    """Return a sentence with the link to the notebook in Colab; empty without a place on GitHub."""
    place = re.fullmatch(
        r"https://github\.com/([\w.-]+/[\w.-]+)/?", os.environ.get("REZOO_REPOSITORY", "")
    )
    if place is None:
        return ""
    notebook = f"github/{place[1]}/blob/main/examples/quickstart.ipynb"
    return f"[Open the notebook in Colab](https://colab.research.google.com/{notebook})."
