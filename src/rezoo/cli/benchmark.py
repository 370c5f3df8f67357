"""`rezoo benchmark`: latency, throughput and memory on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.console import counter, lines, size, table
from rezoo.cli.options import (
    examples,
    json_option,
    pretrained_option,
    print_json,
    require_pinned_option,
)
from rezoo.cli.values import DEVICE_HELP, Device, complete_models
from rezoo.models.settings import choose_device
from rezoo.utils.names import count_of

if TYPE_CHECKING:
    from rezoo.benchmarking.results import Benchmark, Measured, Speed, Spread


_COUNTS = ("px", "parameters", "MACs", "FLOPs", "activations")
_SPEEDS = (
    *("target", "what", "images"),
    *("median", "5 %", "95 %", "TFLOP/s", "of the peak", "memory"),
)


class _Sizes(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """Whole numbers separated by commas."""

    name = "N,N…"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r}: write whole numbers, as in 1,16", param, ctx)
        return tuple(map(int, parts))


@click.command(
    epilog=examples(
        "rezoo benchmark resnet18 resnet50",
        "rezoo benchmark runs/a exports/model.onnx --batch-sizes 1,32 --threads 2",
    )
)
@click.argument(
    "targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_models
)
@click.option(
    "--batch-sizes",
    type=_Sizes(),
    default="1,16",
    show_default=True,
    help="Batch sizes for throughput; latency is that of one image.",
)
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16", "mixed_float16", "auto"]),
    default="float32",
    show_default=True,
    help="Precision of networks; auto: that of training on this device.",
)
@click.option("--train", is_flag=True, help="Measure training steps with the largest batch, too.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Number of rounds.")
@click.option("--threads", type=int, help="Processor threads.  [default: all available]")
@click.option("--device", type=Device(), help=DEVICE_HELP)
@pretrained_option
@require_pinned_option
@json_option
def benchmark(
    targets: tuple[str, ...],
    pretrained: bool,
    require_pinned: bool,
    as_json: bool,
    device: str | None,
    **measuring: Any,
) -> None:
    """Measure the cost of each TARGET: an architecture, weights, a run, an exported file.

    Parameters, MACs, FLOPs and activations; the latency of one image; throughput, absolute and
    relative to the peak of the machine; memory; with --train, training steps. Each target has a
    process of its own and runs once per round, after a warm-up. Figures are medians with the 5th
    and 95th percentiles of the rounds.

    One MAC is one multiply-add or two FLOPs. The paper calls a MAC a FLOP.
    """
    from rezoo.benchmarking.benchmark import measure
    from rezoo.benchmarking.targets import Options, find_targets

    options = Options(device=(device or "auto").partition(":")[0], **measuring)
    found = find_targets(targets, pretrained=pretrained, require_pinned=require_pinned)
    if device:
        choose_device(device)  # the environment of the targets' processes
    with counter("measuring") as progress:
        result = measure(found, options, pretrained=pretrained, progress=progress)
    print_json(result.to_dict()) if as_json else show(result)


def show(result: Benchmark) -> None:
    """Print counts, measurements and their conditions."""
    counts = [_counts(row, result) for row in result.targets]
    table("for one image", counts, right=_COUNTS)
    speeds = [dict(zip(_SPEEDS, x, strict=True)) for row in result.targets for x in _lines(row)]
    table("measured: median, 5th and 95th percentile", speeds, right=_SPEEDS[2:])
    lines(*_conditions(result))


def _counts(row: Measured, result: Benchmark) -> dict[str, str]:
    kind = row.kind if row.precision == result.precision else f"{row.kind}, {row.precision}"
    counts = map(_short, (row.params, row.macs, row.flops, row.activations))
    numbers = dict(zip(_COUNTS, (_pixels(row.input_shape), *counts), strict=True))
    return {"target": row.target, "kind": kind, **numbers}


def _lines(row: Measured) -> Iterator[tuple[str, ...]]:
    if row.latency_ms:
        yield (row.target, "latency", "1", *_spread(row.latency_ms, " ms"), "", "", "")
    for speed in row.speeds:
        memory = row.peak_bytes if speed is row.speeds[-1] else None
        yield (row.target, "inference", *_speed(speed, memory))
    if row.training:
        yield (row.target, "training", *_speed(row.training, row.train_peak_bytes))


def _speed(speed: Speed, memory: int | None) -> tuple[str, ...]:
    return (
        str(speed.batch_size),
        *_spread(speed.images_per_s, "/s"),
        "" if speed.flops_per_s is None else f"{speed.flops_per_s / 1e12:.3g}",
        "" if speed.of_peak is None else f"{speed.of_peak:.0%}",
        "" if memory is None else size(memory),
    )


def _conditions(result: Benchmark) -> Iterator[str]:
    peak, threads = result.peak_flops_per_s, result.threads
    yield (
        f"{result.device}; {result.backend}, {result.precision}, "
        f"{count_of(threads, 'thread')}; {count_of(result.rounds, 'round')} after a warm-up"
    )
    yield (
        f"peak {peak.p50 / 1e12:.3g} TFLOP/s ({peak.p5 / 1e12:.3g} to {peak.p95 / 1e12:.3g}): a "
        "product of large matrices in the same precision, measured in the same rounds"
    )
    before = max((row.before_bytes for row in result.targets), default=0)
    libraries = f", including up to {size(before)} for libraries" if before else ""
    yield f"memory: peak of the target's process{libraries}"
    yield (
        'one MAC is one multiply-add or two FLOPs; the paper\'s "FLOPs" are MACs; '
        "a training step counts as three forward passes"
    )


def _spread(value: Spread, unit: str) -> tuple[str, str, str]:
    return (f"{_figure(value.p50)}{unit}", _figure(value.p5), _figure(value.p95))


def _figure(value: float) -> str:
    """Return a number with at least three digits and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _pixels(shape: tuple[int, int, int]) -> str:
    height, width, _ = shape
    return str(height) if height == width else f"{height}×{width}"


def _short(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"
