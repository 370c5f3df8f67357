"""Write what the experiments of this folder have measured: `python examples/paper/paper_report.py`.

Reads the run folders of `cifar.py` (by default in runs/paper) and counts table 1. It writes the
block between the marks of README.md in this folder, and the picture images/degradation.svg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib
from paper_runs import (
    COMPARISONS,
    DATASET,
    DEGRADATION,
    RUNS,
    Plan,
    Result,
    in_seeds,
    required_plan,
    results,
)

from rezoo.errors import RezooError
from rezoo.utils import figures
from rezoo.utils.files import write_bytes

if TYPE_CHECKING:
    from table1 import Counted

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- begin: python examples/paper/paper_report.py -->", "<!-- end -->"
PAPER_EPOCHS = 165  # 64,000 steps of 128 of the 50,000 images, rounded up
# place in the paper, and its test error in percent; CIFAR-10 unless the words say otherwise
PAPER = {
    "plain20": ("figure 6 left", "a curve"),
    "plain56": ("figure 6 left", "a curve"),
    "plain110": ("section 4.2", "above 60 %"),
    "resnet20": ("table 6", 8.75),
    "resnet32": ("table 6", 7.51),
    "resnet44": ("table 6", 7.17),
    "resnet56": ("table 6", 6.97),
    "resnet110": ("table 6", 6.43),
    "resnet20_b": ("table 3, option B", "ImageNet only"),
    "resnet20_c": ("table 3, option C", "ImageNet only"),
}


def block(runs: Path, counted: Counted) -> str:
    """Return the tables of README.md, in Markdown.

    Args:
        runs: The folder of the runs.
        counted: The networks of table 1, as `table1.measured` returns them.

    Raises:
        NotFoundError: The folder has no experiment.
    """
    plan = required_plan(runs)
    found = results(runs, plan)
    done = sum(run.done for run in found)
    steps = f"{plan.epochs} epochs of the paper's {PAPER_EPOCHS}"
    head = ("what", "paper", "ours", "difference", "cost", "command", "hardware", "date")
    rows = [_table_1(counted)]
    rows += [_error(network, found) for network in plan.networks]
    rows += _orderings(found)
    return "\n\n".join(
        [
            f"{done} of {len(found)} runs done; each has {steps}, with the schedule in proportion.",
            _markdown(head, rows),
            "The networks of table 1, in billions of multiply-adds:",
            _markdown(
                ("network", "paper", "ours", "exact", "digits"),
                [(row.network, row.printed, d, f"{macs:,}", row.how) for row, macs, d in counted],
            ),
        ]
    )


def _table_1(counted: Counted) -> tuple[str, ...]:
    same = sum(digits == row.printed for row, _, digits in counted)
    return (
        f"table 1, multiply-adds of {len(counted)} networks",
        "one decimal",
        f"{same} of {len(counted)} as printed",
        f"{len(counted) - same} digits",
        "seconds",
        "`python examples/paper/table1.py`",
        "any",
        datetime.now(UTC).date().isoformat(),
    )


def _error(network: str, found: Sequence[Result]) -> tuple[str, ...]:
    """Return the row with the test error of one network."""
    mine = [run for run in found if run.network == network]
    ends = [run.test[-1] for run in mine if run.done]
    where, paper = PAPER.get(network, ("not in the paper", ""))
    longest = max((run.test for run in mine), key=len)
    ours = f"{len(longest)} of {mine[0].epochs} epochs"
    if longest:
        ours = f"{longest[-1]:.2f} % after {ours}"
    difference = ""
    if ends:
        spread = f" ({min(ends):.2f} to {max(ends):.2f})" if len(ends) > 1 else ""
        ours = f"{median(ends):.2f} %{spread}, {in_seeds(len(ends))}"
        difference = "" if isinstance(paper, str) else f"{median(ends) - paper:+.2f} points"
    return (
        f"{where}: test error, {network}",
        paper if isinstance(paper, str) else f"{paper:.2f} %",
        ours,
        difference,
        _cost(mine),
        _command([network], mine),
        _all(run.machine for run in mine),
        max(run.date for run in mine),
    )


def _orderings(found: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each comparison whose networks were asked for."""
    asked = {run.network for run in found}
    for x in COMPARISONS:
        if {x.first, x.second} <= asked:
            mine = [run for run in found if run.network in (x.first, x.second)]
            ours = x.measured(found) or "not measured yet"
            date = max((run.date for run in mine), default="")
            agree = [(gap > 0) == x.above for gap in x.gaps(found)]
            same = ("as in the paper" if all(agree) else "not as in the paper") if agree else ""
            yield (
                f"{x.where}: {x}",
                x.paper,
                ours,
                same,
                _cost(mine),
                _command([x.first, x.second], mine),
                _all(run.machine for run in mine),
                date,
            )


