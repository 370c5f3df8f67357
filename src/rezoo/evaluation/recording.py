"""Scores on the test split in the records of a run."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

from rezoo.artifacts import run_files
from rezoo.artifacts.card import model_card, written_by_hand
from rezoo.artifacts.config import CONFIG, local_facts, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, update_manifest
from rezoo.errors import RunLockedError, RunWarning
from rezoo.evaluation.evaluate import Evaluation
from rezoo.sources.references import Source
from rezoo.utils.files import record, write_bytes, write_json
from rezoo.utils.lock import locked


def record_evaluation(source: Source, result: Evaluation) -> bool:
    """Write the scores of a run on its own test split to its `metrics.json` and its card.

    Nothing is written if the source is not a local run, if the dataset or the split is another
    one, if the records were changed since the manifest was written, or if another process
    changes the run.

    Returns:
        Whether the scores were recorded.
    """
    folder = source.folder
    if folder is None or source.address is not None or result.split != "test":
        return False
    metrics = run_files.read_metrics(folder)
    own = local_facts(folder).get("dataset")
    if not metrics or result.dataset != own or not os.access(folder, os.W_OK):
        return False
    try:
        with locked(folder, what="recording"):
            changed = _changed(folder)
            if not changed:
                _record(folder, result)
    except RunLockedError as error:
        changed = str(error)
    if changed:
        text = f"{changed}: the result is not recorded."
        warnings.warn(RunWarning(text), stacklevel=2)
    return not changed


def _record(folder: Path, result: Evaluation) -> None:
    metrics = run_files.read_metrics(folder)
    metrics["test"] = {
        **result.scores.to_dict(),
        "worst_classes": list(result.worst),
        "preprocessing": result.preprocessing,
        "measured_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / run_files.METRICS, metrics)
    if not written_by_hand(folder):
        write_bytes(folder / run_files.CARD, model_card(folder).encode())
    update_manifest(folder, (run_files.METRICS, run_files.CARD))


def _changed(folder: Path) -> str:
    """Return which record differs from the manifest, as a sentence; empty if none does."""
    text = f"{folder} was changed since its manifest was written"
    if not checksum_holds(read_json(folder)):
        return f"{text} ({CONFIG})"
    manifest = read_config(folder).files
    for name in (run_files.METRICS, run_files.CARD):
        path, listed = folder / name, manifest.get(name)
        if path.is_file() and listed and record(path).sha256 != listed.sha256:
            return f"{text} ({name})"
    return ""
