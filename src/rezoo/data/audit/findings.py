"""What a check found, as data.

Problems stop a run or make a metric doubtful: entries that cannot be used, examples that cannot
be decoded, duplicates, contradictory labels, missing classes. Remarks do no harm by themselves:
formats, colours, sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """One example of a finding."""

    split: str
    index: int  # in the split
    key: str
    label: str  # the name of its class or classes; empty if unknown
    width: int  # in pixels, as stored; 0 if unknown
    height: int
    note: str = ""  # what was found


@dataclass(frozen=True)
class DuplicateGroup:
    """Examples with the same image."""

    kind: str  # of the weakest match: "same bytes", "same pixels", "near" or "mirrored"
    correlation: float  # of the thumbnails, in the weakest match
    across_splits: bool  # whether the members are in more than one split
    labels: tuple[str, ...]  # those of the members; more than one is a contradiction
    members: tuple[Example, ...]  # the first is the one to keep

    def __str__(self) -> str:
        pair = " = ".join(f"{m.key} ({m.split})" for m in self.members[:2])
        return f"{pair} ({', '.join(self.labels)})" if len(self.labels) > 1 else pair


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The findings of a check."""

    dataset: str  # the reference
    examples: dict[str, int]  # split → number of examples
    notes: tuple[str, ...]  # of the dataset
    remarks: dict[str, int]  # what is worth knowing → number of examples
    classes: list[dict[str, Any]]  # of each class "name", and split → number of examples
    missing_classes: dict[str, list[str]]  # split → classes without an example there
    imbalance: dict[str, float]  # split → its largest class / its smallest non-empty one
    formats: dict[str, int]  # format → number of examples
    colours: dict[str, int]  # grey, colour, CMYK or palette, with or without alpha → number
    bits: dict[str, int]  # bits per channel → number of examples
    spread: dict[str, dict[str, float]]  # width, height, …, kilobytes → "min", "median", "max"
    refused: list[str]  # entries that contradict each other or cannot be used, and why
    undecodable: list[Example]  # the note is the reason
    bad_labels: list[Example]  # the label is not a class
    repeated_keys: list[Example]  # the key is that of an earlier example
    wrong_endings: list[Example]  # the ending of the file names another format
    small: list[Example]  # shorter side below 32 pixels: the smallest, at most a thousand
    large: list[Example]  # over 20 megapixels: the largest, at most a thousand
    thin: list[Example]  # one side over 16 times the other: the thinnest, at most a thousand
    duplicates: list[DuplicateGroup]  # the most harmful first
    without_contrast: int  # number of images in which near duplicates cannot be found
    comparison_cut: bool  # whether there were too many candidates to compare all
    elapsed_s: float

    def problems(self) -> dict[str, list[str]]:
        """Return the problems, one line of text for each case."""
        groups = self.duplicates
        return {
            "refused entries": self.refused,
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
