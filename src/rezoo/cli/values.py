"""Types of values on the command line, and what a shell completes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from rezoo import registry
from rezoo.data.dataset_references import KINDS
from rezoo.data.listing import reference_of
from rezoo.errors import SpecError
from rezoo.specs import MAX_IMAGE_SIZE
from rezoo.training.timetable import parse_duration
from rezoo.utils.hosts import Worker
from rezoo.utils.names import printable

_FACTORS = {"k": 10**3, "M": 10**6, "G": 10**9}


class NumberOr(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A number, or one word."""

    def __init__(self, word: str, least: int | None = None) -> None:
        self.name = f"number or {word}"
        self._word, self._number = word, click.IntRange(min=least)

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """Return the number, or the word."""
        return self._word if value == self._word else self._number.convert(value, param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A duration: `90s`, `45m`, `2h`, `1h30m`, `1d`, or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return seconds, above 0."""
        seconds = parse_duration(str(value))
        if seconds is None:
            self.fail(f"{value!r} is not a duration; write 90s, 45m, 2h or 1h30m", param, ctx)
        return seconds


class DatasetReference(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A dataset reference, or the path of a folder or table, which becomes one with a note."""

    name = "dataset"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the reference."""
        text = str(value)
        meant = reference_of(text) if text.partition(":")[0] not in KINDS else ""
        if not meant:
            return text
        known = text in registry.datasets.names()
        note = f"{text} is read as {meant}"
        if known:
            note = f"the dataset {text} is used; what has that name here is {meant}"
        if Worker.of_environment() is None:  # else its supervisor has printed it
            click.echo(f"Note: {printable(note)}", err=True)
        return text if known else meant

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """Return what a shell offers: names, the beginnings of references, and files."""
        names = registry.datasets.names()
        return _completions([*names, *(f"{kind}:" for kind in KINDS)], incomplete)


class LargeNumber(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A number such as 30M, 4.1G or 25557032."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number."""
        text = str(value)
        digits, factor = (text[:-1], _FACTORS[text[-1]]) if text[-1:] in _FACTORS else (text, 1)
        try:
            count = float(digits) * factor
        except ValueError:
            count = -1
        if not 0 <= count < float("inf"):
            self.fail(f"{text!r} is no number such as 30M, 4.1G or 800k.", param, ctx)
        return count


class Drawing(click.Path):
    """The path of a drawing, an .svg file."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path."""
        if Path(value).suffix.lower() != ".svg":
            raise SpecError(f"--output {value}: drawings are .svg", hint="choose such a name.")
        return super().convert(value, param, ctx)


class Device(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A device: `cpu`, `gpu`, or `gpu:N` for the GPU of that number."""

    name = "cpu|gpu|gpu:N"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the text."""
        if not re.fullmatch(r"cpu|gpu(:[0-9]{1,4})?", str(value)):
            self.fail(f"{value!r}; write cpu, gpu or gpu:0", param, ctx)
        return str(value)


COUNT = click.IntRange(min=1)
SIDE = click.IntRange(1, MAX_IMAGE_SIZE)  # pixels
DEVICE_HELP = "Where to compute; gpu requires one [a GPU if there is one]."


def complete_models(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for MODEL: names, after a dot those of weights, and files."""
    from rezoo.sources.catalogue import list_weights

    names = list_weights() if "." in incomplete else registry.architectures.names()
    return _completions(names, incomplete)


def complete_recipes(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a recipe."""
    from rezoo.recipes import list_recipes

    return _completions(list_recipes(), incomplete)


def _completions(names: list[str], incomplete: str) -> list[CompletionItem]:
    # the first item asks the shell for files, in case that no name begins like this
    files = CompletionItem(incomplete, type="file")
    return [files, *(CompletionItem(name) for name in names if name.startswith(incomplete))]
