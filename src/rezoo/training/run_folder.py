"""The run folder: what training writes beside the weights, and who may write there."""

from __future__ import annotations

import csv
import io
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from rezoo.artifacts.run_files import CURVES, ENVIRONMENT, HISTORY, OWN, RECIPE
from rezoo.errors import SpecError, writing
from rezoo.evaluation.report import write_curves
from rezoo.tasks import Task
from rezoo.utils import device
from rezoo.utils.files import refuse_file, refuse_unwritable, write_bytes, write_json

DRAW_EVERY_S = 30.0  # seconds between two drawings of the curves during a run
_PACKAGES = ("rezoo", "keras", "tensorflow", "numpy", "tensorflow-datasets", "jax")


def check_output(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a run may write into `folder`, without touching it.

    Raises:
        SpecError: It already holds a run, or other files, and nobody said what to do.
        ResourceError: It cannot be written.
    """
    if resume and overwrite:
        raise SpecError("resume and overwrite exclude each other", hint="choose one.")
    holds_run = (folder / RECIPE).exists()
    refuse_file(folder)
    if holds_run and not (resume or overwrite):
        raise SpecError(
            f"{folder} already holds a run",
            hint="go on with --resume, replace it with --overwrite, or choose another --output.",
        )
    if folder.is_dir() and not holds_run and any(folder.iterdir()):
        raise SpecError(
            f"{folder} is not empty and holds no run",
            hint="choose another folder with --output; rezoo does not write among other files.",
        )
    refuse_unwritable(folder)


def occupy(folder: Path, *, overwrite: bool) -> None:
    """Create the run folder; with `overwrite` remove the run that is there, and only that."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            _remove_run(folder)


def _remove_run(folder: Path) -> None:
    """Remove what rezoo wrote, and nothing else."""
    for name in OWN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_history(
    folder: Path, history: Sequence[Mapping[str, Any]], title: str, task: Task
) -> None:
    """Write one row per completed epoch, and draw the curves if they were not drawn lately."""
    if not history:
        return
    text = io.StringIO()
    columns = list(dict.fromkeys(key for record in history for key in record))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_bytes(folder / HISTORY, text.getvalue().encode())
    write_curves(folder / CURVES, title, task, history, every_s=DRAW_EVERY_S)


def write_environment(folder: Path) -> None:
    """Record what a run was started on, without names or paths of the user."""
    if (folder / ENVIRONMENT).exists():  # resumed
        return
    content = {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "backend": keras.config.backend(),
        "devices": device.names(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
    }
    write_json(folder / ENVIRONMENT, content)


def _version(package: str) -> str:
    if package == "jax" and keras.config.backend() != "jax":
        return ""  # it may be loaded, and computes nothing
    try:
        return version(package)
    except ImportError:
        return ""
