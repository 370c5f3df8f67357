"""Write what the experiments of this folder have measured: `python examples/paper/paper_report.py`.

Reads the run folders of `cifar.py` (by default in runs/paper) and counts table 1. It writes the
block between the marks of README.md in this folder, and the picture images/degradation.svg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib

from rezoo.artifacts import run_files
from rezoo.errors import NotFoundError, RezooError
from rezoo.utils import figures
from rezoo.utils.documents import read_document
from rezoo.utils.files import write_bytes, write_json

if TYPE_CHECKING:
    from table1 import Counted

FOLDER = Path(__file__).parent
RUNS = Path("runs/paper")
DATASET = "cifar10_paper"
PAPER_EPOCHS = 165  # 64,000 steps of 128 of the 50,000 images, rounded up
PLAN = "experiment.json"
PROCESSOR = "processor.json"  # in each run folder
DEGRADATION = ("plain20", "plain56", "resnet20", "resnet56")
OPTIONS = {"resnet20": "A", "resnet20_b": "B", "resnet20_c": "C"}
PAPER = {"resnet20": 8.75, "resnet32": 7.51, "resnet44": 7.17, "resnet56": 6.97, "resnet110": 6.43}
BEGIN, END = "<!-- begin: python examples/paper/paper_report.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Plan:
    """What all runs of a folder have in common, in `experiment.json`.

    Attributes:
        dataset: The dataset reference.
        epochs: Of each run.
        budget: Minutes from which the epochs follow; None if they were given.
        networks: That were asked for so far.
        seeds: Of each network.
    """

    dataset: str
    epochs: int
    budget: float | None
    networks: tuple[str, ...]
    seeds: int

    @classmethod
    def read(cls, runs: Path) -> Plan | None:
        """Return the plan of a folder; None if it has none."""
        if not (runs / PLAN).exists():
            return None
        values = read_document(runs / PLAN)
        return cls(**{**values, "networks": tuple(values["networks"])})

    def __str__(self) -> str:
        budget = f" (--budget {self.budget:g})" if self.budget else ""
        return f"of {self.epochs} epochs{budget} on {self.dataset}"

    def write(self, runs: Path) -> None:
        """Write the plan."""
        write_json(runs / PLAN, asdict(self))


@dataclass(frozen=True)
class Result:
    """One run, as far as it has come.

    Attributes:
        network: Its architecture.
        seed: Of weights, order and augmentation.
        epochs: Of the whole run.
        train: Error after each epoch, in percent: the mean over the epoch's augmented batches.
        test: Error after each epoch on the test images, in percent.
        processor_min: Processor minutes so far; None if they are not known.
        machine: Name and number of processors; empty if the run has not begun.
        date: Of the last epoch; empty if there is none.
    """

    network: str
    seed: int
    epochs: int
    train: tuple[float, ...] = ()
    test: tuple[float, ...] = ()
    processor_min: float | None = None
    machine: str = ""
    date: str = ""

    @classmethod
    def of(cls, runs: Path, network: str, seed: int, epochs: int) -> Result:
        """Read a run folder; nothing is measured if there is none."""
        folder = folder_of(runs, network, seed)
        rows = run_files.read_history(folder)
        where = run_files.read_environment(folder)
        known = (folder / PROCESSOR).exists()
        return cls(
            network=network,
            seed=seed,
            epochs=epochs,
            train=tuple(100 - 100 * float(row["train_top1"]) for row in rows),
            test=tuple(100 - 100 * float(row["val_top1"]) for row in rows),
            processor_min=read_document(folder / PROCESSOR)["processor_s"] / 60 if known else None,
            machine=f"{', '.join(where['devices'])}, {where['cpus']} threads" if where else "",
            date=rows[-1]["finished_utc"][:10] if rows else "",
        )

    @property
    def done(self) -> bool:
        """Whether all epochs are measured."""
        return len(self.test) == self.epochs


def folder_of(runs: Path, network: str, seed: int) -> Path:
    """Return the folder of a run."""
    return runs / f"{network}-{seed}"


def results(runs: Path, plan: Plan) -> list[Result]:
    """Return all runs that were asked for, begun or not."""
    pairs = [(network, seed) for network in plan.networks for seed in range(plan.seeds)]
    return [Result.of(runs, network, seed, plan.epochs) for network, seed in pairs]


def status(runs: Path) -> str:
    """Return a table of all runs of a folder, and how far they are.

    Raises:
        NotFoundError: The folder has no experiment.
    """
    plan = _plan(runs)
    found = results(runs, plan)
    line = "{:<12} {:>4} {:>10} {:>14} {:>10} {:>17}"
    head = ("network", "seed", "epochs", "training error", "test error", "processor minutes")
    lines = [line.format(*head)]
    for run in found:
        train, test = (f"{v[-1]:.2f} %" if v else "" for v in (run.train, run.test))
        minutes = "" if run.processor_min is None else f"{run.processor_min:.1f}"
        epochs = f"{len(run.test)} of {run.epochs}"
        lines.append(line.format(run.network, run.seed, epochs, train, test, minutes))
    done = sum(run.done for run in found)
    lines += [f"{done} of {len(found)} runs done, {plan}"]
    return "\n".join([*lines, *claims(found)])


@dataclass(frozen=True)
class Comparison:
    """An ordering that the paper reports: the last error of one network less that of another.

    Attributes:
        where: In the paper.
        first, second: The networks.
        kind: `train` or `test` error.
        paper: What the paper has.
        above: Whether the difference is above 0 in the paper.
    """

    where: str
    first: str
    second: str
    kind: str
    paper: str
    above: bool

    def __str__(self) -> str:
        word = "training" if self.kind == "train" else "test"
        return f"{word} error, {self.first} less {self.second}"

    def gaps(self, found: Sequence[Result]) -> list[float]:
        """Return the difference in points for each seed of which both runs are done."""
        last = {(x.network, x.seed): getattr(x, self.kind)[-1] for x in found if x.done}
        seeds = sorted({seed for _, seed in last})
        pairs = [((self.first, seed), (self.second, seed)) for seed in seeds]
        return [last[a] - last[b] for a, b in pairs if a in last and b in last]

    def measured(self, found: Sequence[Result]) -> str:
        """Return the median and the number of seeds that agree with the paper; empty if none."""
        gaps = self.gaps(found)
        agree = sum((gap > 0) == self.above for gap in gaps)
        ordered = f"{'above' if self.above else 'below'} 0 in {agree} of {_seeds(len(gaps))}"
        return f"{median(gaps):+.2f} points, {ordered}" if gaps else ""


# figure 6 shows curves; the options of table 3 are those of ResNet-34 on ImageNet
COMPARISONS = (
    Comparison("figure 6 left", "plain56", "plain20", "train", "above 0 (curves)", True),
    Comparison("figure 6 left", "plain56", "plain20", "test", "above 0 (curves)", True),
    Comparison("table 6", "resnet56", "resnet20", "test", "-1.78 points", False),
    Comparison("table 3, B", "resnet20_b", "resnet20", "test", "-0.51 points, ImageNet", False),
    Comparison("table 3, C", "resnet20_c", "resnet20_b", "test", "-0.33 points, ImageNet", False),
)


def claims(found: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each comparison that has been measured."""
    for comparison in COMPARISONS:
        if measured := comparison.measured(found):
            yield f"{comparison}: {measured}; paper: {comparison.paper}"


