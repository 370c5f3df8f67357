"""Check a dataset: read it, judge what was found, write the report."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from rezoo.data import datasets, splits
from rezoo.data.audit.duplicates import Matches, find_duplicates
from rezoo.data.audit.findings import DuplicateGroup, Example, Findings
from rezoo.data.audit.page import check_folder, default_folder, write_report
from rezoo.data.audit.scan import Scan, label_name, scan
from rezoo.data.dataset_references import dataset_spec
from rezoo.data.examples import Splits
from rezoo.data.labels import class_counts, wrong_labels
from rezoo.utils.live_line import Show
from rezoo.utils.paths import expanded

_SMALL, _LARGE, _THIN = 32, 20_000_000, 16  # shorter side, pixels, longer / shorter side
_LISTED = 1000  # examples of each of these
_KEEPERS = ("test", "val", "train")  # which member of a group is kept


def check(
    reference: str,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Show | None = None,
) -> tuple[Findings, dict[str, Any]]:
    """Check a dataset and write the report; the data are not changed.

    Args:
        reference: As `rezoo.load_dataset` takes it.
        output: The folder for the report; `data-check-<name>` if None.
        overwrite: Whether to replace files there that rezoo did not write, or that were edited.
        progress: Called with the number of examples read and the number of all.

    Returns:
        The findings, and the content of `data-report.json`.

    Raises:
        SpecError: The folder has a file that may not be replaced.
    """
    folder = expanded(output) if output else default_folder(reference)
    check_folder(folder, overwrite=overwrite)
    fraction = dataset_spec(reference).val_fraction
    opened = datasets.open_splits(reference).with_validation(fraction)
    findings = check_splits(opened, reference, progress=progress)
    return findings, write_report(folder, findings, opened)


def check_splits(opened: Splits, dataset: str, *, progress: Show | None = None) -> Findings:
    """Check an opened dataset; nothing is written.

    Args:
        opened: The dataset.
        dataset: Its name in the findings.
        progress: Called with the number of examples read and the number of all.
    """
    start = time.monotonic()
    scanned = scan(opened, progress=progress)
    rows, matches = scanned.rows, find_duplicates(scanned)
    known = rows[rows["width"] > 0]
    extremes = _extremes(rows)
    repeated, wrong_endings = _keys(scanned)
    names, labels = opened.class_names, scanned.labels_by_split()
    counts = {split: class_counts(some, len(names)) for split, some in labels.items()}
    present = {split: numbers[numbers > 0] for split, numbers in counts.items()}
    return Findings(
        dataset=dataset,
        examples={split: len(some) for split, some in labels.items()},
        notes=opened.notes,
        remarks=_remarks(rows, len(wrong_endings), extremes),
        classes=[
            {"name": name, **{s: int(numbers[i]) for s, numbers in counts.items()}}
            for i, name in enumerate(names)
        ],
        missing_classes={
            split: [names[i] for i in np.flatnonzero(numbers == 0)]
            for split, numbers in counts.items()
            if (numbers == 0).any()
        },
        imbalance={s: round(float(n.max() / n.min()), 3) for s, n in present.items() if len(n)},
        formats=_counts(np.where(rows["format"] == b"", b"unknown", rows["format"])),
        colours=_counts(known["colour"]),
        bits=_counts(known["bits"]),
        spread=_spread(known),
        refused=[str(fault) for fault in opened.faults],
        undecodable=[_example(scanned, *fault) for fault in sorted(scanned.faults.items())],
        bad_labels=_bad_labels(scanned),
        repeated_keys=[_example(scanned, row) for row in repeated],
        wrong_endings=[_example(scanned, *wrong) for wrong in wrong_endings],
        **{
            name: [_example(scanned, row) for row in found[:_LISTED].tolist()]
            for name, found in extremes.items()
        },
        duplicates=_groups(scanned, matches),
        without_contrast=matches.flat,
        comparison_cut=matches.cut,
        elapsed_s=round(time.monotonic() - start, 2),
    )


def _example(scanned: Scan, row: int, note: str = "") -> Example:
    split, index = scanned.place(row)
    label = label_name(scanned.labels[row], scanned.classes)
    width, height = (int(scanned.rows[side][row]) for side in ("width", "height"))
    return Example(split, index, scanned.source.key(row), label, width, height, note)


def _bad_labels(scanned: Scan) -> list[Example]:
    """Return the examples whose label is not a class, except those that could not be read."""
    labels = scanned.labels
    wrong = wrong_labels(labels, scanned.classes, multi_label=labels.ndim == 2)
    rows = [row for row in np.flatnonzero(wrong).tolist() if row not in scanned.faults]
    return [_example(scanned, row, f"label {labels[row]}") for row in rows]


def _keys(scanned: Scan) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the rows with a key of an earlier row, and those whose ending is of another format."""
    keys = [scanned.source.key(row) for row in range(len(scanned.rows))]
    _, first = np.unique(splits.stable_hash(keys), return_index=True)
    formats, wrong = Image.registered_extensions(), []
    for row, (key, stored) in enumerate(zip(keys, scanned.rows["format"], strict=True)):
        ending, kind = PurePosixPath(key).suffix.lower(), stored.decode().upper()
        if kind not in ("", "PIXELS", formats.get(ending, kind)):
            wrong.append((row, f"named {ending}, is {kind}"))
    return np.setdiff1d(np.arange(len(keys)), first).tolist(), wrong


