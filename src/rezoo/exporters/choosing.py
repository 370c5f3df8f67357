"""`--to auto`: export to every format that is installed, and keep the one that is fastest here."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezoo.errors import IncompatibleError, SpecError
from rezoo.exporters.export import Say, export
from rezoo.exporters.folders import check_folder, default_folder, new_folder
from rezoo.exporters.formats import FORMATS, Format, get_format
from rezoo.exporters.measuring import measure
from rezoo.exporters.passport import Passport
from rezoo.sources.references import Source, resolve_weights

ROUNDS = 3
AIMS = {"latency": "latency_ms_p50", "throughput": "images_per_s"}


def export_fastest(
    model: str | Source,
    *,
    output: Path | None = None,
    pretrained: bool = False,
    aim: str = "latency",
    threads: int | None = None,
    overwrite: bool = False,
    say: Say = lambda text: None,
    **options: Any,
) -> tuple[Passport, list[dict[str, Any]]]:
    """Export to all formats that can do what is asked, measure them in turns, keep the fastest.

    Args:
        model: A reference with weights.
        output: The folder; as `export` names it where not given.
        pretrained: Take the default published weights of a bare architecture.
        aim: `"latency"` of one image, or `"throughput"` of 16.
        threads: Of the runtimes.
        overwrite: Replace an export that is there.
        say: Called with what is being done.
        **options: As for `export`.

    Returns:
        The passport of the fastest export that holds, and a row for each format: its figures, or
        why it is out.

    Raises:
        IncompatibleError: No format holds. Else as `export` does.
    """
    if aim not in AIMS:
        raise SpecError(f"aim {aim!r}; allowed are {' and '.join(AIMS)}")
    source = resolve_weights(model, pretrained=pretrained)
    rows, passports = [], {}
    if output is not None:
        check_folder(output, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as temporary:
        for kind in _able(options):
            try:
                passports[kind.name] = export(
                    source, kind.name, output=Path(temporary) / kind.name, say=say, **options
                )
            except IncompatibleError as error:
                rows.append({"format": kind.name, "out": str(error)})
        if not passports:
            why = "; ".join(f"{row['format']}: {row['out']}" for row in rows)
            raise IncompatibleError(f"no format holds this network: {why}")
        figures = _measured(passports, threads, say)
        best = _best(figures, aim)
        rows += [{"format": name, **figures[name]} for name in passports]
        quantize = options.get("quantize", "none")
        folder = output or default_folder(source, get_format(best), quantize)
        check_folder(folder, overwrite=overwrite)
        kept = replace(passports[best], folder=folder, cost=figures[best])
        with new_folder(folder) as partial:
            shutil.copytree(passports[best].folder, partial, dirs_exist_ok=True)
            kept.write(partial)
    return kept, rows


def _able(options: dict[str, Any]) -> list[Format]:
    quantize, takes = options.get("quantize", "none"), options.get("takes", "tensor")
    able = [
        kind
        for kind in FORMATS.values()
        if quantize in kind.quantizations and takes in kind.inputs and not kind.missing
    ]
    if not able:
        raise IncompatibleError(
            f"no format that is installed has {quantize} with {takes} input",
            hint="pip install 'rezoo[onnx,openvino,litert]'",
        )
    return able


def _measured(
    passports: dict[str, Passport], threads: int | None, say: Say
) -> dict[str, dict[str, Any]]:
    """Measure all in turns, so that a busy machine slows none down alone; return medians."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in passports}
    for turn in range(ROUNDS):
        say(f"measuring {len(passports)} formats, round {turn + 1} of {ROUNDS}")
        for name, passport in passports.items():
            rounds[name].append(measure(passport.folder, threads=threads))
    return {name: _medians(turns) for name, turns in rounds.items()}


def _medians(turns: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        key: statistics.median(turn[key] for turn in turns) if isinstance(value, float) else value
        for key, value in turns[0].items()
    }


def _best(figures: dict[str, dict[str, Any]], aim: str) -> str:
    key = AIMS[aim]
    choose = min if aim == "latency" else max
    return choose(figures, key=lambda name: figures[name][key])
