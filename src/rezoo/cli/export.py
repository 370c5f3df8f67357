"""`rezoo export`: write a network as a file of another runtime, with its passport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli import console
from rezoo.cli.options import (
    device_option,
    examples,
    geometry_options,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import DatasetReference, complete_models
from rezoo.data.dataset_references import dataset_spec
from rezoo.errors import SpecError
from rezoo.exporters.folders import check_folder, default_folder
from rezoo.exporters.formats import FORMATS, INPUTS, OUTPUTS, QUANTIZATIONS, get_format
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.exporters.comparing import Comparison
    from rezoo.exporters.passport import Choice, Passport


@click.command(
    epilog=examples(
        "rezoo export runs/resnet50-photos --to onnx",
        "rezoo export runs/resnet50-photos --to litert --quantize int8",
    )
)
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("--to", help=f"Format: {', '.join(FORMATS)}.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the export.")
@click.option(
    "--quantize",
    type=click.Choice(QUANTIZATIONS),
    default="none",
    show_default=True,
    help="float16: weights; dynamic: int8 weights; int8: weights and activations.",
)
@click.option(
    "--input",
    "takes",
    type=click.Choice(INPUTS),
    default="tensor",
    show_default=True,
    help="Input: prepared float32 images, or raw uint8 images of any size.",
)
@click.option(
    "--values",
    "gives",
    type=click.Choice(OUTPUTS),
    default="logits",
    show_default=True,
    help="Output of the network.",
)
@geometry_options
@click.option(
    "--dataset",
    type=DatasetReference(),
    help="Images to compare on.  [default: the data of a run folder]",
)
@click.option(
    "--images",
    type=int,
    default=256,
    show_default=True,
    help="Maximum number of those images; int8 chooses its layers on one half of them.",
)
@click.option("--calibrate", help="Training images that calibrate int8.  [default: --dataset]")
@click.option(
    "--calibration-images",
    type=int,
    default=500,
    show_default=True,
    help="Maximum number of those images.",
)
@click.option(
    "--tolerance", type=float, help="Largest relative difference.  [default: by --quantize]"
)
@click.option(
    "--threads", type=int, help="Threads of the runtime when it is measured.  [default: all]"
)
@click.option("--overwrite", is_flag=True, help="Replace an existing export.")
@click.option("--list", "as_list", is_flag=True, help="List the formats and which are installed.")
@device_option
@pretrained_option
@require_pinned_option
@json_option
def export(
    model: str | None,
    to: str | None,
    pretrained: bool,
    require_pinned: bool,
    as_list: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write MODEL, which has weights, in another format, and compare the two.

    The file is opened in its own runtime and compared with MODEL on real images: the reference
    batch of a run, and images of --dataset. The result is written to passport.json in the
    folder. An export that differs by more than its tolerance is not kept: exit code 6, with the
    first layer that differs.

    Batch normalization is folded into the convolutions. Class names, preprocessing, licence and
    origin are in the file. Tensors are (N, height, width, channels).
    """
    from rezoo.sources.any_model import own_dataset
    from rezoo.sources.references import resolve_weights

    if as_list:
        rows = [_row(name) for name in FORMATS]
        print_json(rows) if as_json else print_formats(rows)
        return
    if model is None or to is None:
        hint = "rezoo export runs/a --to onnx; rezoo export --list shows the formats."
        raise SpecError("MODEL and --to are needed", hint=hint)
    _check(options)
    # wrong names and values fail before TensorFlow is imported
    kind = get_format(
        to, quantize=options["quantize"], takes=options["takes"], gives=options["gives"]
    )
    kind.check_threads(options["threads"], own_process=True)
    source = resolve_weights(model, pretrained=pretrained, require_pinned=require_pinned)
    if dataset := options["dataset"] or own_dataset(source):
        dataset_spec(dataset)
    folder = options["output"] or default_folder(source, kind, options["quantize"])
    check_folder(folder, overwrite=options["overwrite"])
    with console.starting():
        from rezoo.exporters import export as exporting

    with console.status("exporting") as progress:
        passport = exporting.export(source, to, progress=progress, **options)
    print_json(passport.to_dict()) if as_json else print_passport(passport)


def _check(options: dict[str, Any]) -> None:
    for name in ("images", "calibration_images", "image_size"):
        value = options[name]
        if value is not None and value < 1:
            raise SpecError(f"--{name.replace('_', '-')} {value}; allowed is 1 or more")
    if options["tolerance"] is not None and not options["tolerance"] >= 0:
        raise SpecError(f"--tolerance {options['tolerance']}; allowed is 0 or more")


def _row(name: str) -> dict[str, Any]:
    kind = FORMATS[name]
    return {
        "name": kind.name,
        "summary": kind.summary,
        "file": kind.file,
        "quantize": list(kind.quantizations),
        "input": list(kind.inputs),
        "installed": not kind.missing,
        "install": kind.install if kind.missing else "",
    }


