"""Images per second of exports: rezoo's formats and PyTorch's own exports of the same weights.

    python export_speed.py WEIGHTS [--v1] [--batches 1 16] [--quantize none int8]
        [--calibrate DATASET] [--count 128] [--rounds 9] [--json FILE]

WEIGHTS is a folder of a ResNet-50 (v1 with `--v1`). PyTorch's side is `torch.onnx.export` run by
onnxruntime and by OpenVINO, and `torch.compile` with the weights frozen; in int8 the ONNX file is
quantized by onnxruntime with the same images. All workloads alternate in one run. The table gives
the medians of the times, and of the ratios within a round, since the speed of a shared machine
changes between rounds. OpenVINO computes in float32 on both sides. Needs torch, onnx, onnxruntime,
openvino and ai-edge-litert.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from turns import Actions, Worker, take_turns  # beside this file

OURS = ("saved_model", "onnx", "openvino", "litert", "stablehlo")
SIZE = 224


def open_ours(arguments: argparse.Namespace) -> Callable[[np.ndarray], Any]:
    """Open one of rezoo's exports."""
    from rezoo.exporters.runner import open_exported

    return open_exported(arguments.path, threads=arguments.threads)


def open_onnxruntime(arguments: argparse.Namespace) -> Callable[[np.ndarray], Any]:
    """Open PyTorch's ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(str(arguments.path), options)
    return lambda images: session.run(None, {"image": images})


def open_openvino(arguments: argparse.Namespace) -> Callable[[np.ndarray], Any]:
    """Open PyTorch's ONNX file in OpenVINO."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(str(arguments.path), "CPU", settings)
    request = model.create_infer_request()
    return lambda images: request.infer([images])


def open_torch(arguments: argparse.Namespace, *, compiled: bool) -> Callable[[np.ndarray], Any]:
    """Run the network in PyTorch itself."""
    import torch

    torch.set_num_threads(arguments.threads)
    model = network(arguments.path, v1=arguments.v1).to(memory_format=torch.channels_last)
    if compiled:
        import torch._inductor.config as inductor

        inductor.freezing = True
        model = torch.compile(model)

    def run(images: np.ndarray) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images).contiguous(memory_format=torch.channels_last))

    return run


def network(weights: Path, *, v1: bool) -> Any:
    """Return PyTorch's network with a folder's weights."""
    from safetensors.torch import load_file
    from torch_resnet import ResNet  # beside this file

    tensors = load_file(weights / "model.safetensors")
    model = ResNet("resnet50", len(tensors["fc.bias"]), v1=v1)
    state = model.state_dict()
    model.load_state_dict(state | {k: v for k, v in tensors.items() if k in state})
    return model.eval()


OPENERS: dict[str, tuple[str, Callable[..., Callable[[np.ndarray], Any]]]] = {
    "torch-onnx": ("PyTorch's ONNX, onnxruntime", open_onnxruntime),
    "torch-openvino": ("PyTorch's ONNX, OpenVINO", open_openvino),
    "torch-compile": ("torch.compile, frozen", lambda a: open_torch(a, compiled=True)),
    "torch": ("PyTorch, eager", lambda a: open_torch(a, compiled=False)),
    **{name: (f"rezoo, {name}", open_ours) for name in OURS},
}


def work(arguments: argparse.Namespace) -> None:
    """Run one workload; the input of PyTorch's is channels first."""

    def build() -> tuple[Actions, dict[str, Any]]:
        run = OPENERS[arguments.worker][1](arguments)
        shape = (arguments.batch, SIZE, SIZE, 3)
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        if arguments.worker not in OURS:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

        def steps(count: int) -> None:
            for _ in range(count):
                run(images)

        return {"call": steps}, {}

    take_turns(build, arguments.threads)


