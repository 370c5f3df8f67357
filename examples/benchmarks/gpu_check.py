"""Measure in ten minutes, on a GPU with JAX, what cannot be seen on a CPU.

    KERAS_BACKEND=jax python examples/benchmarks/gpu_check.py [--tiny] [--only bits memory]

Needs rezoo and JAX; PyTorch and TensorFlow are used if they are installed. Each check has its own
process and time limit, and prints its rows when it has them. What is not there is skipped, with
the reason. Input is random. `--tiny` shows on a CPU that every check works; its figures mean
nothing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

CHECKS = {  # seconds that each may take
    "without-tensorflow": 25,
    "device": 25,
    "torch-resnet50": 130,
    "torch-resnet18": 60,
    "host": 70,
    "parallel": 50,
    "compile": 70,
    "bits": 75,
    "memory": 50,
    "faults": 25,
    "update": 60,
    "tensorflow": 55,
}
WHOLE_S = 600.0
WORK = Path(__file__).with_name("gpu_check_work.py")
TRAIN_STEP = Path(__file__).with_name("train_step.py")


def ran(command: list[str], limit_s: float, environment: dict[str, str]) -> list[str]:
    """Run a process and return the lines of its output, with its end if it was not done."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,  # so that the processes that it starts end with it
    )
    late = threading.Timer(limit_s, os.killpg, (process.pid, 9))
    late.start()
    output, errors = process.communicate()
    in_time = late.is_alive()
    late.cancel()
    lines = output.splitlines()
    if not in_time:
        lines.append(f"| stopped | after {limit_s:.0f} s |")
    elif process.returncode:
        last = errors.strip().splitlines()[-1:] or ["no message"]
        lines.append(f"| failed | exit code {process.returncode}: {last[0][:300]} |")
    return lines


def against_torch(model: str, size: int, batch: int, rounds: int) -> list[str]:
    """Return the command that compares a training step with PyTorch's."""
    return [
        str(TRAIN_STEP), "--models", model, "--image-size", str(size), "--batch", str(batch),
        "--precisions", "mixed_bfloat16", "--contenders", "torch", "torch-compile", "rezoo",
        "--actions", "training", "--rounds", str(rounds),
    ]  # fmt: skip


def command_of(check: str, *, tiny: bool) -> tuple[list[str], str]:
    """Return the command of a check, or the reason to skip it."""
    if check.startswith("torch-") and find_spec("torch") is None:
        return [], "PyTorch is not installed"
    if check == "tensorflow" and find_spec("tensorflow") is None:
        return [], "TensorFlow is not installed"
    if check == "torch-resnet50":
        return against_torch("resnet50", *((32, 4, 1) if tiny else (224, 256, 5))), ""
    if check == "torch-resnet18":
        return against_torch("resnet18", *((32, 4, 1) if tiny else (32, 512, 5))), ""
    return [str(WORK), check, *(["--tiny"] if tiny else [])], ""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--slow", type=float, default=1.0, help="multiply all time limits")
    arguments = parser.parse_args()
    began = time.monotonic()
    environment = {
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    now = datetime.datetime.now(datetime.UTC)
    print(f"{now:%Y-%m-%d %H:%M} UTC; {platform.platform()}; Python {platform.python_version()}")
    for check in arguments.only:
        started = time.monotonic()
        left = arguments.slow * WHOLE_S - (started - began)
        command, reason = command_of(check, tiny=arguments.tiny)
        lines = [f"| skipped | {reason} |"]
        if command and left > 0:
            limit_s = min(arguments.slow * CHECKS[check], left)
            backend = {"KERAS_BACKEND": "tensorflow"} if check == "tensorflow" else {}
            lines = ran(command, limit_s, environment | backend)
        elif command:
            lines = ["| skipped | no time is left |"]
        print(f"\n## {check} ({time.monotonic() - started:.0f} s)\n", flush=True)
        if not check.startswith("torch-") or not command:
            print("| measured | value |\n|---|---|")
        print("\n".join(lines), flush=True)
    print(f"\nall: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
