"""Which evaluations are on the data of a run, and the scores on its test split in its records."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.artifacts import run_files
from rezoo.artifacts.card import model_card, written_by_hand
from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config, read_json
from rezoo.artifacts.manifest import checksum_holds, update_manifest
from rezoo.data.datasets import Dataset
from rezoo.data.differences import differences
from rezoo.data.examples import SPLITS
from rezoo.data.identity import Identity
from rezoo.errors import IncompatibleError, IntegrityError, RezooError, SpecError
from rezoo.evaluation.labelled_arrays import ARRAYS
from rezoo.evaluation.report.run_report import write_report
from rezoo.evaluation.scoring.measured import as_json
from rezoo.sources.references import Source
from rezoo.utils.files import record, write_bytes, write_json
from rezoo.utils.lock import locked

if TYPE_CHECKING:
    from rezoo.evaluation.damage.drops import Robustness
    from rezoo.evaluation.result import Evaluation

_MEASURED = "weights_sha256"  # of the file with the weights that were measured
_KEYS = ("test", run_files.CORRUPTIONS)  # in `metrics.json`: what is measured after training
_NAMES = ("model", "dataset")  # of a result: they may be paths of this machine


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
    facts = run_files.local_facts(folder) if folder and source.address is None else {}
    if folder is None or "dataset" not in facts or data.reference == ARRAYS:
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
    return False, (text,)


def require_run(source: Source) -> Path:
    """Return the folder of the run that a network is from.

    Raises:
        SpecError: It is not a finished run on this machine.
    """
    folder = source.folder
    if folder is None or source.address is not None or not run_files.read_metrics(folder):
        raise SpecError(
            f"{source.reference} is not a run on this machine: there is no place to record scores",
            hint="--predictions and --csv write files of your choice.",
        )
    return folder


def record_evaluation(result: Evaluation, robustness: Robustness | None = None) -> list[str]:
    """Write an evaluation to the folder of its run.

    The predictions go to `predictions-<split>.npz`, and the report is written anew from them. The
    scores on the test split go to `metrics.json`, card and manifest, too.

    Args:
        result: The evaluation.
        robustness: The scores on corrupted images, for `metrics.json` and the report.

    Returns:
        Names of the files that were written.

    Raises:
        SpecError: The network is not a run on this machine, or its images were prepared in
            another way than its `config.json` says.
        IncompatibleError: These are not the images of this split of the run.
        IntegrityError: A record was changed since the manifest was written.
        RunLockedError: Another process changes the run.
        ResourceError: The folder cannot be written.
    """
    setting = result.setting
    folder = require_run(setting.source)
    plain = setting.source.config.preprocessing.for_test()
    if setting.preprocessing != plain or result.predictions.facts.get("tta"):
        raise SpecError(
            f"not recorded: the images are {result.preprocessing}, not as the weights require",
            hint="record without --image-size, --crop-mode and --tta; --predictions writes these.",
        )
    if not result.own_data:
        raise IncompatibleError(
            f"not recorded: these are not the images of the {result.split} split of {folder}",
            hint="--predictions writes them to a file of your choice.",
        )
    with locked(folder, what="recording"):
        if changed := _changed(folder):
            raise IntegrityError(
                f"not recorded: {changed}",
                hint="restore the file, or train again.",
            )
        return _record(folder, result, robustness)


def recorded_scores(folder: Path) -> dict[str, Any]:
    """Return what was measured after training, by its key in `metrics.json`.

    It is empty unless all of it is of the present weights.
    """
    try:
        metrics = run_files.read_metrics(folder)
        scores = {key: metrics[key] for key in _KEYS if key in metrics}
        weights = record(folder / WEIGHTS).sha256
    except RezooError:  # damaged, and about to be written anew
        return {}
    return scores if all(part.get(_MEASURED) == weights for part in scores.values()) else {}


def remove_scores(folder: Path) -> None:
    """Remove what was measured after training from the records of a run, which gets other data."""
    if recorded := recorded_scores(folder):
        metrics = run_files.read_metrics(folder)
        kept = {key: value for key, value in metrics.items() if key not in recorded}
        write_json(folder / run_files.METRICS, kept)
    remove_predictions(folder)


def remove_predictions(folder: Path) -> None:
    """Remove the predictions in the records of a run, whose weights or data change."""
    for name in run_files.PREDICTIONS.values():
        (folder / name).unlink(missing_ok=True)


def _record(folder: Path, result: Evaluation, robustness: Robustness | None) -> list[str]:
    written = [run_files.PREDICTIONS[result.split]]
    result.predictions.write(folder / written[0])
    weights = {_MEASURED: record(folder / WEIGHTS).sha256}
    new: dict[str, Any] = {}
    if result.split == "test":
        new["test"] = {
            "count": len(result.predictions),
            **as_json(result.figures),
            "worst_classes": result.worst,
            "preprocessing": result.preprocessing,
            "measured_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            **weights,
        }
    if robustness:
        scores = robustness.to_dict()
        new[run_files.CORRUPTIONS] = {k: scores[k] for k in scores if k not in _NAMES} | weights
    if new:
        write_json(folder / run_files.METRICS, run_files.read_metrics(folder) | new)
        written.append(run_files.METRICS)
    if "test" in new and not written_by_hand(folder):
        write_bytes(folder / run_files.CARD, model_card(folder).encode())
        written.append(run_files.CARD)
    write_report(result.setting.source, result.predictions, result.setting.data)
    update_manifest(folder, (run_files.METRICS, run_files.CARD, run_files.REPORT))
    return [*written, run_files.REPORT]


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