def write_all(arguments: argparse.Namespace, quantize: str, folder: Path) -> dict[str, Path]:
    """Export in all formats; return the file of each workload."""
    from rezoo.exporters.export import calibrated, read_bundle
    from rezoo.exporters.formats import FORMATS
    from rezoo.exporters.samples import calibration_samples
    from rezoo.sources.references import resolve_weights

    bundle = read_bundle(resolve_weights(str(arguments.weights)))
    bundle = dataclasses.replace(bundle, quantize=quantize)
    images = None
    if quantize == "int8":
        images, _ = calibration_samples(
            arguments.calibrate, bundle.preprocessing, count=arguments.count
        )
    paths = {}
    for kind in (FORMATS[name] for name in OURS):
        if quantize in kind.quantizations:
            paths[kind.name] = folder / kind.name
            paths[kind.name].mkdir()
            ready = bundle if images is None else calibrated(kind, bundle, images)
            import_module(kind.writer).write(ready, paths[kind.name])
    onnx = write_onnx(arguments, folder / "torch.onnx")
    if images is not None:
        onnx = quantize_onnx(onnx, images)
        return {"torch-onnx": onnx, "torch-openvino": onnx, **paths}
    own = {"torch-compile": arguments.weights, "torch": arguments.weights}
    return {"torch-onnx": onnx, "torch-openvino": onnx, **own, **paths}


def write_onnx(arguments: argparse.Namespace, path: Path) -> Path:
    """Export PyTorch's network to ONNX with PyTorch."""
    import torch

    model = network(arguments.weights, v1=arguments.v1)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    axes = {"image": {0: "N"}, "logits": {0: "N"}}
    example = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(model, (example,), str(path), dynamo=False, dynamic_axes=axes, **names)
    return path


def quantize_onnx(path: Path, images: np.ndarray) -> Path:
    """Quantize as onnxruntime's guide recommends for VNNI: preprocessed, U8S8, QDQ."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(np.array_split(images.transpose(0, 3, 1, 2), len(images) // 16 + 1))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"image": np.ascontiguousarray(batch)}

    target = path.with_name("torch-int8.onnx")
    prepared = path.with_name("torch-prepared.onnx")
    quant_pre_process(path, prepared)
    unsigned = quantization.QuantType.QUInt8
    quantization.quantize_static(
        prepared, target, Images(), per_channel=True, activation_type=unsigned
    )
    return target


def compare(arguments: argparse.Namespace, quantize: str, folder: Path) -> list[dict[str, Any]]:
    """Print one table for each batch size."""
    paths = write_all(arguments, quantize, folder)
    rows = []
    for batch in arguments.batches:
        workers = {}
        for name, path in paths.items():
            command = [__file__, str(arguments.weights), "--worker", name, "--path", str(path)]
            command += ["--batch", str(batch), "--threads", str(arguments.threads)]
            command += ["--v1"] if arguments.v1 else []
            workers[name] = Worker(command, verbose=arguments.verbose)
            workers[name].wait()
        for _ in range(arguments.rounds):
            for worker in workers.values():
                worker.turn()
        rows += report(workers, quantize, batch)
        for worker in workers.values():
            worker.end()
    return rows


def report(workers: dict[str, Worker], quantize: str, batch: int) -> list[dict[str, Any]]:
    """Print a table; return its rows."""
    rows = []
    best = min((w for n, w in workers.items() if n not in OURS), key=lambda w: w.median("call", 0))
    print(f"\n{quantize}, batch {batch}; the best of PyTorch's is 1.00")
    print("| workload | ms | images/s | ratio | in the rounds |\n|---|---:|---:|---:|---:|")
    for name, worker in workers.items():
        wall, turns = worker.median("call", 0), worker.turns["call"]
        ratios = [a[0] / b[0] for a, b in zip(best.turns["call"], turns, strict=True)]
        ratio = statistics.median(ratios)
        row = {"workload": name, "quantize": quantize, "batch": batch, "s": wall}
        rows.append({**row, "ratio": ratio, "turns": turns})
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        figures = f"{1e3 * wall:.1f} | {batch / wall:.1f} | {ratio:.2f} | {spread}"
        print(f"| {OPENERS[name][0]} | {figures} |", flush=True)
    return rows


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--v1", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--quantize", nargs="+", default=["none"], choices=["none", "int8"])
    parser.add_argument("--calibrate", help="dataset for int8")
    parser.add_argument("--count", type=int, default=128, help="images to calibrate with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="and cores")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true", help="show the output of the workloads")
    parser.add_argument("--worker", choices=OPENERS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    rows = []
    for quantize in arguments.quantize:
        with tempfile.TemporaryDirectory() as folder:
            rows += compare(arguments, quantize, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
