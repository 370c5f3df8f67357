"""`rezoo benchmark`: what networks cost, counted and measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rezoo.cli.options import import_quietly, json_option, pretrained_option, print_json

if TYPE_CHECKING:
    from rezoo.benchmarking.targets import Target


class _Sizes(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """Numbers with commas between them."""

    name = "N,N…"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r}: write whole numbers, as in 1,16", param, ctx)
        return tuple(map(int, parts))


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--counts", is_flag=True, help="Count as other tools do, and measure nothing.")
@click.option(
    "--chart",
    type=click.Path(path_type=Path),
    help="Draw the zoo's accuracy against its cost into a .png or .svg file.",
)
@click.option(
    "--batch-sizes",
    type=_Sizes(),
    default="1,16",
    show_default=True,
    help="Images at a time, for throughput; latency is that of one image.",
)
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16", "mixed_float16", "auto"]),
    default="float32",
    show_default=True,
    help="Of networks; auto: what training on this device takes.",
)
@click.option("--train", is_flag=True, help="Measure training steps with the largest batch, too.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Turns of each target.")
@click.option("--threads", type=int, help="Of the processor; all that may be used if not given.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="auto: a GPU where there is one.",
)
@pretrained_option
@json_option
def benchmark(
    targets: tuple[str, ...],
    counts: bool,
    chart: Path | None,
    pretrained: bool,
    as_json: bool,
    **measuring: Any,
) -> None:
    """Measure what each TARGET costs: an architecture, weights, a run, an exported file.

    Parameters, MACs, FLOPs and activations; the latency of one image; throughput, alone and as a
    part of what the machine reaches; memory; with --train, training steps. Targets take turns, each
    in a process of its own, after a warm-up; the figures are medians with what 5 and 95 % of the
    turns are below.

    One MAC is one multiply-add; one MAC is two FLOPs. The paper calls a MAC a FLOP. With --counts:
    what torchvision, timm, fvcore, ptflops, THOP, torch and TensorFlow print for the same network,
    and why they differ.
    """
    from rezoo.benchmarking.targets import Options, find_targets

    if not targets and chart is None:
        raise click.UsageError("Missing argument 'TARGET...'; or say --chart FILE.")
    if chart is not None:
        from rezoo.benchmarking.zoo_chart import check_ending

        check_ending(chart)
    # wrong names and options are answered before TensorFlow is loaded
    options = Options(**measuring)
    found = find_targets(targets, pretrained=pretrained) if targets else []
    document: dict[str, Any] = {}
    if chart is not None:
        document["chart"] = _draw(chart, as_json)
    if found and counts:
        document |= _count(found, measuring["image_size"], as_json)
    elif found:
        document |= _measure(found, options, pretrained, as_json)
    if as_json:
        print_json(document)


def _draw(path: Path, as_json: bool) -> str:
    from rezoo.benchmarking.zoo_chart import write_chart

    write_chart(path)
    if not as_json:
        click.echo(f"chart        {path}")
    return str(path)


def _count(targets: list[Target], image_size: int | None, as_json: bool) -> dict[str, Any]:
    from rezoo.cli import render

    with render.status("building the networks"):
        counting = import_quietly("rezoo.benchmarking.counting")
        rows = [counting.counted(target, image_size=image_size) for target in targets]
    if not as_json:
        from rezoo.cli import render_benchmark

        render_benchmark.counts(rows)
    return {"counts": [row.to_dict() for row in rows]}


def _measure(
    targets: list[Target], options: Any, pretrained: bool, as_json: bool
) -> dict[str, Any]:
    from rezoo.benchmarking.benchmark import measure
    from rezoo.cli import render

    with render.counter("measuring") as progress:
        result = measure(targets, options, pretrained=pretrained, progress=progress)
    if not as_json:
        from rezoo.cli import render_benchmark

        render_benchmark.measured(result)
    return result.to_dict()
