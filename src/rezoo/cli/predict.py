"""`rezoo predict`: the most likely classes of photographs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import counter, escaped, lines, new_grid, open_console, starting
from rezoo.cli.distributed import devices_options, is_first_host
from rezoo.cli.options import (
    batch_size_option,
    device_option,
    examples,
    geometry_options,
    json_option,
    new_file,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import COUNT, complete_models
from rezoo.errors import IntegrityError, SpecError
from rezoo.utils.files import write_bytes
from rezoo.utils.names import count_of, printable

if TYPE_CHECKING:
    from rezoo.evaluation.predict import Prediction
    from rezoo.sources.references import Source


def _file_options(command: Any) -> Any:
    """Add options that write files; refuse them before hosts are waited for, if they conflict."""

    @wraps(command)
    def run(**given: Any) -> Any:
        _check_files(given)
        return command(**given)

    for option in (
        click.option("--overwrite", is_flag=True, help="Replace files that exist."),
        click.option(
            "--csv",
            "table",
            metavar="FILE",
            help="Write a table, a row for each image; - prints it.",
        ),
        click.option(
            "--layer",
            "layers",
            multiple=True,
            metavar="NAME",
            help="Layer or stage for --features; may be repeated.  [default: the pooled vector]",
        ),
        click.option(
            "--features", "into", metavar="FILE", help="Write features, a .npz; no classes."
        ),
        click.option("--class", "wanted", metavar="NAME", help="Class to draw [the likeliest]."),
        click.option("--explain", metavar="FOLDER", help="Draw where the class is found, as PNGs."),
    ):
        run = option(run)
    return run


def _check_files(given: dict[str, Any]) -> None:
    """Raise `SpecError` for options without the one that they belong to, and for conflicts."""
    explain, into, table = given["explain"], given["into"], given["table"]
    for option, other in (("--explain", explain), ("--csv", table)):
        if other is not None and into is not None:
            raise SpecError(f"{option} and --features exclude each other", hint="leave one out.")
    if table == "-" and given["as_json"]:
        raise SpecError("--csv - and --json both print the answers", hint="leave one out.")
    for option, value, needed in (
        ("--class", given["wanted"], {"--explain FOLDER": explain}),
        ("--layer", given["layers"], {"--features FILE": into}),
        (
            "--overwrite",
            given["overwrite"],
            {"--explain FOLDER": explain, "--features FILE": into, "--csv FILE": table},
        ),
    ):
        if value and all(other is None for other in needed.values()):
            names = " or ".join(name.split()[0] for name in needed)
            raise SpecError(
                f"{option} has no effect without {names}", hint=f"add {' or '.join(needed)}."
            )
    if into is not None and given["top_k"] is not None:
        raise SpecError("--top-k has no effect with --features", hint="leave it out.")
    several = given["devices"] not in (None, 1) or given["hosts"]
    if several and (explain or into) is not None:
        raise SpecError(
            f"--{'features' if into else 'explain'} computes on one device",
            hint="leave --devices and --hosts out.",
        )


@click.command(
    epilog=examples(
        "rezoo predict runs/resnet50-photos holiday/ --top-k 3",
        "rezoo predict resnet50 cat.jpg --pretrained --explain maps",
        "rezoo predict runs/resnet50-photos 'new/*.jpg' --csv answers.csv",
    )
)
@click.argument("model", shell_complete=complete_models)
@click.argument("images", nargs=-1, required=True)
@click.option("--top-k", type=COUNT, help="Classes to show [5; if multi-label, those above 0.5].")
@batch_size_option
@geometry_options
@_file_options
@pretrained_option
@require_pinned_option
@devices_options
@device_option
@json_option
def predict(
    model: str,
    images: tuple[str, ...],
    top_k: int | None,
    batch_size: int,
    image_size: int | None,
    crop_mode: str | None,
    explain: str | None,
    wanted: str | None,
    into: str | None,
    layers: tuple[str, ...],
    table: str | None,
    overwrite: bool,
    devices: int | str | None,
    hosts: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, folders, patterns) with MODEL, which has weights.

    A multi-label network gives an independent probability for each class.

    --explain FOLDER also writes a picture of each image: what the network sees of it, and its class
    activation map. --csv FILE writes the answers as a table. --features FILE writes what layers
    give for the images, instead of classes.

    The exit code is 5 if some file cannot be decoded; the others are still classified.
    """
    from rezoo.data.finding import find_images
    from rezoo.evaluation.class_names import class_indices
    from rezoo.evaluation.explaining.picture_files import picture_paths
    from rezoo.sources.references import resolve_weights

    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    class_indices(wanted, source.config, 1)  # a wrong name fails before TensorFlow is imported
    found = find_images(images)
    options = dict[str, Any](batch_size=batch_size, image_size=image_size, crop_mode=crop_mode)
    if into is not None:
        path = _features_file(into, overwrite=overwrite)
        _fail(_write_features(source, found, path, layers=layers, as_json=as_json, **options))
        return
    options["top_k"] = top_k
    to_stdout = table in (None, "-")
    file = None if to_stdout else new_file(table or "", option="--csv", overwrite=overwrite)
    paths = None if explain is None else picture_paths(found, explain, images, overwrite=overwrite)
    answers = _classify(
        source, found, paths, wanted=wanted, devices=devices, hosts=hosts, **options
    )
    if table is not None and is_first_host():
        _write_table(answers, file)
    if table != "-":
        print_json([a.to_dict() for a in answers]) if as_json else _print(answers)
    _fail([f"{a.path}: {a.error}" for a in answers if a.error])


