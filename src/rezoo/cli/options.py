"""Options and functions that several commands share."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from rezoo.data.csv_rows import with_columns
from rezoo.data.datasets import ON_BAD_IMAGE
from rezoo.errors import SpecError
from rezoo.models.settings import choose_jax
from rezoo.specs import CROP_MODES
from rezoo.training.timetable import parse_duration
from rezoo.utils.hosts import Hosts, Worker

if TYPE_CHECKING:
    from rezoo.sources.references import Source

START_VARIABLE = "REZOO_START_TIMEOUT"


class NumberOr(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A number, or one word."""

    def __init__(self, word: str) -> None:
        self.name = f"number or {word}"
        self._word = word

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """Return the number, or the word."""
        return self._word if value == self._word else click.INT.convert(value, param, ctx)


def complete_models(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for MODEL: names, after a dot those of weights, and files."""
    from rezoo.registry import architectures
    from rezoo.sources.catalogue import list_weights

    return _completions(list_weights() if "." in incomplete else architectures.names(), incomplete)


def complete_datasets(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a dataset."""
    from rezoo.registry import datasets

    return _completions([*datasets.names(), "folder:", "csv:", "tfds:", "hf:"], incomplete)


def complete_recipes(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a recipe."""
    from rezoo.recipes import list_recipes

    return _completions(list_recipes(), incomplete)


def _completions(names: list[str], incomplete: str) -> list[CompletionItem]:
    # the first item asks the shell for files, in case that no name begins like this
    files = CompletionItem(incomplete, type="file")
    return [files, *(CompletionItem(name) for name in names if name.startswith(incomplete))]


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)

pretrained_option = click.option(
    "--pretrained", is_flag=True, help="Take the default published weights of an architecture."
)

require_pinned_option = click.option(
    "--require-pinned",
    is_flag=True,
    help="Refuse weights of the Hub that neither a commit nor a catalogue's SHA-256 pins.",
)

dataset_option = click.option(
    "--dataset", shell_complete=complete_datasets, help="Dataset; that of the run if not given."
)

SPLITS = click.Choice(["test", "val", "train", "all"])

split_option = click.option(
    "--split", type=SPLITS, default="test", show_default=True, help="Part of the data."
)

batch_size_option = click.option(
    "--batch-size", type=int, default=32, show_default=True, help="Images at a time."
)


def subject_options(command: Any) -> Any:
    """Add MODEL, `--dataset` and `--recipe`: what is trained, on what and how."""
    for option in (
        click.option(
            "--recipe",
            shell_complete=complete_recipes,
            help="Name or .toml file; by default chosen by weights and dataset.",
        ),
        click.option(
            "--dataset",
            shell_complete=complete_datasets,
            help="Dataset reference [digits, or that of RUN].",
        ),
        click.argument("model", required=False, shell_complete=complete_models),
    ):
        command = option(command)
    return command


def geometry_options(command: Any) -> Any:
    """Add `--image-size` and `--crop-mode` to a command."""
    modes = "Of images that are not square: crop, squash, or add a border [the weights']."
    crop_mode = click.option("--crop-mode", type=click.Choice(CROP_MODES), help=modes)
    size = click.option("--image-size", type=int, help="Height and width in pixels [the weights'].")
    return size(crop_mode(command))


def images_options(command: Any) -> Any:
    """Add the options for the images on which a network is measured."""
    for option in (geometry_options, batch_size_option, split_option, dataset_option):
        command = option(command)
    return command


def data_options(command: Any) -> Any:
    """Add the options of `DataOptions` to a command."""
    for option in reversed(
        (
            click.option(
                "--on-bad-image",
                type=click.Choice(ON_BAD_IMAGE),
                default="skip",
                show_default=True,
                help="Leave out images that cannot be read, or stop.",
            ),
            click.option(
                "--bad-limit",
                type=float,
                default=0.01,
                show_default=True,
                help="Largest part of the images that may be left out.",
            ),
            click.option(
                "--ignore",
                default="",
                metavar="FILE",
                help="File with examples to leave out, as `rezoo data check` writes it.",
            ),
        )
    ):
        command = option(command)
    return command


def columns_option(command: Any) -> Any:
    """Add `--columns` to a command with a dataset: the columns become part of the reference."""

    @functools.wraps(command)
    def run(*args: Any, columns: str | None, **given: Any) -> Any:
        if columns:
            given["dataset"] = with_columns(given["dataset"] or "", columns)
        return command(*args, **given)

    return click.option(
        "--columns",
        metavar="ROLE=COLUMN,…",
        help="Other names of columns in the table csv:PATH: path=image,label=emotion.",
    )(run)


def devices_options(command: Any) -> Any:
    """Add `--devices`, `--hosts` and `--restarts`; several devices compute with JAX.

    A command with `--hosts` supervises its worker, a process of its own in which the command
    itself runs. It receives `hosts` as `rezoo.train` does.
    """

    @functools.wraps(command)
    def run(*args: Any, hosts: str | None, restarts: int, **given: Any) -> Any:
        worker = Worker.of_environment()
        if worker is not None or given["devices"] not in (None, 1):
            choose_jax()  # before the command loads Keras
        if worker is not None:
            return command(*args, hosts=worker.place, **given)
        if hosts is None:
            if restarts:
                raise SpecError("--restarts is for a run on several hosts", hint="give --hosts.")
            return command(*args, hosts=None, **given)
        from rezoo.launching.supervisor import supervise

        options = supervisor_options()
        return supervise(Hosts.parse(hosts), sys.argv[1:], restarts, **options)

    for option in (
        click.option(
            "--restarts",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            metavar="K",
            help="Start all hosts again from the last checkpoint, at most K times, if one fails.",
        ),
        click.option(
            "--hosts",
            metavar="ADDRESS:PORT,N,INDEX|auto",
            help="Compute on N hosts, each with this command and its INDEX from 0; the first "
            "listens at ADDRESS:PORT. auto: as SLURM, Cloud TPU, TF_CONFIG or Kubernetes say.",
        ),
        click.option(
            "--devices",
            type=NumberOr("all"),
            help="GPUs of this machine that compute together, with JAX [1; with --hosts all].",
        ),
    ):
        run = option(run)
    return run


def supervisor_options() -> dict[str, Any]:
    """Return the options of `supervise` that the command line sets.

    Raises:
        SpecError: `REZOO_START_TIMEOUT` is not a duration.
    """
    from rezoo.launching.messages import Clocks

    value = os.environ.get(START_VARIABLE) or "10m"
    seconds = parse_duration(value)
    if seconds is None:
        raise SpecError(f"{START_VARIABLE}={value!r} is not a duration", hint="write 90s or 30m.")
    return {"clocks": Clocks(start=seconds), "say": functools.partial(click.echo, err=True)}


def resolve_with_dataset(
    model: str, dataset: str | None, *, pretrained: bool, require_pinned: bool
) -> tuple[Source, str]:
    """Return what MODEL means, and `--dataset` or else the dataset of the run.

    Wrong names are errors here, before TensorFlow is imported.

    Raises:
        SpecError: No dataset is given, and none is recorded.
    """
    from rezoo.data.datasets import dataset_spec
    from rezoo.sources.any_model import own_dataset
    from rezoo.sources.references import resolve_weights

    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    dataset = dataset or own_dataset(source)
    if dataset is None:
        raise SpecError(f"{source.reference} does not record its dataset", hint="give --dataset.")
    dataset_spec(dataset)
    return source, dataset


def parse_settings(settings: tuple[str, ...], frequent: dict[str, Any]) -> dict[str, str]:
    """Return the recipe keys and values of `--set KEY=VALUE`.

    Args:
        settings: Texts of the form `KEY=VALUE`.
        frequent: Keys that were set by options of their own.

    Raises:
        SpecError: A text has another form, or a key is set twice.
    """
    changes: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SpecError(f"--set {setting!r} is not KEY=VALUE", hint="--set momentum=0.8")
        if key in frequent or key in changes:
            raise SpecError(f"recipe key {key!r} is set twice", hint="set it once.")
        changes[key] = value.strip()
    return changes


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; its numbers must be finite."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A duration: `90s`, `45m`, `2h`, `1h30m`, `1d`, or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return seconds, above 0."""
        seconds = parse_duration(str(value))
        if seconds is None:
            self.fail(f"{value!r} is not a duration; write 90s, 45m, 2h or 1h30m", param, ctx)
        return seconds
