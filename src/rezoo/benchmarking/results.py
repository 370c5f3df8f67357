"""What a benchmark found: figures with their spread, and what they are a part of."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

PEAK, TRAIN = "peak", "train"  # actions, beside inference
TRAINING_FACTOR = 3  # a training step does a network's FLOPs forward and twice backward


def inference(batch_size: int) -> str:
    """Return the name of the action that runs so many images through a network."""
    return f"inference {batch_size}"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure that was measured several times.

    Attributes:
        p50: The median.
        p5: What one in twenty is below.
        p95: What one in twenty is above.
        count: Number of measurements.
    """

    p50: float
    p5: float
    p95: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarize values; between two of them the quantiles are interpolated."""
        ordered = sorted(values)
        if len(ordered) == 1:
            return cls(p50=ordered[0], p5=ordered[0], p95=ordered[0], count=1)
        twentieths = statistics.quantiles(ordered, n=20, method="inclusive")
        middle = statistics.median(ordered)
        return cls(p50=middle, p5=twentieths[0], p95=twentieths[-1], count=len(ordered))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast images go through.

    Attributes:
        batch_size: Images at a time.
        images_per_s: Over the turns.
        flops_per_s: At the median; None where the network's MACs are not known.
        of_peak: That, as a part of what the machine reached; None likewise, and of an exported file
            in another precision.
    """

    batch_size: int
    images_per_s: Spread
    flops_per_s: float | None = None
    of_peak: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one target costs.

    Attributes:
        target: As it was given.
        kind: `architecture`, `weights`, or the format of an exported file.
        precision: What it computed in; of an exported file, its quantization.
        input_shape: `(height, width, channels)` of an image.
        params: Trainable parameters; None of an exported file that does not say its network.
        statistics: Running means and variances; None likewise.
        macs: Multiply-adds for one image; None likewise.
        activations: Output elements of convolutions and fully connected layers; None likewise.
        latency_ms: Of single images, over all calls; None where the file takes more at a time.
        speeds: Inference, one for each batch size.
        training: Steps of training with the largest batch, where asked for.
        peak_bytes: The most memory that its process took in inference; None where nobody tells.
        train_peak_bytes: Likewise with training.
        before_bytes: What its process had before the network was built: libraries.
        runtime: What ran it.
    """

    target: str
    kind: str
    precision: str
    input_shape: tuple[int, int, int]
    latency_ms: Spread | None
    speeds: tuple[Speed, ...]
    training: Speed | None = None
    params: int | None = None
    statistics: int | None = None
    macs: int | None = None
    activations: int | None = None
    peak_bytes: int | None = None
    train_peak_bytes: int | None = None
    before_bytes: int = 0
    runtime: str = ""

    @property
    def flops(self) -> int | None:
        """Floating-point operations for one image: two for each multiply-add."""
        return None if self.macs is None else 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; units are in the names."""
        return {**dataclasses.asdict(self), "flops": self.flops}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What a benchmark found.

    Attributes:
        targets: In the order that they were named.
        device: What computed.
        backend: Keras's.
        threads: Of the processor.
        rounds: Turns of each.
        precision: Of the networks, and of the peak.
        peak_flops_per_s: Products of large matrices in the same precision, over the turns.
        notes: What a reader should know.
    """

    targets: tuple[Measured, ...]
    device: str
    backend: str
    threads: int
    rounds: int
    precision: str
    peak_flops_per_s: Spread
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            **content,
            "targets": [target.to_dict() for target in self.targets],
            "peak_flops_per_s": dataclasses.asdict(self.peak_flops_per_s),
            "notes": list(self.notes),
            "convention": "1 MAC is one multiply-add and 2 FLOPs",
        }


def measured(
    known: dict[str, Any],
    turns: dict[str, list[list[float]]],
    peak: Spread | None,
    batch_sizes: Sequence[int],
) -> Measured:
    """Put together what a target's process said.

    Args:
        known: Of the target, from its first answer.
        turns: Name of an action → its turns, each the seconds of its calls.
        peak: FLOPs per second of the machine; None where it was measured in another precision.
        batch_sizes: Those that were asked for; the target may not take all.
    """
    macs = known.get("macs")
    single = [1e3 * second for turn in turns.get(inference(1), ()) for second in turn]
    speeds = [
        _speed(size, turns[inference(size)], macs, peak)
        for size in batch_sizes
        if inference(size) in turns
    ]
    training = None
    if TRAIN in turns:
        operations = None if macs is None else TRAINING_FACTOR * macs
        training = _speed(known["batches"][TRAIN], turns[TRAIN], operations, peak)
    own = {field.name for field in dataclasses.fields(Measured)} & set(known)
    facts = {key: known[key] for key in own}
    return Measured(
        **{**facts, "input_shape": tuple(facts["input_shape"])},
        latency_ms=Spread.of(single) if single else None,
        speeds=tuple(speeds),
        training=training,
    )


def _speed(batch: int, turns: list[list[float]], macs: int | None, peak: Spread | None) -> Speed:
    rates = Spread.of([batch * len(turn) / sum(turn) for turn in turns])
    flops = None if macs is None else 2.0 * macs * rates.p50
    part = None if flops is None or peak is None else flops / peak.p50
    return Speed(batch_size=batch, images_per_s=rates, flops_per_s=flops, of_peak=part)