def _classify(
    source: Source,
    images: Sequence[str],
    paths: Sequence[Path] | None,
    *,
    wanted: str | None,
    devices: int | str | None,
    hosts: str | None,
    **options: Any,
) -> Sequence[Prediction]:
    """Classify images; with paths, draw a picture of each, too."""
    with starting():
        from rezoo.evaluation import predict as predicting

    with counter("classifying") as progress:
        options["progress"] = progress
        if paths is None:
            return predicting.predict(source, images, devices=devices, hosts=hosts, **options)
        from rezoo.evaluation.explaining import explanations

        return explanations.explain(source, images, paths, wanted=wanted, **options)


def _fail(failed: Sequence[str]) -> None:
    """Print what failed and end with an exit code, if anything did."""
    for line in failed:
        click.echo(f"Error: {printable(line)}", err=True)
    if failed:
        click.get_current_context().exit(IntegrityError.exit_code)


def _features_file(name: str, *, overwrite: bool) -> Path:
    """Return the path of --features, after checks that need no framework."""
    if Path(name).suffix != ".npz":
        raise SpecError(f"--features {name}: not a .npz file", hint="name it, such as out.npz.")
    return new_file(name, option="--features", overwrite=overwrite)


def _write_table(answers: Sequence[Prediction], file: Path | None) -> None:
    """Write the table of --csv, on stdout without a file; a terminal gets no control characters."""
    from rezoo.evaluation.prediction_table import answers_as_csv

    content = answers_as_csv(answers)
    if file is not None:
        write_bytes(file, content)
    elif sys.stdout.isatty():
        click.echo(printable(content.decode("utf-8", "backslashreplace")), nl=False)
    else:
        click.echo(content, nl=False)


def _write_features(
    source: Source,
    images: Sequence[str],
    path: Path,
    *,
    layers: Sequence[str],
    as_json: bool,
    **options: Any,
) -> list[str]:
    """Write the features of images; return what is wrong with those that cannot be decoded."""
    with starting():
        from rezoo.evaluation.extracting import features

    with counter("computing features") as progress:
        found = features(source, images, layers=layers or None, progress=progress, **options)
    found.save(path)
    shapes = {name: list(array.shape) for name, array in found.arrays.items()}
    if as_json:
        print_json({"file": str(path), "arrays": shapes, "errors": dict(found.errors)})
    else:
        lines(str(path), *(f"{name}: {tuple(shape)}" for name, shape in shapes.items()))
    return [f"{name}: {reason}" for name, reason in found.errors.items()]


def _print(results: Sequence[Prediction]) -> None:
    console = open_console()
    grid = new_grid(console)
    grid.add_column("image", overflow="fold")
    grid.add_column("class", overflow="fold")
    grid.add_column("probability", justify="right", no_wrap=True)
    for result in results:
        first = escaped(result.path)
        if result.error:
            grid.add_row(first, escaped(result.error), "")
        if result.unknown:
            grid.add_row(first, escaped("unknown", "bold"), "")
            first = escaped("")
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            grid.add_row(first, escaped(label), f"{probability:.1%}")
            first = escaped("")
    console.print(grid)
    pictures = [picture for result in results if (picture := getattr(result, "picture", ""))]
    if pictures:
        count = count_of(len(pictures), "picture")
        lines(f"{count} of activation maps, such as {pictures[0]}")
