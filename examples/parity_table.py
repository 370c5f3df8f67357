"""Compare rezoo's networks with timm's: `python examples/parity_table.py [NAME …]`.

Prints a row for each residual network of timm 1.0.31, or each that is named, at 224 x 224 and
225 x 193 pixels: the largest difference of a logit, relative to the largest logit. Weights and
statistics are random. `KERAS_BACKEND=jax` compares on JAX. The exit status is 1 if a difference is
above 1e-5. All networks take hours on two cores. Needs timm and torch.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

import keras
import numpy as np

from rezoo import create_model, registry
from rezoo.models import tensors
from rezoo.models.factory import start_from_zeros
from rezoo.utils.names import natural_key
from rezoo.utils.timm_names import NOT_BUILT

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from peers import logits_of, torch_twin

RELATIVE = 1e-5
SIZES = ((224, 224), (225, 193))


def residual_networks() -> list[str]:
    """Return the names of timm's residual networks: those of rezoo, and those that it lacks."""
    built = [spec.name for _, spec in registry.architectures.describe() if spec and spec.in_timm]
    known = {*built, *NOT_BUILT}
    return sorted((n for n in known if "resne" in n or "senet" in n), key=natural_key)


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
    names = parser.parse_args().names or residual_networks()
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
