"""The figures of a benchmark: medians with their spread, and rates relative to the peak."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

PEAK, TRAIN = "peak", "train"  # names of actions, next to those of `inference`
TRAINING_FACTOR = 3  # FLOPs of a training step per FLOP of the forward pass


def inference(batch_size: int) -> str:
    """Return the name of the action that runs a batch of images through a network."""
    return f"inference {batch_size}"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure that was measured several times.

    Attributes:
        p50: The median.
        p5: The 5th percentile.
        p95: The 95th percentile.
        count: Number of measurements.
    """

    p50: float
    p5: float
    p95: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarize values; percentiles are interpolated linearly."""
        ordered = sorted(values)
        if len(ordered) == 1:
            return cls(p50=ordered[0], p5=ordered[0], p95=ordered[0], count=1)
        twentieths = statistics.quantiles(ordered, n=20, method="inclusive")
        middle = statistics.median(ordered)
        return cls(p50=middle, p5=twentieths[0], p95=twentieths[-1], count=len(ordered))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Throughput with one batch size.

    Attributes:
        batch_size: Images per call.
        images_per_s: Images per second, one value per round.
        flops_per_s: FLOPs per second at the median; None if the network's MACs are not known.
        of_peak: `flops_per_s` as a fraction of the peak. None if `flops_per_s` is, or if the
            precision is not that of the peak.
    """

    batch_size: int
    images_per_s: Spread
    flops_per_s: float | None = None
    of_peak: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The cost of one target.

    Attributes:
        target: The reference as given.
        kind: `architecture`, `weights`, or the format of an exported file.
        precision: Precision of the computation; for an exported file, its quantization.
        input_shape: `(height, width, channels)` of an image.
        latency_ms: Milliseconds per call with one image, over all calls; None if an exported file
            only takes larger batches.
        speeds: Inference with each batch size.
        training: Training steps with the largest batch size; None if not requested.
        params: Trainable parameters; None for an exported file that does not name its network.
        statistics: Running means and variances; None as for `params`.
        macs: Multiply-adds for one image; None as for `params`.
        activations: Output elements of convolutions and fully connected layers; None as for
            `params`.
        peak_bytes: Peak memory of the process in inference; None if the platform does not report
            it.
        train_peak_bytes: Peak memory in training; None if not requested or not reported.
        before_bytes: Memory of the process before the network was built, for libraries.
        runtime: Name and version of the library that computed.
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

    @classmethod
    def of(
        cls,
        facts: Mapping[str, Any],
        rounds: Mapping[str, list[list[float]]],
        peak: Spread | None,
        batch_sizes: Sequence[int],
    ) -> Self:
        """Summarize what the process of a target measured.

        Args:
            facts: Attributes of the target, JSON values.
            rounds: Name of an action → seconds of each call, one list per round.
            peak: FLOPs per second of the peak; None if it has another precision.
            batch_sizes: The requested batch sizes; an exported file may not accept all.
        """
        macs = facts.get("macs")
        latencies = [1e3 * s for seconds in rounds.get(inference(1), ()) for s in seconds]
        speeds = [
            _speed(size, rounds[inference(size)], macs, peak)
            for size in batch_sizes
            if inference(size) in rounds
        ]
        training = None
        if TRAIN in rounds:
            step = None if macs is None else TRAINING_FACTOR * macs
            training = _speed(max(batch_sizes), rounds[TRAIN], step, peak)
        own = {field.name for field in dataclasses.fields(cls)} & facts.keys()
        return cls(
            **{key: facts[key] for key in own - {"input_shape"}},
            input_shape=tuple(facts["input_shape"]),
            latency_ms=Spread.of(latencies) if latencies else None,
            speeds=tuple(speeds),
            training=training,
        )

    @property
    def flops(self) -> int | None:
        """Floating-point operations for one image: two per multiply-add."""
        return None if self.macs is None else 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; units are in the names."""
        return {**dataclasses.asdict(self), "flops": self.flops}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The result of a benchmark.

    Attributes:
        targets: The targets in the given order.
        device: Name of the processor or GPU.
        backend: Name and version of Keras's backend.
        threads: Processor threads.
        rounds: Number of rounds.
        precision: Precision of the networks and of the peak.
        peak_flops_per_s: FLOPs per second of a product of large matrices in the same precision.
    """

    targets: tuple[Measured, ...]
    device: str
    backend: str
    threads: int
    rounds: int
    precision: str
    peak_flops_per_s: Spread

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **dataclasses.asdict(self),
            "targets": [target.to_dict() for target in self.targets],
            "convention": "1 MAC is one multiply-add and 2 FLOPs",
        }


def _speed(
    batch_size: int, rounds: list[list[float]], macs: int | None, peak: Spread | None
) -> Speed:
    rates = Spread.of([batch_size * len(seconds) / sum(seconds) for seconds in rounds])
    flops = None if macs is None else 2.0 * macs * rates.p50
    return Speed(
        batch_size=batch_size,
        images_per_s=rates,
        flops_per_s=flops,
        of_peak=None if flops is None or peak is None else flops / peak.p50,
    )