def _command(networks: Sequence[str], found: Sequence[Result]) -> str:
    options = f"--epochs {found[0].epochs} --seeds {1 + max(run.seed for run in found)}"
    return f"`python examples/paper/cifar.py {' '.join(networks)} {options}`"


def _cost(found: Sequence[Result]) -> str:
    minutes = [run.processor_min for run in found if run.processor_min is not None]
    return f"{sum(minutes):.3g} processor minutes" if minutes else ""


def _all(texts: Iterable[str]) -> str:
    return "; ".join(sorted({text for text in texts if text}))


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def curve(network: str, kind: str, found: Sequence[Result]) -> list[float]:
    """Return the median error after each epoch, of the runs that are done or else of the longest.

    Args:
        network: Its architecture.
        kind: `train` or `test`.
        found: All runs.
    """
    mine = [run for run in found if run.network == network]
    chosen = [run for run in mine if run.done] or sorted(mine, key=lambda run: len(run.test))[-1:]
    return [median(values) for values in zip(*(getattr(run, kind) for run in chosen), strict=True)]


def picture(runs: Path) -> str:
    """Return the curves of the four networks of figure 6 as an SVG file, for light and dark pages.

    Raises:
        NotFoundError: The folder has no experiment.
    """
    plan = required_plan(runs)
    found = results(runs, plan)
    curves = {
        (network, kind): curve(network, kind, found)
        for network in DEGRADATION
        for kind in ("train", "test")
    }
    top = max((max(values) for values in curves.values() if values), default=100.0)
    panels = []
    with figures.settings():
        matplotlib.rcParams["font.size"] = 12.5  # readable where 390 pixels are the whole page
        for words, networks in (("plain", DEGRADATION[:2]), ("residual", DEGRADATION[2:])):
            figure = figures.new_figure(figures.WIDTH, figures.HEIGHT)
            axes = figure.add_axes((0.1, 0.18, 0.62, 0.7))
            _draw(axes, {key: curves[key] for key in curves if key[0] in networks})
            axes.set_title(f"{words}: error on CIFAR-10", loc="left", weight="bold")
            axes.set(xlim=(1, max(plan.epochs, 2)), ylim=(0, top * 1.03), xlabel="epoch")
            size = f'width="{figures.WIDTH}pt" height="{figures.HEIGHT}pt"'
            panels.append(figures.as_svg(figure).replace(size, "", 1))  # `stack` sets it
    mine = [run for run in found if run.network in DEGRADATION]
    done = sum(run.done for run in mine)
    whole = f"median of {in_seeds(plan.seeds)}" if plan.seeds > 1 else in_seeds(1)
    title = whole if done == len(mine) else f"{done} of {len(mine)} runs done"
    return figures.stack(f"{plan.epochs} epochs, {title}", panels)


def _draw(axes: Any, curves: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Draw the curves of two networks, each with its name at its end."""
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.15)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    ends = []
    for number, ((network, kind), values) in enumerate(curves.items()):
        if values:
            colour, width = figures.COLOURS[number // 2], 2.6 if kind == "test" else 1.0
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, linewidth=width, clip_on=False)
            word = "test" if kind == "test" else "training"
            ends.append((values[-1], f"{network} {word}", colour, kind))
    heights = _apart([end[0] for end in ends])
    for (_, words, colour, kind), height in zip(ends, heights, strict=True):
        weight = "bold" if kind == "test" else "normal"
        place = {"xy": (1.02, height), "xycoords": ("axes fraction", "data")}
        axes.annotate(
            words, **place, color=colour, weight=weight, va="center", annotation_clip=False
        )


def _apart(values: Sequence[float], least: float = 7.0) -> list[float]:
    """Return the values with at least a distance between neighbours, moved as little as needed."""
    order = sorted(range(len(values)), key=values.__getitem__)
    heights = list(values)
    for _ in range(100):
        for low, high in pairwise(order):
            missing = least - (heights[high] - heights[low])
            if missing > 1e-9:
                heights[low] -= missing / 2
                heights[high] += missing / 2
    return heights


def main() -> int:
    """Write the block of README.md and the picture; return an exit code of rezoo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of runs; default {RUNS}")
    args = parser.parse_args()
    if (plan := Plan.read(args.runs)) and plan.dataset != DATASET:
        parser.error(f"the runs in {args.runs} are {plan}; README.md has those on {DATASET}")
    from table1 import measured  # loads Keras

    readme, drawing = FOLDER / "README.md", FOLDER.parents[1] / "images" / "degradation.svg"
    try:
        text = filled(readme.read_text("utf-8"), block(args.runs, measured()))
        write_bytes(readme, text.encode())
        write_bytes(drawing, picture(args.runs).encode())
    except RezooError as error:
        hint = [f"Hint: {error.hint}"] if error.hint else []
        print(f"Error: {error}", *hint, sep="\n", file=sys.stderr)
        return error.exit_code
    print(readme, drawing, sep="\n")
    return 0


def filled(text: str, content: str) -> str:
    """Return a text with other content between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(main())
