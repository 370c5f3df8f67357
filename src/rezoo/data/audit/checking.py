"""Check a dataset: read it once, and put together what was found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data import datasets, splits
from rezoo.data.audit.duplicates import Matches, find_matches
from rezoo.data.audit.facts import UNKNOWN, wrong_ending
from rezoo.data.audit.findings import LARGE, LISTED, SMALL, THIN, Example, Findings, Group
from rezoo.data.audit.labels import count, faulty, name_of
from rezoo.data.audit.output import check_folder, default_folder, write
from rezoo.data.audit.reading import Progress, Readings, read_all
from rezoo.data.examples import SPLITS, Splits

_KEPT_FIRST = ("test", "val", "train")  # of a picture in several splits, the first of these stays


def open_undropped(reference: str) -> Splits:
    """Open a dataset as it is, its bad images included, with the validation part held out."""
    spec = datasets.dataset_spec(reference)
    return datasets.open_splits(reference).with_validation(spec.val_fraction)


def check(
    reference: str,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Findings, dict[str, Any]]:
    """Check a dataset and write the report; nothing in the data is changed.

    Args:
        reference: As `rezoo.load_dataset` takes it.
        output: The folder for the report; `data-check-<name>` where not given.
        overwrite: Whether to replace files there that rezoo did not write, or that were edited.
        progress: Called with the number of examples read, and of all.

    Returns:
        What was found, and the document that `data-report.json` holds.
    """
    folder = Path(output).expanduser() if output else default_folder(reference)
    check_folder(folder, overwrite=overwrite)
    findings, readings = check_splits(open_undropped(reference), reference, progress=progress)
    return findings, write(folder, findings, readings.parts)


def check_splits(
    opened: Splits, dataset: str, *, progress: Progress | None = None
) -> tuple[Findings, Readings]:
    """Read every example of a dataset once, and judge it.

    Args:
        opened: The dataset.
        dataset: What to call it.
        progress: Called with the number of examples read, and of all.
    """
    start = time.monotonic()
    readings = read_all(
        {s: opened.parts[s] for s in SPLITS if s in opened.parts},
        classes=len(opened.class_names) if opened.multi_label else 0,
        progress=progress,
    )
    judge = _Judge(readings, opened.class_names)
    return judge.findings(opened, dataset, start), readings


class _Judge:
    """Turns readings into findings."""

    def __init__(self, readings: Readings, classes: tuple[str, ...]) -> None:
        self.readings = readings
        self.classes = classes

    def findings(self, opened: Splits, dataset: str, start: float) -> Findings:
        """Return all that was found."""
        r = self.readings
        matches = find_matches(r)
        short, long = r.sizes[:, :2].min(1), r.sizes[:, :2].max(1)
        known = short > 0
        pixels = short * long
        extremes = {
            "small": (known & (short < SMALL), short),
            "large": (pixels > LARGE, -pixels),
            "thin": (known & (long > THIN * short), -long / np.maximum(short, 1)),
        }
        return Findings(
            dataset=dataset,
            sizes={split: len(part) for split, part in r.parts.items()},
            classes=self.classes,
            counts={split: self._counts(split) for split in r.parts},
            notes=opened.notes,
            undecodable=[self.example(row, why) for row, why in sorted(r.reasons.items())],
            bad_labels=self._bad_labels(),
            repeated_keys=self._repeated_keys(),
            groups=self._groups(matches),
            wrong_endings=self._wrong_endings(),
            extremes={name: int(hit.sum()) for name, (hit, _) in extremes.items()},
            small=self._most(*extremes["small"]),
            large=self._most(*extremes["large"]),
            thin=self._most(*extremes["thin"]),
            formats=self._counted(0),
            colours=self._counted(1),
            depths=self._counted(2),
            turned=len(r.fact_rows(turned=True)),
            spread=self._spread(known),
            flat=matches.flat,
            cut=matches.cut,
            seconds=time.monotonic() - start,
        )

    def example(self, row: int, note: str = "") -> Example:
        """Describe one example."""
        split, index = self.readings.place(row)
        name = name_of(self.readings.labels[row], self.classes)
        width, height, _ = self.readings.sizes[row].tolist()
        key = self.readings.parts[split].key(index)
        return Example(row, split, index, key, name, width, height, note)

    def _most(self, hit: np.ndarray, measure: np.ndarray) -> list[Example]:
        """Describe the rows of the smallest measures, as many as are listed."""
        rows = np.flatnonzero(hit)
        order = np.argsort(measure[rows], kind="stable")[:LISTED]
        return [self.example(row) for row in rows[order].tolist()]

    def _counts(self, split: str) -> list[int]:
        return count(self.readings.labels[self.readings.rows(split)], len(self.classes))

    def _bad_labels(self) -> list[Example]:
        labels, reasons = self.readings.labels, self.readings.reasons
        rows = faulty(labels, len(self.classes))
        # one that could not be fetched has no label, and is told already
        return [
            self.example(row, f"label {labels[row]}") for row in rows.tolist() if row not in reasons
        ]

    def _repeated_keys(self) -> list[Example]:
        every = range(len(self.readings))
        hashes = splits.stable_hash([self.readings.key(row) for row in every])
        _, first, times = np.unique(hashes, return_index=True, return_counts=True)
        if (times == 1).all():
            return []
        again = np.setdiff1d(np.arange(len(hashes)), first)
        return [self.example(row) for row in again.tolist()]

    def _wrong_endings(self) -> list[Example]:
        r = self.readings
        found = []
        for kind in {fact[0] for fact in r.facts} - {UNKNOWN, "pixels"}:
            for row in r.fact_rows(kind=kind).tolist():
                if ending := wrong_ending(r.key(row), kind):
                    found.append(self.example(row, f"named {ending}, is {kind.upper()}"))
        return sorted(found, key=lambda example: example.row)

    def _groups(self, matches: Matches) -> list[Group]:
        """Return the groups, what spoils figures most first."""
        pixels = self.readings.sizes[:, 0] * self.readings.sizes[:, 1]

        def keeper_first(row: int) -> tuple[int, int, int]:
            split, _ = self.readings.place(row)
            return _KEPT_FIRST.index(split), -int(pixels[row]), row

        groups = []
        for rows, links in matches.groups:
            members = {row: self.example(row) for row in sorted(rows, key=keeper_first)}
            told = tuple(
                (members[x.first].key, members[x.second].key, x.how, x.bits, x.correlation)
                for x in links
            )
            groups.append(Group(tuple(members.values()), told))
        return sorted(groups, key=lambda g: (len(g.labels) == 1, not g.across, g.members[0].row))

    def _counted(self, place: int) -> dict[str, int]:
        """Count the rows by one of the facts, of what has a known format, the most first."""
        counts: Counter[str] = Counter()
        numbers = np.bincount(self.readings.fact_numbers, minlength=len(self.readings.facts))
        for fact, number in self.readings.facts.items():
            if fact[0] != UNKNOWN or place == 0:
                counts[str(fact[place])] += int(numbers[number])
        return {name: n for name, n in counts.most_common() if n}

    def _spread(self, known: np.ndarray) -> dict[str, tuple[float, float, float]]:
        sizes = self.readings.sizes[known]
        measures: Iterable[tuple[str, np.ndarray]] = (
            ("width", sizes[:, 0]),
            ("height", sizes[:, 1]),
            ("megapixels", sizes[:, 0] * sizes[:, 1] / 1e6),
            ("kilobytes", sizes[:, 2] / 1e3),
        )
        return {
            name: tuple(round(float(f(values)), 4) for f in (np.min, np.median, np.max))  # type: ignore[misc]
            for name, values in measures
            if len(values) and values.any()
        }
