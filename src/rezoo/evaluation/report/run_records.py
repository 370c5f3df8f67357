"""What a run folder records of a run, for its report, and the commands that repeat the run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rezoo.artifacts import run_files
from rezoo.artifacts.config import read_config
from rezoo.data.datasets import DataOptions
from rezoo.errors import RezooError
from rezoo.evaluation.damage.drops import Robustness
from rezoo.recipes import list_recipes, read_recipe
from rezoo.recipes.describe import meanings
from rezoo.recipes.recipe import Recipe
from rezoo.sources.hub_address import is_address
from rezoo.sources.references import is_path
from rezoo.specs import ModelConfig
from rezoo.tasks import Task, task_of
from rezoo.utils.documents import read_document

_ABOUT = ("name", "summary", "source")  # keys that describe a recipe


@dataclass(frozen=True)
class RecipeKey:
    """A key of a recipe.

    Attributes:
        key: The key.
        value: In this run, as text.
        usual: In the recipe of this name, as text; empty if it leaves the key open.
        meaning: In words.
    """

    key: str
    value: str
    usual: str
    meaning: str


@dataclass(frozen=True)
class Command:
    """A line for the shell.

    Attributes:
        text: The line.
        private: Whether it has paths of this machine.
    """

    text: str
    private: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecords:
    """The records of a finished run.

    Attributes:
        folder: The run folder.
        config: Of its network.
        metrics: Content of `metrics.json`.
        recipe: Content of `recipe.toml`.
        history: Rows of `history.csv`; a cell without a number is None.
        environment: Content of `environment.json`.
        start: Content of `checkpoints/local.json`; empty if it is missing or damaged.
    """

    folder: Path
    config: ModelConfig
    metrics: Mapping[str, Any]
    recipe: Mapping[str, Any]
    history: Sequence[Mapping[str, float | None]]
    environment: Mapping[str, Any]
    start: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the records of a folder.

        Raises:
            RezooError: A record is missing or damaged, or has a value that is not allowed.
        """
        start: Mapping[str, Any] = {}
        with suppress(RezooError):  # a folder from elsewhere has none
            start = read_document(folder / run_files.LOCAL)
        return cls(
            folder=folder.resolve(),
            config=read_config(folder),
            metrics=run_files.read_metrics(folder),
            recipe=run_files.read_recipe_of_run(folder),
            history=[_numbers(row) for row in run_files.read_history(folder)],
            environment=run_files.read_environment(folder),
            start=start,
        )

    @property
    def task(self) -> Task:
        """Task of the network."""
        return task_of(self.config.multi_label)

    @property
    def data_name(self) -> str:
        """Name of the dataset, without a path."""
        return str(self.metrics.get("data", {}).get("name", "unknown data"))

    @property
    def scores(self) -> dict[str, Mapping[str, Any]]:
        """Split → its scores; test first, if it was measured."""
        return {split: self.metrics[split] for split in ("test", "val") if split in self.metrics}

    @property
    def robustness(self) -> Robustness | None:
        """The scores on corrupted images, if they were recorded; raises `IncompatibleError`."""
        scores = self.metrics.get(run_files.CORRUPTIONS)
        names = {"model": self.config.architecture, "dataset": self.data_name}
        return Robustness.from_dict({**scores, **names}) if scores else None

    @property
    def epochs(self) -> int:
        """Number of completed epochs; 0 for a probe."""
        return int(self.metrics.get("epochs", 0))

    @property
    def private(self) -> bool:
        """Whether the dataset's reference has a path of this machine."""
        return bool(self.metrics.get("data", {}).get("private", True))

    def settings(self) -> tuple[str, list[RecipeKey], list[RecipeKey]]:
        """Compare the recipe with the one of this name, or else with the default values.

        Returns:
            What it is compared with, the keys that differ, and all others.
        """
        name = str(self.recipe.get("name", ""))
        usual = {field.name: field.default for field in dataclasses.fields(Recipe)}
        what = "the default values"
        if name in list_recipes():
            usual = Recipe.from_dict(read_recipe(name), origin=name).to_dict()
            what = f"the recipe {name}"
        differing: list[RecipeKey] = []
        others: list[RecipeKey] = []
        for key, value in self.recipe.items():
            if key in _ABOUT:
                continue
            shown = RecipeKey(key, _text(value), _text(usual.get(key)), meanings().get(key, ""))
            (others if shown.value == shown.usual else differing).append(shown)
        return what, differing, others

    def commands(self, split: str) -> list[Command]:
        """Return what repeats the run, measures a split, and verifies the files.

        Args:
            split: Name of the split.
        """
        data, model = self.start.get("dataset"), self.start.get("source")
        found = [Command(f"cd {quoted(str(self.folder))}", private=True)]
        if data and model:
            options = self._options()
            words = ["rezoo", "train", str(model), "--dataset", str(data), *options]
            words += ["--recipe", run_files.RECIPE, "--output", "../again"]
            local = is_path(str(model)) and not is_address(str(model))
            private = self.private or local or "--ignore" in options
            found.append(Command(" ".join(map(quoted, words)), private))
        named = "" if self.private or not data else f" --dataset {quoted(str(data))}"
        return [
            *found,
            Command(f"rezoo eval .{named} --split {quoted(split)}"),
            Command("rezoo verify ."),
        ]

    def _options(self) -> list[str]:
        """Return the options of the command line that the run was started with."""
        options, usual = self.start.get("options"), DataOptions()
        words = ["--deterministic"] if self.start.get("deterministic") else []
        for name, value in options.items() if isinstance(options, Mapping) else ():
            if value != getattr(usual, name, value):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words


def quoted(text: str) -> str:
    """Quote a word for bash, on one line; characters that do not print are escaped."""
    if text.isprintable():
        return shlex.quote(text)
    shown = []
    for character in text:
        if character in "'\\":
            shown.append(f"\\{character}")
        elif character.isprintable():
            shown.append(character)
        else:
            code = character.encode("utf-8", "surrogateescape")
            shown.append("".join(f"\\x{byte:02x}" for byte in code))
    return f"$'{''.join(shown)}'"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()  # as TOML has it
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _numbers(row: Mapping[str, str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key, cell in row.items():
        try:
            found[key] = float(cell)
        except (TypeError, ValueError):  # empty, or a date
            found[key] = None
    return found
