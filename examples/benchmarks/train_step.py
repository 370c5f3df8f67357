"""Seconds of a training step: rezoo against PyTorch, eager and compiled, and against Keras.

    python examples/benchmarks/train_step.py [--models resnet50 resnet18] [--image-size 224]
        [--batch 16] [--precisions float32 mixed_bfloat16] [--rounds 9] [--json FILE]

A step is forward, loss, backward, and SGD with momentum and weight decay, on one batch in memory:
no input pipeline. All use channels last. Each workload has its own process, and they run in
interleaved rounds, so a busy machine affects all; the table gives medians over rounds. Processor
seconds are those of all threads of the process. A step counts as three times the network's FLOPs;
the peak is that of a product of large matrices, one of the workloads. Needs keras with TensorFlow
or JAX (KERAS_BACKEND), and torch; an NVIDIA GPU is used if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import Worker, take_turns  # beside this file

CONTENDERS = {
    "torch": "PyTorch, eager",
    "torch-compile": "PyTorch, torch.compile",
    "keras": "keras.applications.ResNet50, train_on_batch",
    "rezoo-keras-layers": "rezoo's network and step, all layers Keras's own",
    "rezoo": "rezoo",
}
DECAY, MOMENTUM, RATE = 1e-4, 0.9, 0.001


def batch(size: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 `(B, H, W, 3)` and int32 `(B,)`."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, size, size, 3)).astype(np.float32)
    return images, rng.integers(0, classes, count).astype(np.int32)


# `steps(n)`, which does n steps and waits for them, and counts of the network.
Workload = tuple[Callable[[int], None], dict[str, float]]


def rezoo(arguments: argparse.Namespace, *, plain: bool = False) -> Workload:
    """Build rezoo's own training step, as `rezoo train` uses it."""
    import keras

    from rezoo.models import layers
    from rezoo.models.factory import create_model
    from rezoo.models.profile import profile
    from rezoo.recipes.recipe import Recipe
    from rezoo.training.step import training_step

    if plain:
        for name in ("BatchNormalization", "Conv2D", "ReLU"):
            setattr(layers, name, getattr(keras.layers, name))
    size, classes = arguments.image_size, arguments.classes
    model = create_model(
        arguments.model,
        num_classes=classes,
        input_shape=(size, size, 3),
        precision=arguments.precision,
    )
    recipe = Recipe(
        name="benchmark",
        batch_size=arguments.batch,
        learning_rate=RATE,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        precision=arguments.precision,
        schedule="constant",
        warmup_epochs=0,
    )
    step = training_step(model, recipe, steps_per_epoch=1000)
    part = tuple(keras.ops.convert_to_tensor(x) for x in batch(size, arguments.batch, classes))

    def steps(count: int) -> None:
        for _ in range(count):
            outcome = step([part])
        outcome.read()

    costs = profile(model, input_shape=(size, size, 3))
    return steps, {"params": costs.params, "macs": costs.macs}


def keras_applications(arguments: argparse.Namespace) -> Workload:
    """Build a step of Keras: `compile` and `train_on_batch`."""
    import keras

    from rezoo.models.profile import profile

    size, classes = arguments.image_size, arguments.classes
    keras.config.set_dtype_policy(arguments.precision)
    model = keras.applications.ResNet50(
        weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None
    )
    model.compile(
        keras.optimizers.SGD(RATE, MOMENTUM, weight_decay=DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images, labels = map(keras.ops.convert_to_tensor, batch(size, arguments.batch, classes))

    def steps(count: int) -> None:
        for _ in range(count):
            model.train_on_batch(images, labels)

    costs = profile(model, input_shape=(size, size, 3))
    return steps, {"params": costs.params, "macs": costs.macs}


def pytorch(arguments: argparse.Namespace, *, compiled: bool = False) -> Workload:
    """Build the same network and step in PyTorch, by its performance guide."""
    import torch
    from torch_resnet import ResNet  # beside this file
    from torch_wide_resnet8 import WideResNet8

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    wide = arguments.model == "wide_resnet8"
    model = WideResNet8(arguments.classes) if wide else ResNet(arguments.model, arguments.classes)
    model = model.to(device, memory_format=torch.channels_last).train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    spared = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    images, labels = batch(arguments.image_size, arguments.batch, arguments.classes)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)
    y = torch.from_numpy(labels).long().to(device)
    network = torch.compile(model) if compiled else model
    mixed = arguments.precision == "mixed_bfloat16"

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=mixed):
                logits = network(x)
            loss = torch.nn.functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
        loss.item()

    return steps, {"params": sum(p.numel() for p in model.parameters())}


