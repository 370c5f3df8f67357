"""Which evaluations are on the data of a run, and the scores on its test split in its records."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.artifacts import run_files
from rezoo.artifacts.card import model_card, written_by_hand
from rezoo.artifacts.config import CONFIG, WEIGHTS, local_facts, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, update_manifest
from rezoo.data.datasets import Dataset
from rezoo.data.differences import differences
from rezoo.data.examples import SPLITS
from rezoo.data.identity import Identity
from rezoo.errors import RezooError, RunLockedError, RunWarning
from rezoo.sources.references import Source
from rezoo.utils.files import record, write_bytes, write_json
from rezoo.utils.lock import locked

if TYPE_CHECKING:
    from rezoo.evaluation.evaluate import Evaluation

_MEASURED = "weights_sha256"  # of the file with the weights that were measured


def compare_with_run(source: Source, data: Dataset, split: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether a split has the images of the same split of the source's run, and notes.

    It is False without a note if the source is not a local run.

    Args:
        source: The network.
        data: The opened dataset.
        split: Name of a split, or `"all"`.

    Raises:
        IntegrityError: The record of the run's data is damaged.
    """
    folder = source.folder
    facts = local_facts(folder) if folder and source.address is None else {}
    if folder is None or "dataset" not in facts:
        return False, ()
    before = Identity.read(folder)
    if before is None:
        counts = run_files.read_metrics(folder).get("images", {})
        same = data.reference == facts["dataset"] and len(data.splits[split]) == counts.get(split)
        text = "the run does not record which data it has: name and number of images are compared"
        return same, (text,) if same else ()
    found = differences(before, Identity.of(data, SPLITS if split == "all" else [split]))
    if not found:
        return True, ()
    text = f"these are other data than the run's, {before.reference}: {'; '.join(found)}"
    return False, (f"{text}; the scores are not recorded",)


def record_evaluation(source: Source, result: Evaluation) -> bool:
    """Write the scores of a run on its own test split to its `metrics.json` and its card.

    Nothing is written if the source is not a local run, if the images or the split are others,
    if the records were changed since the manifest was written, or if another process changes
    the run.

    Returns:
        Whether the scores were recorded.
    """
    folder = source.folder
    if folder is None or source.address is not None or result.split != "test":
        return False
    metrics = run_files.read_metrics(folder)
    if not metrics or not result.own_data or not os.access(folder, os.W_OK):
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


def recorded_scores(folder: Path) -> dict[str, Any] | None:
    """Return the scores on test in the records of a run, if its weights are those measured."""
    try:
        scores = run_files.read_metrics(folder).get("test", {})
        same = scores.get(_MEASURED) == record(folder / WEIGHTS).sha256
    except RezooError:  # damaged, and about to be written anew
        return None
    return scores if same else None


def remove_scores(folder: Path) -> None:
    """Remove the scores on test from the records of a run, which gets other data."""
    if recorded_scores(folder) is not None:
        metrics = run_files.read_metrics(folder)
        del metrics["test"]
        write_json(folder / run_files.METRICS, metrics)


def _record(folder: Path, result: Evaluation) -> None:
    metrics = run_files.read_metrics(folder)
    metrics["test"] = {
        **result.scores.to_dict(),
        "worst_classes": result.worst,
        "preprocessing": result.preprocessing,
        "measured_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        _MEASURED: record(folder / WEIGHTS).sha256,
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
