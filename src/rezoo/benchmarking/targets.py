"""What is to be measured: targets and options, checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rezoo.errors import SpecError
from rezoo.sources.references import Source, resolve
from rezoo.utils.device import usable_threads

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
DEVICES = ("auto", "cpu", "gpu")
_MOST_IMAGES = 65_536
_MOST_ROUNDS = 1000
_EXPORTS = ("passport.json", "rezoo.json", "saved_model.pb")  # any of them: an exported folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure.

    Attributes:
        batch_sizes: Images at a time, one measurement of throughput for each.
        image_size: Height and width in pixels; None: what the architecture or the weights say.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `auto`, the device's for
            training. Exported files have their own.
        threads: Processor threads; None: as many as this process may use.
        rounds: How often each target has its turn.
        turn_s: Seconds of a turn at least; one call is never cut.
        train: Whether training steps are measured, too, with the largest batch.
        device: `auto` (a GPU where there is one), `cpu` or `gpu`.
    """

    batch_sizes: tuple[int, ...] = (1, 16)
    image_size: int | None = None
    precision: str = "float32"
    threads: int | None = None
    rounds: int = 5
    turn_s: float = 0.5
    train: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        sizes = self.batch_sizes
        if not sizes or not all(1 <= size <= _MOST_IMAGES for size in sizes):
            raise SpecError(f"batch_sizes: {sizes}; each is 1 to {_MOST_IMAGES}")
        if len(set(sizes)) < len(sizes):
            raise SpecError(f"batch_sizes: {sizes}; each is measured once")
        if not 1 <= self.rounds <= _MOST_ROUNDS:
            raise SpecError(f"rounds: {self.rounds}; allowed is 1 to {_MOST_ROUNDS}")
        if not 0 < self.turn_s <= 3600:
            raise SpecError(f"turn_s: {self.turn_s}; allowed is above 0, to 3600 seconds")
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
    """One thing to be measured.

    Attributes:
        reference: As it was given.
        kind: `architecture`, `weights` or `exported`.
        path: The exported file or folder; None elsewhere.
        source: The network; None of an exported file.
    """

    reference: str
    kind: str
    path: Path | None = None
    source: Source | None = None

    def input_shape(self, options: Options) -> tuple[int, int, int] | None:
        """Return `(height, width, channels)` of its images; None where the file says it."""
        if self.source is None:
            return None
        preprocessing = self.source.config.preprocessing.for_test().at(options.image_size)
        return (*preprocessing.size, preprocessing.channels)


def find_target(reference: str, *, pretrained: bool = False) -> Target:
    """Find out what a reference means; the weights of a repository are not fetched yet.

    Args:
        reference: An architecture, weights, a folder with weights, or an exported file or folder.
        pretrained: Take the default weights of a bare architecture.

    Raises:
        UnknownNameError: No such name; the hint has near names.
        NotFoundError: A path that is not there.
        NetworkError, IntegrityError, IncompatibleError: As `rezoo.load` does.
    """
    path = Path(reference).expanduser()
    if path.is_file() or (path.is_dir() and any((path / name).is_file() for name in _EXPORTS)):
        return Target(reference=reference, kind="exported", path=path)
    source = resolve(reference, pretrained=pretrained)
    kind = "weights" if source.has_weights else "architecture"
    return Target(reference=reference, kind=kind, source=source)


def find_targets(references: Sequence[str], *, pretrained: bool = False) -> list[Target]:
    """Find out what each reference means, in order; raises as `find_target` does.

    Raises:
        SpecError: A target is named twice, or none is.
    """
    if not references:
        raise SpecError("nothing to measure", hint="name an architecture, a run or a file.")
    twice = [name for name in references if list(references).count(name) > 1]
    if twice:
        raise SpecError(f"{twice[0]} is named twice", hint="each target has its own place.")
    return [find_target(name, pretrained=pretrained) for name in references]


def job(target: Target, options: Options) -> dict[str, Any]:
    """Return what the process of a target is told, as JSON values."""
    return {
        "reference": target.reference,
        "kind": target.kind,
        "path": str(target.path) if target.path else None,
        "input_shape": target.input_shape(options),
        **asdict(options),
        "threads": options.threads or usable_threads(),
    }
