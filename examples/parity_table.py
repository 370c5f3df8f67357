"""Compare rezoo's networks with timm's: `python examples/parity_table.py [NAME …]`.

Prints a row for each residual network of timm 1.0.31, or each that is named, at 224 x 224 and
225 x 193 pixels: the largest difference of a logit, relative to the largest logit. Weights and
statistics are random. `KERAS_BACKEND=jax` compares on JAX. The exit status is 1 if a difference is
above 1e-5. All networks take hours on two cores. `--coverage` compares nothing: it prints how many
of these networks rezoo builds, and how many of their published weights it loads by name. Needs timm
and torch.
"""

from __future__ import annotations

import argparse
import gc
import sys
from itertools import chain
from pathlib import Path

import keras
import numpy as np

from rezoo import create_model, registry
from rezoo.models import tensors
from rezoo.models.factory import start_from_zeros
from rezoo.sources import catalogue
from rezoo.utils.names import natural_key
from rezoo.utils.timm_names import NOT_BUILT

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from peers import import_timm, logits_of, torch_twin

MODULES = ("resnet", "resnetv2", "resnest", "res2net", "sknet", "senet")
OTHER_MODULES = ("byobnet", "nfnet", "cspnet")  # some of their networks are residual networks
RELATIVE = 1e-5
SIZES = ((224, 224), (225, 193))


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


def differences(name: str, sizes: tuple[tuple[int, int], ...] = SIZES) -> list[float]:
    """Return the largest difference of a logit at each size, relative to the largest logit."""
    twin = torch_twin(name)
    state = {key: value.numpy() for key, value in twin.state_dict().items()}
    model = start_from_zeros(lambda: create_model(name, num_classes=10))
    tensors.check(model, {key: value.shape for key, value in state.items()}, origin=name)
    tensors.assign(model, state.__getitem__)
    found = []
    for size in sizes:
        images = np.random.default_rng(1).standard_normal((1, *size, 3), dtype=np.float32)
        wanted, got = logits_of(twin, images), logits_of(model, images)
        found.append(float(np.abs(wanted - got).max() / np.abs(wanted).max()))
    keras.utils.clear_session()
    gc.collect()
    return found


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--coverage", action="store_true")
    arguments = parser.parse_args()
    if arguments.coverage:
        print_coverage()
        return 0
    names = arguments.names or sorted(chain(*residual_networks().values()), key=natural_key)
    backend, built, worst = keras.config.backend(), 0, 0.0
    print("| architecture | backend |" + "".join(f" {h}x{w} |" for h, w in SIZES))
    print("|---|---|" + "---|" * len(SIZES))
    for name in names:
        if name in NOT_BUILT:
            print(f"| {name} | {NOT_BUILT[name]}: not built |" + " |" * len(SIZES))
            continue
        found = differences(name)
        built, worst = built + 1, max(worst, *found)
        print(f"| {name} | {backend} |" + "".join(f" {x:.1e} |" for x in found), flush=True)
    print(f"\n{built} of {len(names)} networks; the largest difference is {worst:.1e}")
    return worst > RELATIVE


if __name__ == "__main__":
    sys.exit(main())
