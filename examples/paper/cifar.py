"""Train the ResNet paper's networks on CIFAR-10, one after the other: degradation and table 6.

    python examples/paper/cifar.py                               # the paper's 64,000 steps
    python examples/paper/cifar.py --budget 60 --seeds 3         # an hour for each seed
    python examples/paper/cifar.py resnet20 resnet20_b resnet20_c    # options A, B and C
    python examples/paper/cifar.py --status

The recipe is `paper_cifar`. All 50,000 images train, and the test images are measured after each
epoch. A start goes on where the last one stopped, with the same options or other networks and
seeds. Runs take long: `nohup python examples/paper/cifar.py > cifar.log &`; Ctrl-C and SIGTERM
stop them in order.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from paper_runs import DATASET, DEGRADATION, PROCESSOR, RUNS, Plan, folder_of, status

from rezoo import recipes, registry
from rezoo.artifacts.run_files import METRICS
from rezoo.cli.stopping import number_of, stopping
from rezoo.data.dataset_references import dataset_spec
from rezoo.data.datasets import Dataset, open_splits
from rezoo.errors import Interrupted, RezooError, SpecError
from rezoo.training.printing import Lines
from rezoo.training.reporters import Reporter, Several
from rezoo.training.train import train
from rezoo.training.trial import dry_run
from rezoo.utils.documents import read_document
from rezoo.utils.files import write_json
from rezoo.utils.lock import locked

RECIPE = "paper_cifar"
# the paper starts with a tenth of the rate for about 400 steps
CHANGES = {"resnet110": {"warmup_steps": 400}, "plain110": {"warmup_steps": 400}}


class Processor(Reporter):
    """Adds the processor time of this process to that of a run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROCESSOR
        before_s = read_document(self._path)["processor_s"] if self._path.exists() else 0.0
        self._zero_s = time.process_time() - before_s

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Write the sum after an epoch."""
        write_json(self._path, {"processor_s": round(time.process_time() - self._zero_s, 1)})

    def finished(self) -> None:
        """Write the sum when the run ends or stops."""
        write_json(self._path, {"processor_s": round(time.process_time() - self._zero_s, 1)})


def main(arguments: list[str] | None = None) -> int:
    """Train, and print how far the runs are; return an exit code of rezoo."""
    args = parsed(arguments)
    try:
        with stopping():
            if not args.status:
                experiment(args)
            print(status(args.runs))
    except RezooError as error:
        again = isinstance(error, Interrupted)
        hint = "the same command goes on from there." if again else error.hint
        print(f"Error: {error}", *([f"Hint: {hint}"] if hint else []), sep="\n", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt as error:
        print("Interrupted.", file=sys.stderr)
        code = 128 + number_of(error)
    else:
        return 0
    if Plan.read(args.runs):
        print(status(args.runs))
    return code


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "networks",
        nargs="*",
        help=f"architectures; by default those of an earlier start, or {', '.join(DEGRADATION)}",
    )
    parser.add_argument(
        "--seeds", type=int, help="runs of each network; by default as before, or 1"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=int, help="of each run; by default as before, or 165 (64,000 steps)"
    )
    length.add_argument(
        "--budget",
        type=float,
        metavar="MINUTES",
        help="time of this machine for one seed of all networks: a few steps of each are timed, "
        "and all get as many epochs as fit",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of runs; default {RUNS}")
    parser.add_argument("--dataset", help=f"default {DATASET}")
    parser.add_argument("--status", action="store_true", help="only print how far the runs are")
    return parser.parse_args(arguments)


def experiment(args: argparse.Namespace) -> None:
    """Train what is not trained yet, the first seed of each network first.

    Raises:
        RezooError: As `rezoo.train` does; also if the options are not those of an earlier start.
    """
    for name in args.networks:
        registry.architectures.find(name)
    before = Plan.read(args.runs)
    data = opened(args.dataset or (before.dataset if before else DATASET))
    with locked(args.runs, what="planning the experiment", wait=print):
        plan = planned(args, data, Plan.read(args.runs))
        plan.write(args.runs)
    print(status(args.runs), flush=True)
    for seed in range(args.seeds or plan.seeds):
        for network in args.networks or plan.networks:
            folder = folder_of(args.runs, network, seed)
            if (folder / METRICS).exists():
                continue
            train(
                network,
                data,
                recipe=RECIPE,
                epochs=plan.epochs,
                seed=seed,
                changes=CHANGES.get(network),
                output=folder,
                resume=True,
                reporter=Several(Lines(), Processor(folder)),
            )


def opened(reference: str) -> Dataset:
    """Open a dataset to train on all of its train part and to measure test after each epoch."""
    spec = dataset_spec(reference)
    splits = open_splits(spec)
    parts = {"train": splits["train"], "val": splits["test"], "test": splits["test"]}
    return Dataset(spec.name, spec, replace(splits, parts=parts))


def planned(args: argparse.Namespace, data: Dataset, before: Plan | None) -> Plan:
    """Return what is asked for, together with what was asked for before.

    Raises:
        SpecError: A number is out of bounds, or the runs would not be comparable.
    """
    for key, least in (("seeds", 1), ("epochs", 1), ("budget", 0)):
        value = getattr(args, key)
        if value is not None and not (least <= value < math.inf):
            raise SpecError(f"--{key} {value:g}; it must be a number from {least} on")
    networks = tuple(args.networks) or (before.networks if before else DEGRADATION)
    if before is None:
        if args.budget is not None:
            epochs = epochs_within(args.budget, networks, data)
        else:
            epochs = args.epochs or paper_epochs(data)
        return Plan(data.reference, epochs, args.budget, networks, args.seeds or 1)
    for key in ("dataset", "epochs", "budget"):
        value = getattr(args, key)
        if value is not None and value != getattr(before, key):
            raise SpecError(
                f"--{key} {value}: the runs in {args.runs} are {before}",
                hint="leave it out to go on with them, or choose another folder with --runs.",
            )
    both = tuple(dict.fromkeys((*before.networks, *networks)))
    return Plan(
        before.dataset, before.epochs, before.budget, both, max(before.seeds, args.seeds or 1)
    )


def paper_epochs(data: Dataset) -> int:
    """Return the epochs of the paper's 64,000 steps, rounded up."""
    recipe = recipes.read_recipe(RECIPE)
    return math.ceil(recipe["steps"] / (len(data.examples("train")) // recipe["batch_size"]))


def epochs_within(budget_min: float, networks: tuple[str, ...], data: Dataset) -> int:
    """Return how many epochs of all networks fit into a time, at most the paper's.

    Raises:
        SpecError: Not even one fits.
    """
    once_s, epoch_s = timed(networks, data)
    fitting = int((60 * budget_min - once_s) / epoch_s)
    if fitting < 1:
        least = math.ceil((once_s + epoch_s) / 60)
        raise SpecError(
            f"--budget {budget_min:g}: one epoch of {', '.join(networks)} takes {least} min",
            hint=f"allow {least} minutes or more, or name fewer networks.",
        )
    return min(fitting, paper_epochs(data))


def timed(networks: tuple[str, ...], data: Dataset) -> tuple[float, float]:
    """Return the seconds of the start and end of one run of each network, and of an epoch of each.

    A few real steps of each network are timed.
    """
    once_s = epoch_s = 0.0
    for name in networks:
        print(f"timing a few steps of {name}", file=sys.stderr, flush=True)
        _, found = dry_run(name, data, recipe=RECIPE, changes=CHANGES.get(name))
        once_s += found.times.compile_s + found.times.finish_s
        epoch_s += found.epoch_s
    return once_s, epoch_s


if __name__ == "__main__":
    sys.exit(main())
