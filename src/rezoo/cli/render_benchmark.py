"""What `rezoo benchmark` prints: counts by everybody's rules, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rezoo.cli.console import escaped, new_grid, open_console, size

if TYPE_CHECKING:
    from rezoo.benchmarking.counting import Counted
    from rezoo.benchmarking.results import Benchmark, Measured, Speed, Spread

CONVENTION = 'one MAC is one multiply-add and two FLOPs; the paper\'s "FLOPs" are MACs'


def counts(rows: Sequence[Counted]) -> None:
    """Print what networks cost for one image, what other tools print for them, and why."""
    console = open_console()
    grid = new_grid(console, "for one image")
    grid.add_column("target", style="bold", no_wrap=True)
    for column in ("px", "classes", "parameters", "statistics", "MACs", "FLOPs", "activations"):
        grid.add_column(column, justify="right")
    for row in rows:
        figures = (row.params, row.statistics, row.macs, row.flops, row.activations)
        pixels = _pixels(row.input_shape)
        shown = (pixels, f"{row.num_classes:,}", *(f"{n:,}" for n in figures))
        grid.add_row(escaped(row.target), *shown)
    console.print(grid)
    grid = new_grid(console, "as other tools print it, in billions")
    grid.add_column("tool", style="bold", no_wrap=True)
    grid.add_column("unit")
    for row in rows:
        grid.add_column(escaped(row.target), justify="right", no_wrap=True)
    for place, tool in enumerate(rows[0].tools):
        found = [row.tools[place]["count"] for row in rows]
        shown = tuple("-" if n is None else f"{n / 1e9:.3f}" for n in found)
        grid.add_row(escaped(tool["tool"]), tool["unit"], *shown)
    console.print(grid)
    grid = new_grid(console, "why they differ")
    grid.add_column("tool", style="bold", no_wrap=True)
    grid.add_column("counts")
    for tool in rows[0].tools:
        grid.add_row(escaped(f"{tool['tool']} ({tool['unit']})"), escaped(tool["why"]))
    console.print(grid)
    console.print(escaped(CONVENTION))


def measured(result: Benchmark) -> None:
    """Print what targets cost on this machine."""
    console = open_console()
    grid = new_grid(console, "for one image")
    grid.add_column("target", style="bold", overflow="fold")
    grid.add_column("what")
    for column in ("px", "parameters", "MACs", "FLOPs", "activations"):
        grid.add_column(column, justify="right")
    for row in result.targets:
        amounts = (row.params, row.macs, row.flops, row.activations)
        shown = (_pixels(row.input_shape), *map(_short, amounts))
        kind = row.kind if row.precision == result.precision else f"{row.kind}, {row.precision}"
        grid.add_row(escaped(row.target), escaped(kind), *shown)
    console.print(grid)
    grid = new_grid(console, "measured: the median, and what 5 and 95 % of the turns are below")
    grid.add_column("target", style="bold", overflow="fold")
    for column in ("what", "images"):
        grid.add_column(column)
    for column in ("median", "5 %", "95 %", "TFLOP/s", "of the peak", "memory"):
        grid.add_column(column, justify="right")
    for row in result.targets:
        for line in _lines(row):
            grid.add_row(*map(escaped, line))
    console.print(grid)
    for text in _conditions(result):
        console.print(escaped(text))


def _lines(row: Measured) -> Iterator[tuple[str, ...]]:
    if row.latency_ms:
        yield (row.target, "latency", "1", *_spread(row.latency_ms, " ms"), "", "", "")
    for place, speed in enumerate(row.speeds):
        last = place == len(row.speeds) - 1
        memory = _memory(row.peak_bytes) if last else ""
        yield _speed(row.target, "inference", speed, memory)
    if row.training:
        yield _speed(row.target, "training", row.training, _memory(row.train_peak_bytes))


def _speed(target: str, what: str, speed: Speed, memory: str) -> tuple[str, ...]:
    rate = "" if speed.flops_per_s is None else f"{speed.flops_per_s / 1e12:.3g}"
    part = "" if speed.of_peak is None else f"{speed.of_peak:.0%}"
    spread = _spread(speed.images_per_s, "/s")
    return (target, what, str(speed.batch_size), *spread, rate, part, memory)


def _conditions(result: Benchmark) -> Iterator[str]:
    peak, threads = result.peak_flops_per_s, result.threads
    yield (
        f"{result.device}; {result.backend}, {result.precision}, "
        f"{threads} thread{'s' if threads > 1 else ''}; "
        f"{result.rounds} rounds in turns, after a warm-up"
    )
    yield (
        f"peak {peak.p50 / 1e12:.3g} TFLOP/s ({peak.p5 / 1e12:.3g} to {peak.p95 / 1e12:.3g}): a "
        "product of large matrices in the same precision, in turns with the targets"
    )
    before = max((row.before_bytes for row in result.targets), default=0)
    libraries = f", of which libraries took {size(before)} before" if before else ""
    yield f"memory: the most that a target's process took{libraries}"
    yield CONVENTION + "; a training step counts as three times the network's"
    yield from result.notes


def _spread(value: Spread, unit: str) -> tuple[str, str, str]:
    return (f"{_figure(value.p50)}{unit}", _figure(value.p5), _figure(value.p95))


def _figure(value: float) -> str:
    """Return a number with three digits at least and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _memory(count: int | None) -> str:
    return "" if count is None else size(count)


def _pixels(shape: tuple[int, int, int]) -> str:
    height, width, _ = shape
    return str(height) if height == width else f"{height}×{width}"


def _short(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"
