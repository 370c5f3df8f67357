"""Train what a recipe claims, evaluate it as the claim says, and compare the two.

    python .ci/claim.py RECIPE ARCHITECTURE --output RUN

RECIPE is the name of a recipe, or a .toml file, with a table `[claim]`. The exit code is 1 if the
accuracy on the test split is below the claim by more than its tolerance. The run keeps the result
in its records and its card; `rezoo push` publishes them with the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from typing import Any


def rezoo(*arguments: str) -> str:
    """Show a command, run it, and return what it printed; its messages go to stderr."""
    print("rezoo", shlex.join(arguments), file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "rezoo", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def claimed(recipe: str, architecture: str) -> dict[str, Any]:
    """Return the claim of a recipe; it must name the architecture."""
    claim = json.loads(rezoo("info", recipe, "--json"))["claim"]
    names = list(claim["top1"]) if claim else []
    if architecture not in names:
        has = f"claims {', '.join(names)}" if names else "claims no accuracy"
        raise SystemExit(f"{recipe} {has}, not {architecture}; see rezoo list --records")
    return claim


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("architecture")
    parser.add_argument("--output", required=True)
    given = parser.parse_args()
    run = os.path.join(".", given.output)  # a name without a slash is no folder
    claim = claimed(given.recipe, given.architecture)
    what = ("--dataset", claim["dataset"], "--recipe", given.recipe, "--output", run)
    rezoo("train", given.architecture, *what, "--json")
    # the records keep what one pass over the test images gives; a claim may average several views
    measured = json.loads(rezoo("eval", run, "--record", "--json"))["top1"]
    if claim["tta"]:
        measured = json.loads(rezoo("eval", run, "--tta", claim["tta"], "--json"))["top1"]
    wanted, tolerance = claim["top1"][given.architecture], claim["tolerance"]
    text = f"top-1 {measured:.2%} on test; claimed {wanted:.2%}, tolerance {tolerance:.2%}"
    if measured < wanted - tolerance:
        raise SystemExit(f"the claim does not hold: {text}")
    print(f"the claim holds: {text}")


if __name__ == "__main__":
    main()
