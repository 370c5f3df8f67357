"""What exports and their passports look like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rezoo.cli.console import escaped, new_grid, open_console

if TYPE_CHECKING:
    from rezoo.exporters.comparing import Comparison
    from rezoo.exporters.passport import Passport


def formats(rows: list[dict[str, Any]]) -> None:
    """Print which formats there are."""
    console = open_console()
    grid = new_grid(console)
    for heading in ("format", "what it is", "--quantize", "--input", "installed"):
        grid.add_column(heading, overflow="fold")
    for row in rows:
        there = "yes" if row["installed"] else f"no: {row['install']}"
        cells = (row["name"], row["summary"], *(", ".join(row[k]) for k in ("quantize", "input")))
        grid.add_row(*(escaped(cell) for cell in (*cells, there)))
    console.print(grid)


def passport(result: Passport, tried: list[dict[str, Any]]) -> None:
    """Print the passport of an export, and what else was tried."""
    console = open_console()
    if tried:
        console.print(_tried(tried))
    console.print(escaped(str(result.folder), "bold"))
    grid = new_grid(console)
    grid.add_column("what", no_wrap=True, style="bold")
    grid.add_column("found", overflow="fold")
    for what, text in rows(result):
        grid.add_row(escaped(what), escaped(text))
    console.print(grid)
    if result.trade and len(result.trade) > 1:
        console.print(_trade(result.trade))
    console.print(escaped(f"It holds: {result.comparison.tolerance}.", "bold"))


def rows(result: Passport) -> Iterator[tuple[str, str]]:
    """Yield what a passport says: a heading and a text."""
    facts, cost = result.metadata, result.cost
    yield "format", f"{result.format}, {facts['quantization']} quantization"
    height, width, channels = facts["input_shape"]
    shape = "any height and width" if facts["input"] == "raw" else f"{height}×{width}"
    yield "input", f"{facts['input']}, {shape}, {channels} channels, any number of images"
    yield "output", f"{facts['output']} of {facts['num_classes']} classes"
    yield from _compared(result.comparison)
    if kept := facts["kept_in_float32"]:
        yield "kept in float32", ", ".join(kept)
    yield "size", f"{result.size / 1e6:.1f} MB"
    median, slow = cost["latency_ms_p50"], cost["latency_ms_p95"]
    yield "one image", f"{median:.1f} ms median, {slow:.1f} ms 95th percentile"
    yield "throughput", f"{cost['images_per_s']:.1f} images/s, {cost['batch_size']} at a time"
    yield "memory", f"{cost['memory_bytes'] / 1e6:.0f} MB beside the program, while it ran"
    yield "run by", result.runtime
    licence = facts["licence"] or "unknown"
    yield "licence", licence
    for name, known in result.files.items():
        if known["bytes"] == max(file["bytes"] for file in result.files.values()):
            yield "SHA-256", f"{known['sha256']}  {name}"


def _compared(found: Comparison) -> Iterator[tuple[str, str]]:
    yield "compared on", found.what
    most = f"at most {found.max_abs:.2g}, {found.relative:.1e} of the largest output"
    yield "difference", f"{most}; root mean square {found.rms_relative:.1e} of theirs"
    low, high = found.agreement_interval
    yield "same answers", f"{found.agreement:.2%} of {found.count} ({low:.1%} to {high:.1%})"
    if found.accuracy is None:
        return
    known = found.accuracy
    before, after = known.before_interval, known.after_interval
    source = f"{known.before:.2%} ({before[0]:.1%} to {before[1]:.1%}) before"
    ours = f"{known.after:.2%} ({after[0]:.1%} to {after[1]:.1%}) after"
    yield "top-1", f"{source}, {ours}, of {known.count}"


def _trade(trade: tuple[dict[str, Any], ...]) -> Any:
    console = open_console()
    grid = new_grid(console, "int8: layers kept in float32, and what that gave")
    for heading in ("layers", "same answers", "top-1", "drop", "MB"):
        grid.add_column(heading, justify="right")
    for row in trade:
        known = row["top1"] is not None
        grid.add_row(
            str(len(row["kept_in_float32"])),
            f"{row['agreement']:.1%}",
            f"{row['top1']:.2%}" if known else "",
            f"{100 * row['drop']:.2f}" if known else "",
            f"{row['bytes'] / 1e6:.1f}",
        )
    return grid


def _tried(tried: list[dict[str, Any]]) -> Any:
    console = open_console()
    grid = new_grid(console, "formats that are installed")
    for heading in ("format", "one image, ms", "95 %", "images/s", "MB"):
        grid.add_column(heading, justify="left" if heading == "format" else "right")
    for row in tried:
        if "out" in row:
            grid.add_row(escaped(row["format"]), "out", "", "", "")
            continue
        grid.add_row(
            escaped(row["format"]),
            f"{row['latency_ms_p50']:.1f}",
            f"{row['latency_ms_p95']:.1f}",
            f"{row['images_per_s']:.1f}",
            f"{row['memory_bytes'] / 1e6:.0f}",
        )
    return grid
