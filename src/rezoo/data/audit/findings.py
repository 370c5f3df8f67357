"""What was found in a dataset, as data: what is wrong, what is worth knowing, and how it is spread.

Problems are what makes a figure doubtful: examples that cannot be decoded, pictures that stand
twice, labels that contradict each other, classes that a split lacks. Remarks are the rest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rezoo.data.audit.duplicates import BYTES, PIXELS

LISTED = 1000  # very small, large and thin ones, each
SMALL, LARGE, THIN = 32, 20_000_000, 16  # shorter side, pixels, longer / shorter side


@dataclass(frozen=True)
class Example:
    """One example that a finding is about.

    Attributes:
        row: Its number in the readings.
        split: Its split.
        index: Its place there.
        key: Its name.
        label: Its class, or all it has; empty where that is unknown.
        width: In pixels, as stored.
        height: Likewise.
        note: What is to be said about it.
    """

    row: int
    split: str
    index: int
    key: str
    label: str
    width: int
    height: int
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what a reader of the JSON document needs."""
        document = dataclasses.asdict(self)
        del document["row"], document["index"]
        return document if self.note else {k: v for k, v in document.items() if k != "note"}


@dataclass(frozen=True)
class Group:
    """One picture that stands several times.

    Attributes:
        members: The one to keep first.
        links: `(key, key, how, bits, correlation)`: what makes them one.
    """

    members: tuple[Example, ...]
    links: tuple[tuple[str, str, str, int, float], ...]

    @property
    def kind(self) -> str:
        """`"same bytes"` or `"same pixels"` where that holds for all, else `"near"`."""
        kinds = {how for _, _, how, _, _ in self.links}
        if kinds == {BYTES}:
            return BYTES
        return PIXELS if kinds <= {BYTES, PIXELS} else "near"

    @property
    def across(self) -> bool:
        """Whether the picture is in several splits."""
        return len({m.split for m in self.members}) > 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What its members are labelled; more than one thing is a contradiction."""
        return tuple(sorted({m.label for m in self.members}))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        names = ("first", "second", "how", "bits", "correlation")
        return {
            "kind": self.kind,
            "across_splits": self.across,
            "labels": list(self.labels),
            "members": [m.to_dict() for m in self.members],
            "links": [
                dict(zip(names, (*link[:4], round(link[4], 4)), strict=True)) for link in self.links
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was found.

    Attributes:
        dataset: What was checked.
        sizes: Split → number of examples.
        classes: Names in the order of the labels.
        counts: Split → the number of examples of each class.
        notes: Of the dataset itself.
        undecodable: With the reason.
        bad_labels: Labels that are no class.
        repeated_keys: Examples that have the key of another one.
        groups: Pictures that stand several times.
        wrong_endings: Files of another format than their name says.
        extremes: How many are very small, large and thin.
        small: Shorter side below 32 pixels, the smallest first, a thousand at most.
        large: Over 20 megapixels, likewise.
        thin: One side over 16 times the other, likewise.
        formats: Format → number of examples; likewise the next three.
        colours: What the headers say: grey, colour, CMYK, palette, alpha.
        depths: Bits of a channel.
        turned: Examples that EXIF data turn.
        spread: Measure → smallest, median, largest; of what has a header.
        flat: Pictures with too little contrast for near duplicates.
        cut: Whether so much is alike that not all was compared.
        seconds: What it took.
    """

    dataset: str
    sizes: dict[str, int]
    classes: tuple[str, ...]
    counts: dict[str, list[int]]
    notes: tuple[str, ...]
    undecodable: list[Example]
    bad_labels: list[Example]
    repeated_keys: list[Example]
    groups: list[Group]
    wrong_endings: list[Example]
    extremes: dict[str, int]
    small: list[Example]
    large: list[Example]
    thin: list[Example]
    formats: dict[str, int]
    colours: dict[str, int]
    depths: dict[str, int]
    turned: int
    spread: dict[str, tuple[float, float, float]]
    flat: int
    cut: bool
    seconds: float = 0.0

    @property
    def missing(self) -> dict[str, list[str]]:
        """Split → the classes that it lacks."""
        return {
            split: [self.classes[i] for i, n in enumerate(counts) if not n]
            for split, counts in self.counts.items()
            if 0 in counts
        }

    @property
    def imbalance(self) -> dict[str, float]:
        """Split → examples of its largest class for one of its smallest that is not empty."""
        found = {s: [n for n in counts if n] for s, counts in self.counts.items()}
        return {s: max(some) / min(some) for s, some in found.items() if some}

    def problems(self) -> dict[str, int]:
        """Return what makes a figure doubtful, and how many of each there are."""
        groups = self.groups
        return {
            "cannot be decoded": len(self.undecodable),
            "labels that are no class": len(self.bad_labels),
            "pictures in several splits": sum(g.across for g in groups),
            "pictures twice in one split": sum(not g.across for g in groups),
            "pictures with several labels": sum(len(g.labels) > 1 for g in groups),
            "keys that stand twice": len(self.repeated_keys),
            "classes that a split lacks": sum(map(len, self.missing.values())),
        }

    def remarks(self) -> dict[str, int]:
        """Return what is worth knowing and does no harm by itself."""
        colours = self.colours
        return {
            "wrong ending for their format": len(self.wrong_endings),
            "grey": sum(n for name, n in colours.items() if name.startswith("grey")),
            "CMYK": colours.get("CMYK", 0),
            "with alpha": sum(n for name, n in colours.items() if name.endswith("alpha")),
            "16 bits a channel": self.depths.get("16", 0),
            "turned by EXIF": self.turned,
            f"shorter side below {SMALL} pixels": self.extremes["small"],
            f"over {LARGE // 1_000_000} megapixels": self.extremes["large"],
            f"one side over {THIN} times the other": self.extremes["thin"],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        examples = {
            name: [e.to_dict() for e in getattr(self, name)]
            for name in (
                *("undecodable", "bad_labels", "repeated_keys"),
                *("wrong_endings", "small", "large", "thin"),
            )
        }
        return {
            "dataset": self.dataset,
            "examples": self.sizes,
            "problems": self.problems(),
            "remarks": self.remarks(),
            "notes": list(self.notes),
            "classes": [
                {"name": name, **{s: counts[i] for s, counts in self.counts.items()}}
                for i, name in enumerate(self.classes)
            ],
            "missing_classes": self.missing,
            "imbalance": {s: round(ratio, 3) for s, ratio in self.imbalance.items()},
            "formats": self.formats,
            "colours": self.colours,
            "bits": self.depths,
            "spread": {
                name: dict(zip(("min", "median", "max"), values, strict=True))
                for name, values in self.spread.items()
            },
            **examples,
            "duplicates": [g.to_dict() for g in self.groups],
            "without_contrast": self.flat,
            "comparison_cut": self.cut,
            "seconds": round(self.seconds, 2),
        }