def _extremes(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of small, large and thin images, the most extreme first."""
    sides = np.stack([rows["width"], rows["height"]], 1).astype(np.int64)
    short, long = sides.min(1), sides.max(1)
    found = {}
    for name, hit, measure in (
        ("small", (short > 0) & (short < _SMALL), short),
        ("large", short * long > _LARGE, -short * long),
        ("thin", (short > 0) & (long > _THIN * short), -long / np.maximum(short, 1)),
    ):
        some = np.flatnonzero(hit)
        found[name] = some[np.argsort(measure[some], kind="stable")]
    return found


def _remarks(rows: np.ndarray, endings: int, extremes: dict[str, np.ndarray]) -> dict[str, int]:
    colours = rows["colour"]
    return {
        "wrong ending for the format": endings,
        "grey": int(np.char.startswith(colours, b"grey").sum()),
        "CMYK": int((colours == b"CMYK").sum()),
        "with alpha": int(np.char.endswith(colours, b"alpha").sum()),
        "16 bits per channel": int((rows["bits"] == 16).sum()),
        "EXIF orientation": int(rows["turned"].sum()),
        f"shorter side below {_SMALL} pixels": len(extremes["small"]),
        f"over {_LARGE // 1_000_000} megapixels": len(extremes["large"]),
        f"one side over {_THIN} times the other": len(extremes["thin"]),
    }


def _groups(scanned: Scan, matches: Matches) -> list[DuplicateGroup]:
    """Return the duplicates: different labels first, then those across splits."""
    pixels = scanned.rows["width"].astype(np.int64) * scanned.rows["height"]

    def keeper_first(row: int) -> tuple[int, int, int]:
        return _KEEPERS.index(scanned.place(row)[0]), -int(pixels[row]), row

    groups = []
    for rows, weakest in matches.groups:
        members = tuple(_example(scanned, row) for row in sorted(rows, key=keeper_first))
        groups.append(
            DuplicateGroup(
                kind=weakest.kind,
                correlation=round(weakest.correlation, 4),
                across_splits=len({m.split for m in members}) > 1,
                labels=tuple(sorted({m.label for m in members})),
                members=members,
            )
        )
    return sorted(groups, key=lambda g: (len(g.labels) == 1, not g.across_splits))


def _counts(values: np.ndarray) -> dict[str, int]:
    """Return how often each value occurs, the most frequent first."""
    return dict(Counter(values.astype(str).tolist()).most_common())


def _spread(known: np.ndarray) -> dict[str, dict[str, float]]:
    """Return minimum, median and maximum of the sizes of images."""
    measures = {
        "width": known["width"],
        "height": known["height"],
        "megapixels": known["width"].astype(np.int64) * known["height"] / 1e6,
        "kilobytes": known["size"] / 1e3,
    }
    return {
        measure: {"min": low, "median": median, "max": high}
        for measure, values in measures.items()
        if values.any()
        for low, median, high in [np.percentile(values, (0, 50, 100)).round(4).tolist()]
    }
