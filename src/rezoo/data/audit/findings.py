"""What a check found, as data.

Problems make a metric doubtful: examples that cannot be decoded, duplicates, contradictory labels,
missing classes. Remarks do no harm by themselves: formats, colours, sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """One example of a finding.

    Attributes:
        split: Its split.
        index: Its index in the split.
        key: Its key.
        label: The name of its class or classes; empty if unknown.
        width: In pixels, as stored; 0 if unknown.
        height: In pixels, as stored; 0 if unknown.
        note: What was found.
    """

    split: str
    index: int
    key: str
    label: str
    width: int
    height: int
    note: str = ""


@dataclass(frozen=True)
class DuplicateGroup:
    """Examples with the same image.

    Attributes:
        kind: `"same bytes"`, `"same pixels"`, `"near"` or `"mirrored"`: the weakest match.
        bits: Bits of the hashes that differ, of 64, in the weakest match.
        correlation: Of the thumbnails, in the weakest match.
        across_splits: Whether the members are in more than one split.
        labels: The different labels of the members; more than one is a contradiction.
        members: The examples; the first is the one to keep.
    """

    kind: str
    bits: int
    correlation: float
    across_splits: bool
    labels: tuple[str, ...]
    members: tuple[Example, ...]

    def __str__(self) -> str:
        pair = " = ".join(f"{m.key} ({m.split})" for m in self.members[:2])
        return f"{pair} ({', '.join(self.labels)})" if len(self.labels) > 1 else pair


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The findings of a check.

    Attributes:
        dataset: The dataset's reference.
        examples: Split → number of examples.
        notes: Notes of the dataset.
        remarks: What is worth knowing → number of examples.
        classes: For each class, its `"name"`, and split → number of examples.
        missing_classes: Split → classes without an example there.
        imbalance: Split → size of its largest class divided by that of its smallest non-empty one.
        formats: Format → number of examples.
        colours: Grey, colour, CMYK or palette, with or without alpha → number of examples.
        bits: Bits per channel → number of examples.
        spread: Width, height, megapixels, kilobytes → `"min"`, `"median"`, `"max"`.
        undecodable: Examples that cannot be decoded; the note is the reason.
        bad_labels: Examples whose label is not a class.
        repeated_keys: Examples with the key of an earlier example.
        wrong_endings: Files whose ending names another format.
        small: Images with a shorter side below 32 pixels: the smallest, at most a thousand.
        large: Images over 20 megapixels: the largest, at most a thousand.
        thin: Images with one side over 16 times the other: the thinnest, at most a thousand.
        duplicates: Groups of duplicates, the most harmful first.
        without_contrast: Number of images in which near duplicates cannot be found.
        comparison_cut: Whether there were too many candidates to compare all.
        elapsed_s: Time of the check.
    """

    dataset: str
    examples: dict[str, int]
    notes: tuple[str, ...]
    remarks: dict[str, int]
    classes: list[dict[str, Any]]
    missing_classes: dict[str, list[str]]
    imbalance: dict[str, float]
    formats: dict[str, int]
    colours: dict[str, int]
    bits: dict[str, int]
    spread: dict[str, dict[str, float]]
    undecodable: list[Example]
    bad_labels: list[Example]
    repeated_keys: list[Example]
    wrong_endings: list[Example]
    small: list[Example]
    large: list[Example]
    thin: list[Example]
    duplicates: list[DuplicateGroup]
    without_contrast: int
    comparison_cut: bool
    elapsed_s: float

    def problems(self) -> dict[str, list[str]]:
        """Return the problems, one line of text for each case."""
        groups = self.duplicates
        return {
            "cannot be decoded": [f"{e.key} ({e.note})" for e in self.undecodable],
            "invalid labels": [f"{e.key} ({e.note})" for e in self.bad_labels],
            "duplicates across splits": [str(g) for g in groups if g.across_splits],
            "duplicates within a split": [str(g) for g in groups if not g.across_splits],
            "duplicates with different labels": [str(g) for g in groups if len(g.labels) > 1],
            "repeated keys": [e.key for e in self.repeated_keys],
            "classes missing from a split": [
                f"{name} ({split})"
                for split, names in self.missing_classes.items()
                for name in names
            ],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; each problem is a number of cases."""
        problems = {name: len(cases) for name, cases in self.problems().items()}
        return {"problems": problems, **asdict(self)}
