"""Seconds of a training step and of inference: rezoo against PyTorch, and against Keras.

    python examples/benchmarks/train_step.py [--models resnet50 resnet18] [--image-size 224]
        [--batch 16] [--precisions float32 mixed_bfloat16] [--contenders torch rezoo]
        [--actions training inference] [--rounds 9] [--json FILE]

A model is any name that rezoo and timm have, and `wide_resnet8`. A training step is forward, loss,
backward, and SGD with momentum and weight decay, on one batch in memory: no input pipeline.
PyTorch uses channels last. Each workload has its own process, and they run in interleaved rounds,
so a busy machine affects all; the tables give medians over rounds. Processor seconds are those of
all threads of the process. A training step counts as three times the network's FLOPs; the peak is
that of a product of large matrices, one of the workloads. `torch.compile` takes a minute or more
for each network: name the contenders without `torch-compile` to leave it out. Needs keras with
TensorFlow or JAX (KERAS_BACKEND), torch, and timm for networks other than ResNet-18 and 50; an
NVIDIA GPU is used if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train_step_workloads import BUILDERS, PEAK, Workload  # beside this file
from turns import Worker, take_turns

CONTENDERS = {
    "torch": "PyTorch, eager",
    "torch-compile": "PyTorch, torch.compile",
    "keras": "keras.applications.ResNet50, train_on_batch",
    "rezoo-keras-layers": "rezoo's network and step, all layers Keras's own",
    "rezoo": "rezoo",
}
ACTIONS = {"training": 3, "inference": 1}  # forward passes that one costs


def work(arguments: argparse.Namespace) -> None:
    """Run a workload in this process."""

    def build() -> Workload:
        actions, known = BUILDERS[arguments.worker](arguments)
        return {n: steps for n, steps in actions.items() if n in (*arguments.actions, PEAK)}, known

    take_turns(build, arguments.threads)


def start(name: str, arguments: argparse.Namespace, model: str, kind: str) -> Worker:
    """Start the process of a workload."""
    command = [__file__, "--worker", name, "--model", model]
    command += ["--precision", kind, "--batch", str(arguments.batch)]
    command += ["--image-size", str(arguments.image_size), "--actions", *arguments.actions]
    command += ["--classes", str(arguments.classes), "--threads", str(arguments.threads)]
    return Worker(command, verbose=arguments.verbose)


def compare(
    arguments: argparse.Namespace, model: str, kind: str, peak: Worker
) -> list[dict[str, Any]]:
    """Measure all workloads with one network in one precision, and print the table."""
    names = [n for n in arguments.contenders if n != "keras" or model == "resnet50"]
    workers = {name: start(name, arguments, model, kind) for name in names}
    for worker in workers.values():
        worker.wait()
    same = {workers[n].known["params"] for n in names if n != "keras"}
    if len(same) > 1:
        raise SystemExit(f"not the same network: {same} parameters")
    peak.turns.clear()  # those of the minutes of other networks
    for _ in range(arguments.rounds):
        for worker in (*workers.values(), peak):
            worker.turn()
    for worker in workers.values():
        worker.end()
    top = 2 * peak.known["macs"] / peak.median(PEAK, 0)
    print(f"\n{model}, {arguments.image_size} px, batch {arguments.batch}, {kind}; ", end="")
    print(f"peak {top / 1e9:.0f} GFLOP/s; torch's best is 1.00")
    print("| action | workload | images/s | ratio | per processor second | ratio | of the peak |")
    print("|---|---|---:|---:|---:|---:|---:|")
    rows = []
    for action in arguments.actions:
        for row in rows_of(action, workers, arguments.batch, top):
            rows.append({"model": model, "precision": kind, **row})
            print(
                f"| {action} | {CONTENDERS[row['contender']]} "
                f"| {row['images_per_s']:.1f} | {row['ratio']:.2f} "
                f"| {row['images_per_processor_s']:.1f} | {row['processor_ratio']:.2f} "
                f"| {row['of_peak']:.2f} |",
                flush=True,
            )
    return rows


def rows_of(
    action: str, workers: dict[str, Worker], batch: int, top: float
) -> Iterator[dict[str, Any]]:
    """Yield what each workload took for an action; `top` is the peak in FLOP/s."""
    torch = [worker for name, worker in workers.items() if "torch" in name]
    best = {i: min((w.median(action, i) for w in torch), default=0) for i in (0, 1)}
    macs = next((w.known["macs"] for n, w in workers.items() if "rezoo" in n), 0)
    for name, worker in workers.items():
        wall, busy = worker.median(action, 0), worker.median(action, 1)
        flops = ACTIONS[action] * 2 * worker.known.get("macs", macs) * batch
        yield {
            "action": action,
            "contender": name,
            "images_per_s": batch / wall,
            "ratio": best[0] / wall,
            "images_per_processor_s": batch / busy,
            "processor_ratio": best[1] / busy,
            "of_peak": flops / wall / top,
            "turns": worker.turns[action],
        }


def print_summary(rows: list[dict[str, Any]], actions: list[str]) -> None:
    """Print rezoo's ratios, a row for each network and precision."""
    print("\nrezoo; torch's best is 1.00")
    print("| network | precision |" + "".join(f" {a} | per processor second |" for a in actions))
    print("|---|---|" + "---:|---:|" * len(actions))
    own = [row for row in rows if row["contender"] == "rezoo"]
    for model, kind in dict.fromkeys((row["model"], row["precision"]) for row in own):
        both = [row for row in own if (row["model"], row["precision"]) == (model, kind)]
        ratios = [row[key] for row in both for key in ("ratio", "processor_ratio")]
        print(f"| {model} | {kind} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def processor() -> str:
    """Return the processor's name and its instructions for 16-bit numbers."""
    with_flags = Path("/proc/cpuinfo")
    text = with_flags.read_text() if with_flags.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    flags = [f for f in ("avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in f"{text} "]
    return ", ".join([names[0] if names else platform.processor(), *flags])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet50", "resnet18"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--precisions", nargs="+", default=["float32", "mixed_bfloat16"])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--actions", nargs="+", default=list(ACTIONS), choices=ACTIONS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="and cores")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true", help="show stderr of the workloads")
    parser.add_argument("--worker", choices=BUILDERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    print(f"{processor()}; {arguments.threads} cores; {arguments.rounds} rounds")
    rows: list[dict[str, Any]] = []
    for kind in arguments.precisions:
        peak = start(PEAK, arguments, "", kind)
        peak.wait()
        for model in arguments.models:
            rows += compare(arguments, model, kind, peak)
            if arguments.json:
                found = {"processor": processor(), "rows": rows}
                arguments.json.write_text(json.dumps(found, indent=1))
        peak.end()
    print_summary(rows, arguments.actions)


if __name__ == "__main__":
    main()
