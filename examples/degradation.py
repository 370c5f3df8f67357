"""Show degradation in some minutes, on the embedded digits: `python examples/degradation.py`.

Trains plain-20, plain-56 and ResNet-56, with the same recipe and seed. Prints the part of the
training images that each has right after each epoch, and draws it in RUNS/degradation.svg. A run
that was stopped goes on, and one that is finished is read.

Every gamma of batch normalization starts at one, as in 2015 (He et al., arXiv:1512.03385). rezoo
starts the last one of a block at zero. So its small residual networks learn slowly at first, which
is longer than this experiment.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path
from typing import Any

import keras

import rezoo
from rezoo.errors import Interrupted, RezooError, SpecError
from rezoo.utils.figures import Chart, Line, points, sheet

NETWORKS = ("plain20", "plain56", "resnet56")


class GammaOne(keras.callbacks.Callback):
    """Starts every batch normalization with a gamma of one."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Set the gammas, unless the run is resumed."""
        if int(self.model.optimizer.iterations) == 0:
            for layer in self.model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.gamma.assign(keras.ops.ones_like(layer.gamma))


def trained(network: str, runs: Path, epochs: int) -> list[dict[str, float]]:
    """Train a network on digits unless that is done; return the rows of its history.

    Raises:
        RezooError: As `rezoo.train` does; also if the folder has a run of other epochs.
    """
    folder = runs / network
    if not (folder / "metrics.json").exists():
        rezoo.train(
            network, "digits", epochs=epochs, output=folder, resume=True, callbacks=[GammaOne()]
        )
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            {key: float(row[key] or math.nan) for key in ("epoch", "train_top1")}
            for row in csv.DictReader(file)
        ]
    if len(rows) != epochs:
        raise SpecError(
            f"{folder} has {len(rows)} epochs instead of {epochs}",
            hint=f"--epochs {len(rows)}, or another folder with --runs.",
        )
    return rows


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Return training top-1 in percent, a row for each epoch and a column for each network."""
    lines = ["epoch" + "".join(f"{name:>10}" for name in found)]
    for rows in zip(*found.values(), strict=True):
        values = (f"{row['train_top1']:>9.1%} " for row in rows)
        lines.append(f"{rows[0]['epoch']:>5.0f}" + "".join(values).rstrip())
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Train, print the table and draw the picture; return an exit code of rezoo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "networks", nargs="*", default=NETWORKS, help=f"default {', '.join(NETWORKS)}"
    )
    parser.add_argument("--epochs", type=int, default=6, help="of each network; default 6")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/degradation"), help="default runs/degradation"
    )
    args = parser.parse_args(arguments)
    try:
        found = {name: trained(name, args.runs, args.epochs) for name in args.networks}
    except RezooError as error:
        again = isinstance(error, Interrupted)
        hint = "the same command goes on from there." if again else error.hint
        print(f"Error: {error}", *([f"Hint: {hint}"] if hint else []), sep="\n", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from there.", file=sys.stderr)
        return 130
    lines = tuple(Line(points(rows, "epoch", "train_top1"), name) for name, rows in found.items())
    path = args.runs / "degradation.svg"
    chart = Chart("training top-1", lines, percent=True)
    path.write_text(sheet("Deeper became worse", [chart], columns=1), "utf-8")
    print(table(found), path, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
