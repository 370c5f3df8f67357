"""Compare rezoo's networks with timm's: `python examples/parity_table.py [NAME …]`.

Prints a row for each network that rezoo and timm have, or each that is named, the cheapest first,
at 224 x 224 and 225 x 193 pixels: the largest difference of a logit, relative to the largest logit.
Weights and statistics are random. `KERAS_BACKEND=jax` compares on JAX.

All networks take half an hour of two cores and 16 GB of memory. `--results FILE.jsonl` keeps a line
for each network, backend and size: Ctrl+C ends a run, the same command goes on, and the table has
what the file has.

A difference may be 1e-5, or three times torch's own rounding if that is more: float32 against
float64, in brackets in the table. Rounding shows in BiT, whose filters have mean 0, and in a random
network of 420 layers. The exit status is 1 if a difference is larger.

`--coverage` compares nothing: it prints how many of timm's residual networks rezoo builds, and how
many of their published weights it loads by name. Needs timm and torch.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo import create_model, registry
from rezoo.models import tensors
from rezoo.models.factory import start_from_zeros
from rezoo.sources import catalogue
from rezoo.specs import ModelSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from peers import ROUNDINGS, import_timm, logits_of, rounding, torch_twin

MODULES = ("resnet", "resnetv2", "resnest", "res2net", "sknet", "senet")
OTHER_MODULES = ("byobnet", "nfnet", "cspnet")  # some of their networks are residual networks
RELATIVE = 1e-5
SIZES = ("224x224", "225x193")


def residual_networks() -> dict[str, list[str]]:
    """Return the residual networks of each module of timm that has some."""
    timm = import_timm()
    whole = {module: timm.list_models(module=module) for module in MODULES}
    others = {module: timm.list_models("*resne*", module=module) for module in OTHER_MODULES}
    return whole | others


def coverage() -> dict[str, tuple[int, int, int, int]]:
    """Return, for each module: networks, those of rezoo, published weights, those of rezoo."""
    configs = import_timm().models._registry._model_default_cfgs
    built, known = set(registry.architectures.names()), set(catalogue.list_weights())
    found = {}
    for module, names in residual_networks().items():
        weights = [
            f"{name}.{tag}"
            for name in names
            for tag, config in configs[name].cfgs.items()
            if config.hf_hub_id or config.url
        ]
        here = (len(built.intersection(names)), len(weights), len(known.intersection(weights)))
        found[module] = (len(names), *here)
    return found


def print_coverage() -> None:
    """Print a row for each module of timm, and their sums."""
    rows = coverage()
    print("| module of timm | networks | built | published weights | loaded by name |")
    print("|---|---:|---:|---:|---:|")
    for module, counts in {**rows, "all": map(sum, zip(*rows.values(), strict=True))}.items():
        print(f"| {module} | " + " | ".join(map(str, counts)) + " |")


def cost(spec: ModelSpec) -> float:
    """Return the multiply-adds of one pixel, to compare networks for images of any size."""
    return (spec.macs or 0) / spec.image_size**2


def compare(name: str, sizes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each size, with its processor seconds; the first builds the networks."""
    began = time.process_time()
    twin = torch_twin(name)
    state = {key: value.numpy() for key, value in twin.state_dict().items()}
    model = start_from_zeros(lambda: create_model(name, num_classes=10))
    tensors.check(model, {key: value.shape for key, value in state.items()}, origin=name)
    tensors.assign(model, state.__getitem__)
    for size in sizes:
        shape = (1, *map(int, size.split("x")), 3)
        images = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        wanted, got = logits_of(twin, images), logits_of(model, images)
        row = {"architecture": name, "backend": keras.config.backend(), "size": size}
        row["difference"] = float(np.abs(wanted - got).max() / np.abs(wanted).max())
        if row["difference"] > RELATIVE:
            row["rounding"] = float(rounding(twin, images))
        yield row | {"seconds": round(time.process_time() - began, 1)}
        began = time.process_time()


def is_close(row: dict[str, Any]) -> bool:
    """Return whether the difference of a row is allowed."""
    return row["difference"] <= max(RELATIVE, ROUNDINGS * row.get("rounding", 0))


def cell(row: dict[str, Any] | None) -> str:
    """Return a difference; a large one with torch's rounding."""
    if row is None:
        return ""
    more = f" (torch {row['rounding']:.1e})" if "rounding" in row else ""
    return f"{row['difference']:.1e}{more}"


def print_table(rows: list[dict[str, Any]], names: list[str]) -> None:
    """Print a row for each network, and the largest difference on each backend."""
    cells = {(row["architecture"], row["backend"], row["size"]): row for row in rows}
    backends = sorted({row["backend"] for row in rows})
    columns = [(backend, size) for backend in backends for size in SIZES]
    print("| architecture |" + "".join(f" {backend}, {size} |" for backend, size in columns))
    print("|---|" + "---:|" * len(columns))
    for name in names:
        found = [cells.get((name, *column)) for column in columns]
        if any(found):
            print(f"| {name} | " + " | ".join(map(cell, found)) + " |")
    for backend in backends:
        print_summary([row for row in rows if row["backend"] == backend], len(names))
    for row in rows:
        if not is_close(row):
            print(f"too large: {json.dumps(row)}")


def print_summary(rows: list[dict[str, Any]], number: int) -> None:
    """Print how far the rows of one backend are, and the largest differences."""
    sizes = Counter(row["architecture"] for row in rows)
    done = sum(count == len(SIZES) for count in sizes.values())
    seconds = sum(row["seconds"] for row in rows)
    print(
        f"\n{rows[0]['backend']}: {done} of {number} networks, in {seconds:.0f} processor seconds"
    )
    rough = [row for row in rows if "rounding" in row and row["difference"] > RELATIVE]
    if plain := [row for row in rows if row not in rough]:
        worst = max(plain, key=lambda row: row["difference"])
        where = f"{worst['architecture']}, {worst['size']}"
        print(f"largest difference: {worst['difference']:.1e} ({where})")
    if rough:
        times = max(row["difference"] / row["rounding"] for row in rough)
        names = ", ".join(dict.fromkeys(row["architecture"] for row in rough))
        print(f"above {RELATIVE:g}: {names}; at most {times:.1f} times torch's own rounding")


def main() -> int:
    """Compare what is missing, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--results", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--coverage", action="store_true")
    arguments = parser.parse_args()
    if arguments.coverage:
        print_coverage()
        return 0
    every = [registry.architectures.get(name) for name in registry.architectures.names()]
    specs = [spec for spec in every if spec.in_timm or spec.name == "resnet50_v1"]
    names = arguments.names or [spec.name for spec in sorted(specs, key=cost)]
    file, rows = arguments.results, []
    if file and file.exists():
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    done = {(row["architecture"], row["backend"], row["size"]) for row in rows}
    try:
        for name in names:
            sizes = [s for s in SIZES if (name, keras.config.backend(), s) not in done]
            for row in compare(name, sizes) if sizes else ():
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
                if file:
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(f"{json.dumps(row)}\n")
            keras.utils.clear_session()
            gc.collect()
    except KeyboardInterrupt:
        print("ended; the same command goes on", file=sys.stderr)
    shown = [row for row in rows if row["architecture"] in names]
    print_table(shown, names)
    return not all(map(is_close, shown))


if __name__ == "__main__":
    sys.exit(main())