def peak(arguments: argparse.Namespace) -> Workload:
    """Multiply large matrices; a step is one product."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    side = 8192 if device == "cuda" else 2048
    kind = torch.bfloat16 if arguments.precision == "mixed_bfloat16" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    out = torch.empty_like(one)

    def steps(count: int) -> None:
        for _ in range(count):
            torch.mm(one, other, out=out)
        out[0, 0].item()

    return steps, {"macs": side**3}


BUILDERS: dict[str, Callable[[argparse.Namespace], Workload]] = {
    "torch": pytorch,
    "torch-compile": lambda a: pytorch(a, compiled=True),
    "keras": keras_applications,
    "rezoo-keras-layers": lambda a: rezoo(a, plain=True),
    "rezoo": rezoo,
    "peak": peak,
}


def work(arguments: argparse.Namespace) -> None:
    """Run a workload in this process."""
    take_turns(lambda: BUILDERS[arguments.worker](arguments), arguments.threads)


def start(name: str, arguments: argparse.Namespace, model: str, kind: str) -> Worker:
    """Start the process of a workload."""
    command = [__file__, "--worker", name, "--model", model]
    command += ["--precision", kind, "--batch", str(arguments.batch)]
    command += ["--image-size", str(arguments.image_size)]
    command += ["--classes", str(arguments.classes), "--threads", str(arguments.threads)]
    return Worker(command, verbose=arguments.verbose)


def compare(arguments: argparse.Namespace, model: str, kind: str) -> list[dict[str, Any]]:
    """Measure all workloads with one network in one precision, and print the table."""
    names = [n for n in arguments.contenders if n != "keras" or model == "resnet50"]
    workers = {name: start(name, arguments, model, kind) for name in [*names, "peak"]}
    same = {workers[n].known["params"] for n in names if n != "keras"}
    if len(same) > 1:
        raise SystemExit(f"not the same network: {same} parameters")
    for _ in range(arguments.rounds):
        for worker in workers.values():
            worker.turn()
    peak = workers.pop("peak")
    top = 2 * peak.known["macs"] / peak.median(0)
    best = {
        i: min((w.median(i) for n, w in workers.items() if "torch" in n), default=0) for i in (0, 1)
    }
    macs = next((w.known["macs"] for n, w in workers.items() if "rezoo" in n), 0)
    print(f"\n{model}, {arguments.image_size} px, batch {arguments.batch}, {kind}; ", end="")
    print(f"peak {top / 1e9:.0f} GFLOP/s; torch's best is 1.00")
    print("| workload | images/s | ratio | per processor second | ratio | of the peak |")
    print("|---|---:|---:|---:|---:|---:|")
    rows = []
    for name, worker in workers.items():
        wall, busy = worker.median(0), worker.median(1)
        own = worker.known.get("macs", macs)
        row = {
            "model": model,
            "precision": kind,
            "contender": name,
            "images_per_s": arguments.batch / wall,
            "ratio": best[0] / wall,
            "images_per_processor_s": arguments.batch / busy,
            "processor_ratio": best[1] / busy,
            "of_peak": 3 * 2 * own * arguments.batch / wall / top,
            "turns": worker.turns,
        }
        rows.append(row)
        print(
            f"| {CONTENDERS[name]} | {row['images_per_s']:.1f} | {row['ratio']:.2f} "
            f"| {row['images_per_processor_s']:.1f} | {row['processor_ratio']:.2f} "
            f"| {row['of_peak']:.2f} |",
            flush=True,
        )
        worker.end()
    peak.end()
    return rows


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
    rows = [
        row
        for m in arguments.models
        for k in arguments.precisions
        for row in compare(arguments, m, k)
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"processor": processor(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
