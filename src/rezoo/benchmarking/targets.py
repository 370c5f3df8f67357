"""The request of a benchmark: targets and options, checked before heavy imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rezoo import registry
from rezoo.errors import SpecError
from rezoo.sources.references import Source, WithFolder, as_reference, local_folder, resolve
from rezoo.utils.device import usable_threads
from rezoo.utils.paths import expanded

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
DEVICES = ("auto", "cpu", "gpu")
_MAX_BATCH_SIZE = 65_536
_MAX_ROUNDS = 1000
_EXPORTS = ("passport.json", "rezoo.json", "saved_model.pb")  # files of an exported folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure.

    Attributes:
        batch_sizes: Batch sizes for throughput.
        image_size: Height and width in pixels; None for that of the architecture or the weights.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `auto` for the precision that
            training uses on the device. Exported files have their own.
        threads: Processor threads; None for all that this process may use.
        rounds: Number of rounds.
        round_s: Seconds that a workload runs per round, rounded up to whole calls.
        train: Whether to measure training steps with the largest batch size, too.
        device: `auto` (a GPU if there is one), `cpu` or `gpu`.
    """

    batch_sizes: tuple[int, ...] = (1, 16)
    image_size: int | None = None
    precision: str = "float32"
    threads: int | None = None
    rounds: int = 5
    round_s: float = 0.5
    train: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        sizes = self.batch_sizes
        if not sizes or not all(1 <= size <= _MAX_BATCH_SIZE for size in sizes):
            raise SpecError(f"batch_sizes: {sizes}; each is 1 to {_MAX_BATCH_SIZE}")
        if len(set(sizes)) < len(sizes):
            raise SpecError(f"batch_sizes: {sizes}; each is measured once")
        if not 1 <= self.rounds <= _MAX_ROUNDS:
            raise SpecError(f"rounds: {self.rounds}; allowed is 1 to {_MAX_ROUNDS}")
        if not 0 < self.round_s <= 3600:
            raise SpecError(f"round_s: {self.round_s}; allowed is above 0, to 3600 seconds")
        if self.threads is not None and not 1 <= self.threads <= usable_threads():
            raise SpecError(
                f"threads: {self.threads}; allowed is 1 to {usable_threads()}, which this process "
                "may use"
            )
        for key, allowed in (("precision", PRECISIONS), ("device", DEVICES)):
            if getattr(self, key) not in allowed:
                raise SpecError(f"{key}: {getattr(self, key)!r}; allowed are {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network or an exported file to measure.

    Attributes:
        reference: The reference as given.
        kind: `architecture`, `weights` or `exported`.
        path: The exported file or folder; None for a network.
        source: The network; None for an exported file.
    """

    reference: str
    kind: str
    path: Path | None = None
    source: Source | None = None

    def input_shape(self, options: Options) -> tuple[int, int, int] | None:
        """Return `(height, width, channels)` of its images; None for an exported file."""
        if self.source is None:
            return None
        preprocessing = self.source.config.preprocessing.for_test().at(options.image_size)
        return (*preprocessing.size, preprocessing.channels)

    def job(self, options: Options, *, pretrained: bool) -> dict[str, Any]:
        """Return the job of its worker process as JSON values."""
        return {
            "reference": self.reference,
            "kind": self.kind,
            "path": str(self.path) if self.path else None,
            "input_shape": self.input_shape(options),
            "pretrained": pretrained,
            **asdict(options),
            "threads": options.threads or usable_threads(),
        }


def find_target(
    reference: str, *, pretrained: bool = False, require_pinned: bool = False
) -> Target:
    """Resolve a reference, without downloading weights.

    Args:
        reference: An architecture, weights, a folder with weights, or an exported file or folder.
        pretrained: Use the default weights of a bare architecture.
        require_pinned: As for `rezoo.load`.

    Raises:
        UnknownNameError: There is no such name; the hint has similar names.
        NotFoundError: There is no such path.
        NetworkError, IntegrityError, IncompatibleError: As `rezoo.load`.
    """
    path = expanded(reference)
    named = reference in registry.architectures.names()  # then a file is ./name
    exported = path.is_dir() and any((path / name).is_file() for name in _EXPORTS)
    if not named and (path.is_file() or exported):
        return Target(reference=reference, kind="exported", path=path)
    source = resolve(reference, pretrained=pretrained, require_pinned=require_pinned)
    kind = "weights" if source.has_weights else "architecture"
    return Target(reference=reference, kind=kind, source=source)


def find_targets(
    given: Sequence[str | Path | WithFolder],
    *,
    pretrained: bool = False,
    require_pinned: bool = False,
) -> list[Target]:
    """Resolve references in order; raises as `find_target`.

    A `Path` and the result of `train` are folders or files, never names.

    Raises:
        SpecError: There are no targets, or one is given twice.
    """
    references = [
        target if isinstance(target, str) else as_reference(local_folder(target))
        for target in given
    ]
    if not references:
        raise SpecError("nothing to measure", hint="name an architecture, a run or a file.")
    for place, name in enumerate(references):
        if name in references[:place]:
            raise SpecError(f"{name} is named twice", hint="name each target once.")
    return [
        find_target(name, pretrained=pretrained, require_pinned=require_pinned)
        for name in references
    ]