def print_formats(rows: list[dict[str, Any]]) -> None:
    """Print the formats as a table."""
    shown = ("name", "summary", "quantize", "input")
    table = [
        {
            **{key: row[key] for key in shown},
            "installed": "yes" if row["installed"] else f"no: {row['install']}",
        }
        for row in rows
    ]
    console.table("", table)


def print_passport(result: Passport) -> None:
    """Print the passport of an export as text."""
    console.lines(str(result.folder))
    console.fields(dict(_rows(result)))
    if result.choice and len(result.choice.attempts) > 1:
        title = f"layers kept in float32, and the accuracy on the {result.choice.count} images"
        console.table(title, _attempt_rows(result.choice))
    answer = "It holds" if result.comparison.proven else "Kept, but not proven"
    console.lines(f"{answer}: {result.comparison.tolerance}.")
    for note in result.comparison.notes:
        console.lines(f"Note: {note}.")


def _rows(result: Passport) -> Iterator[tuple[str, str]]:
    """Yield the lines of a passport: a heading and a text."""
    facts = result.metadata
    quantization = facts["quantization"] if facts["quantization"] != "none" else "no"
    yield "format", f"{result.format}, {quantization} quantization"
    height, width, channels = facts["input_shape"]
    shape = "any height and width" if facts["input"] == "raw" else f"{height}×{width}"
    yield "input", f"{facts['input']}, {shape}, {channels} channels, any number of images"
    classes = facts["num_classes"]
    yield "output", f"{facts['output']} of {classes} classes" if classes else facts["output"]
    if found := facts.get("calibration"):
        yield "temperature", f"{found['temperature']:.3f}, divides the logits"
    if second := facts.get("second_output"):
        yield "second output", f"{second['name']}: {second['meaning']}"
    yield from _comparison_rows(result.comparison, classes=bool(classes))
    top1 = result.comparison.accuracy
    if top1 and facts["quantization"] in ("int8", "dynamic"):
        low, high = (100 * side for side in top1.drop_interval)
        yield "drop of top-1", f"{100 * top1.drop:.2f} points ({low:.2f} to {high:.2f})"
    if result.calibration:
        yield "calibrated on", result.calibration.what
    if result.choice:
        yield "kept in float32", ", ".join(facts["kept_in_float32"]) or "no layer"
        yield "layers chosen", f"on {result.choice.count} other images: {result.choice.rule}"
    yield "size", f"{result.size / 1e6:.1f} MB"
    if cost := result.cost:
        median, slow = cost["latency_ms_p50"], cost["latency_ms_p95"]
        yield "one image", f"{median:.1f} ms median, {slow:.1f} ms 95th percentile"
        threads = f"{count_of(cost['threads'], 'thread')}"
        rate = f"{cost['images_per_s']:.1f} images/s, {cost['batch_size']} at a time"
        yield "throughput", f"{rate}, on {threads}"
        yield "memory", f"{cost['memory_bytes'] / 1e6:.0f} MB more than the program, at its peak"
    yield "runtime", result.runtime
    yield "licence", facts["licence"] or "unknown"
    name, largest = max(result.files.items(), key=lambda item: item[1]["bytes"])
    yield "SHA-256", f"{largest['sha256']}  {name}"


def _comparison_rows(found: Comparison, *, classes: bool) -> Iterator[tuple[str, str]]:
    yield "compared on", found.what
    most = f"at most {found.max_abs:.2g}, {found.relative:.1e} of the largest output"
    yield "difference", f"{most}; root mean square {found.rms_relative:.1e} of the outputs'"
    low, high = found.agreement_interval
    equal = f"{found.agreement:.2%} of {found.count} ({low:.1%} to {high:.1%})"
    if classes:
        yield "equal predictions", equal
    if told := found.refusals:
        low, high = told.agreement_interval
        equal = f"equal for {told.agreement:.2%} ({low:.1%} to {high:.1%})"
        yield "unknown", f"{told.before} before, {told.after} after; {equal}"
    if top1 := found.accuracy:
        low, high = top1.before_interval
        before = f"{top1.before:.2%} ({low:.1%} to {high:.1%}) before"
        low, high = top1.after_interval
        after = f"{top1.after:.2%} ({low:.1%} to {high:.1%}) after"
        yield "top-1", f"{before}, {after}, of {top1.count}"


def _attempt_rows(choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "layers": len(row["kept_in_float32"]),
            "equal predictions": f"{row['agreement']:.1%}",
            "top-1": "" if row["top1"] is None else f"{row['top1']:.2%}",
            "drop": "" if row["drop"] is None else f"{100 * row['drop']:.2f}",
            "MB": f"{row['bytes'] / 1e6:.1f}",
        }
        for row in choice.attempts
    ]
