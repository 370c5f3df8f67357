"""Options and functions that several commands share."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.values import (
    COUNT,
    DEVICE_HELP,
    SIDE,
    DatasetReference,
    Device,
    complete_models,
)
from rezoo.data.csv_rows import with_columns
from rezoo.data.datasets import ON_BAD_IMAGE, DataOptions
from rezoo.errors import NotFoundError, SpecError
from rezoo.models.settings import choose_device
from rezoo.specs import CROP_MODES
from rezoo.utils.files import refuse_unwritable
from rezoo.utils.paths import expanded

if TYPE_CHECKING:
    from rezoo.sources.references import Source


def examples(*lines: str) -> str:
    """Return command lines as the end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


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

models_argument = click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models
)

dataset_option = click.option(
    "--dataset", type=DatasetReference(), help="Dataset; that of the run if not given."
)

SPLITS = click.Choice(["test", "val", "train", "all"])

split_option = click.option(
    "--split", type=SPLITS, default="test", show_default=True, help="Part of the data."
)

batch_size_option = click.option(
    "--batch-size", type=COUNT, default=32, show_default=True, help="Images at a time."
)


def geometry_options(command: Any) -> Any:
    """Add `--image-size` and `--crop-mode` to a command."""
    modes = "Of images that are not square: crop, squash, or add a border [the weights']."
    crop_mode = click.option("--crop-mode", type=click.Choice(CROP_MODES), help=modes)
    help_text = "Height and width in pixels [the weights']."
    size = click.option("--image-size", type=SIDE, help=help_text)
    return size(crop_mode(command))


def images_options(command: Any) -> Any:
    """Add the options for the images on which a network is measured."""
    for option in (geometry_options, batch_size_option, split_option, dataset_option):
        command = option(command)
    return command


def _existing_list(context: Any, parameter: Any, value: str) -> str:
    if value and not os.path.lexists(expanded(value)):
        raise NotFoundError(f"cannot read the list {value}: no such file", hint="check the path.")
    return value


def data_options(command: Any) -> Any:
    """Add `data_flags` to a command, which receives them as one `DataOptions`, `options`."""

    @functools.wraps(command)
    def run(*args: Any, on_bad_image: str, bad_limit: float, ignore: str, **given: Any) -> Any:
        options = DataOptions(on_bad_image=on_bad_image, bad_limit=bad_limit, ignore=ignore)
        return command(*args, options=options, **given)

    return data_flags(run)


def data_flags(command: Any) -> Any:
    """Add the options of `DataOptions` that all commands with a dataset have."""
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
                callback=_existing_list,
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


def device_option(command: Any) -> Any:
    """Add `--device`, which chooses where the backend computes, before it is imported."""

    @functools.wraps(command)
    def run(*args: Any, device: str | None, **given: Any) -> Any:
        if device and ":" in device and given.get("devices") not in (None, 1):
            raise SpecError(f"--device {device} is one device", hint="leave --devices out.")
        if device:
            choose_device(device)
        return command(*args, **given)

    return click.option("--device", type=Device(), help=DEVICE_HELP)(run)


def resolve_with_dataset(
    model: str, dataset: str | None, *, pretrained: bool, require_pinned: bool
) -> tuple[Source, str]:
    """Return what MODEL means, and `--dataset` or else the dataset of the run.

    Wrong names are errors here, before TensorFlow is imported.

    Raises:
        SpecError: No dataset is given, and none is recorded.
    """
    from rezoo.data.dataset_references import dataset_spec
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


def new_file(name: str, *, option: str, overwrite: bool) -> Path:
    """Return the path of a file that an option is to write.

    Raises:
        SpecError: It is a folder, or exists and is not to be replaced.
        ResourceError: Its folder cannot be written.
    """
    path = expanded(name)
    if path.is_dir():
        raise SpecError(f"{path} is a folder", hint="name a file.")
    if path.exists() and not overwrite:
        raise SpecError(f"{path} exists", hint="choose another file, or use --overwrite.")
    refuse_unwritable(path.parent, option=option)
    return path


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; its numbers must be finite."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
