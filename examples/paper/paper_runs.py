"""The runs of an experiment: what was asked for, how far each run is, and what the paper has.

Loads without Keras, so that `cifar.py --status` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rezoo.artifacts import run_files
from rezoo.errors import NotFoundError
from rezoo.utils.documents import read_document
from rezoo.utils.files import write_json
from rezoo.utils.schemas import Schema, conform, integer, optional, real, text

RUNS = Path("runs/paper")
DATASET = "cifar10_paper"
PLAN = "experiment.json"
PROCESSOR = "processor.json"  # in each run folder
DEGRADATION = ("plain20", "plain56", "resnet20", "resnet56")
_PLAN: Schema = {
    "dataset": text(),
    "epochs": integer(1, 100_000),
    "budget": optional(real(0, 1e9)),
    "networks": [text()],
    "seeds": integer(1, 1000),
}


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
        """Return the plan of a folder; None if it has none.

        Raises:
            IntegrityError: The file is damaged.
            IncompatibleError: A value is not allowed.
        """
        if not (runs / PLAN).exists():
            return None
        values = read_document(runs / PLAN)
        conform(values, _PLAN, runs / PLAN)
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
    plan = required_plan(runs)
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

    def so_far(self, found: Sequence[Result]) -> str:
        """Return the difference after the last epoch that both first seeds have; empty if none.

        All runs of an experiment have the same schedule, so epochs are comparable.
        """
        firsts = {run.network: run for run in found if run.seed == 0}
        first, second = (getattr(firsts[name], self.kind) for name in (self.first, self.second))
        epoch = min(len(first), len(second))
        if not epoch:
            return ""
        gap = first[epoch - 1] - second[epoch - 1]
        return f"{gap:+.2f} points after epoch {epoch} of {firsts[self.first].epochs}, seed 0"

    def measured(self, found: Sequence[Result]) -> str:
        """Return the median and how many seeds agree with the paper; before, how far they are."""
        gaps = self.gaps(found)
        if not gaps:
            return self.so_far(found)
        agree = sum((gap > 0) == self.above for gap in gaps)
        side = "above" if self.above else "below"
        return f"{median(gaps):+.2f} points, {side} 0 in {agree} of {in_seeds(len(gaps))}"


# figure 6 shows curves; the options of table 3 are those of ResNet-34 on ImageNet
COMPARISONS = (
    Comparison("figure 6 left", "plain56", "plain20", "train", "above 0 (curves)", True),
    Comparison("figure 6 left", "plain56", "plain20", "test", "above 0 (curves)", True),
    Comparison("table 6", "resnet56", "resnet20", "test", "-1.78 points", False),
    Comparison("table 3, B", "resnet20_b", "resnet20", "test", "-0.51 points, ImageNet", False),
    Comparison("table 3, C", "resnet20_c", "resnet20_b", "test", "-0.33 points, ImageNet", False),
)


def claims(found: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each comparison of which both networks have begun."""
    asked = {run.network for run in found}
    for comparison in COMPARISONS:
        if {comparison.first, comparison.second} <= asked and (
            measured := comparison.measured(found)
        ):
            yield f"{comparison}: {measured}; paper: {comparison.paper}"


def in_seeds(count: int) -> str:
    """Return `1 seed`, `2 seeds`."""
    return f"{count} seed{'' if count == 1 else 's'}"


def required_plan(runs: Path) -> Plan:
    """Return the plan of a folder.

    Raises:
        NotFoundError: It has none.
    """
    plan = Plan.read(runs)
    if plan is None:
        raise NotFoundError(
            f"{runs} has no {PLAN}: no experiment has been started there",
            hint="start one with `python examples/paper/cifar.py`, or name its folder with --runs.",
        )
    return plan