def block(runs: Path, counted: Counted) -> str:
    """Return the tables of README.md, in Markdown.

    Args:
        runs: The folder of the runs.
        counted: The networks of table 1, as `table1.measured` returns them.

    Raises:
        NotFoundError: The folder has no experiment.
    """
    plan = _plan(runs)
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
    paper = PAPER.get(network)
    what = f"{'table 6' if paper else 'figure 6'}, {network}: test error"
    if network in OPTIONS:
        what += f" (option {OPTIONS[network]})"
    ours = f"0 of {len(mine)} runs done"
    difference = ""
    if ends:
        spread = f" ({min(ends):.2f} to {max(ends):.2f})" if len(ends) > 1 else ""
        ours = f"{median(ends):.2f} %{spread}, {_seeds(len(ends))}"
        difference = f"{median(ends) - paper:+.2f}" if paper else ""
    return (
        what,
        f"{paper:.2f} %" if paper else "curve only",
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


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plan(runs: Path) -> Plan:
    plan = Plan.read(runs)
    if plan is None:
        raise NotFoundError(
            f"{runs} has no {PLAN}: no experiment has been started there",
            hint="start one with `python examples/paper/cifar.py`, or name its folder with --runs.",
        )
    return plan


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
    plan = _plan(runs)
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
            axes.set(xlim=(1, plan.epochs), ylim=(0, top * 1.03), xlabel="epoch")
            size = f'width="{figures.WIDTH}pt" height="{figures.HEIGHT}pt"'
            panels.append(figures.as_svg(figure).replace(size, "", 1))  # `stack` sets it
    seeds = max(sum(run.done for run in found if run.network == n) for n in DEGRADATION)
    title = f"{plan.epochs} epochs, {f'median of {_seeds(seeds)}' if seeds > 1 else '1 seed'}"
    return figures.stack(title, panels)


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
        before, _, rest = readme.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}\n\n{block(args.runs, measured())}\n\n{END}{after}"
        write_bytes(readme, text.encode())
        write_bytes(drawing, picture(args.runs).encode())
    except RezooError as error:
        print(f"Error: {error}", *([f"Hint: {error.hint}"] if error.hint else []), sep="\n")
        return error.exit_code
    print(readme, drawing, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
