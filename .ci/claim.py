"""Train what a recipe claims, evaluate it as the claim says, and compare the two.

    python .ci/claim.py RECIPE ARCHITECTURE --output RUN

RECIPE is the name of a recipe, or a .toml file, with a table `[claim]`. The exit code is 1 if the
accuracy on the test split is below the claim by more than its tolerance. The run keeps the result
in its records and its card; `rezoo push` publishes them with the weights.
"""

from __future__ import annotations

import argparse
import json
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
    claim = claimed(given.recipe, given.architecture)
    run = ("--dataset", claim["dataset"], "--recipe", given.recipe, "--output", given.output)
    rezoo("train", given.architecture, *run, "--json")
    tta = ("--tta", claim["tta"]) if claim["tta"] else ()
    measured = json.loads(rezoo("eval", given.output, *tta, "--record", "--json"))["top1"]
    wanted, tolerance = claim["top1"][given.architecture], claim["tolerance"]
    text = f"top-1 {measured:.2%} on test; claimed {wanted:.2%}, tolerance {tolerance:.2%}"
    if measured < wanted - tolerance:
        raise SystemExit(f"the claim does not hold: {text}")
    print(f"the claim holds: {text}")


if __name__ == "__main__":
    main()
