"""How far rezoo's optimizers and schedules are from torch's and timm's: a table.

    python compare_optimizers.py

Each pair of optimizer and schedule takes 50 steps from the same weights with the same gradients:
8 of warm-up, then the schedule. Differences are the largest of any step and element: of the
weights relative to how far the tensor's weights have gone at most, of the learning rate relative
to the rate. rezoo computes in float32; torch does in float32, and in the second table in float64,
whose differences are rezoo's rounding alone. Needs torch and timm.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from rezoo.training.adaptive import LAMB, AdamW
from rezoo.training.rule import Rule
from rezoo.training.schedules import Schedule
from rezoo.training.sgd import LARS, SGD

STEPS, WARMUP = 50, 8
SHAPES = [(3, 3, 4, 8), (16, 10), (10,), (1,)]  # the last two do not decay
DECAY = 0.02
MILESTONES = (20, 35)
POWER = 2.0
SCHEDULES = ("cosine", "linear", "poly", "step", "constant")
PEAKS = {"sgd": 0.1, "nesterov": 0.1, "sgdw": 0.1, "adamw": 0.01, "lamb": 0.02, "lars": 5.0}


def ours(optimizer: str, schedule: Schedule) -> Rule:
    """Return rezoo's optimizer; torch's and timm's constants are its own."""
    shared: dict[str, Any] = {"weight_decay": DECAY}
    builders: dict[str, Callable[[], Rule]] = {
        "sgd": lambda: SGD(schedule, 0.9, **shared),
        "nesterov": lambda: SGD(schedule, 0.9, nesterov=True, **shared),
        "sgdw": lambda: SGD(schedule, 0.9, peak_learning_rate=schedule.peak, **shared),
        "adamw": lambda: AdamW(schedule, **shared),
        "lamb": lambda: LAMB(schedule, **shared),
        "lars": lambda: LARS(schedule, 0.9, trust_coefficient=0.01, **shared),
    }
    return builders[optimizer]()


def theirs(optimizer: str, parameters: list[Any], peak: float) -> Any:
    """Return torch's or timm's optimizer, with decay for all but vectors."""
    import torch
    from timm.optim import Lamb, Lars

    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    builders: dict[str, Callable[[], Any]] = {
        "sgd": lambda: torch.optim.SGD(groups, peak, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(groups, peak, momentum=0.9, nesterov=True),
        "sgdw": lambda: torch.optim.SGD([{**g, "weight_decay": 0.0} for g in groups], peak, 0.9),
        "adamw": lambda: torch.optim.AdamW(groups, peak),
        "lamb": lambda: Lamb(groups, peak, max_grad_norm=None),
        "lars": lambda: Lars(groups, peak, momentum=0.9, trust_coeff=0.01),
    }
    return builders[optimizer]()


def their_rates(kind: str, peak: float, floor: float) -> list[float]:
    """Return the learning rate at each step by torch's schedulers, after a warm-up from 0."""
    import torch
    from torch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], peak)
    rest = STEPS - WARMUP
    builders: dict[str, Callable[[], Any]] = {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, rest, floor),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, 1.0, floor / peak, rest),
        "poly": lambda: lr_scheduler.PolynomialLR(optimizer, rest, POWER),
        "step": lambda: lr_scheduler.MultiStepLR(optimizer, [m - WARMUP for m in MILESTONES]),
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
    }
    scheduler = builders[kind]()
    rates = [peak * step / WARMUP for step in range(WARMUP)]
    for _ in range(rest):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


def differences(optimizer: str, kind: str, dtype: str) -> tuple[float, float]:
    """Return the largest relative differences of weights and of learning rates.

    `dtype` is torch's: float32 or float64.
    """
    import torch

    peak = PEAKS[optimizer]
    floor = 0.0 if kind == "poly" else 0.05 * peak  # torch's has no floor
    schedule = Schedule(
        kind, peak, STEPS, warmup_steps=WARMUP, floor=floor, power=POWER, milestones=MILESTONES
    )
    random = np.random.default_rng(0)
    start = [random.normal(0, 0.5, shape).astype("float32") for shape in SHAPES]
    variables = [keras.Variable(w) for w in start]
    rule = ours(optimizer, schedule)
    rule.build(variables)
    parameters = [torch.nn.Parameter(torch.from_numpy(w.astype(dtype))) for w in start]
    reference = theirs(optimizer, parameters, peak)
    gone, apart, off = np.zeros(len(start)), np.zeros(len(start)), 0.0
    for step, rate in enumerate(their_rates(kind, peak, floor)):
        our_rate = float(keras.ops.convert_to_numpy(schedule(step)))
        off = max(off, abs(our_rate - rate) / rate if rate else abs(our_rate))
        gradients = [random.normal(0, 1, shape).astype("float32") for shape in SHAPES]
        rule.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        torch_step(optimizer, reference, parameters, gradients, rate, peak)
        for n, (variable, parameter) in enumerate(zip(variables, parameters, strict=True)):
            wanted = parameter.detach().numpy()
            gone[n] = max(gone[n], np.abs(wanted - start[n]).max())
            apart[n] = max(apart[n], np.abs(keras.ops.convert_to_numpy(variable) - wanted).max())
    return float((apart / gone).max()), off


def torch_step(
    optimizer: str,
    reference: Any,
    parameters: list[Any],
    gradients: list[np.ndarray],
    rate: float,
    peak: float,
) -> None:
    """Do one step of torch's optimizer; of SGDW the decay comes first, as in Composer."""
    import torch

    for group in reference.param_groups:
        group["lr"] = rate
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.from_numpy(gradient).to(parameter.dtype)
        if optimizer == "sgdw" and parameter.ndim > 1:
            parameter.data.mul_(1 - rate / peak * DECAY)
    reference.step()


def main() -> None:
    """Print the tables."""
    print(f"largest relative difference in {STEPS} steps, weights / learning rate")
    for dtype in ("float32", "float64"):
        print(f"\n{dtype:<10}" + "".join(f"{kind:>19}" for kind in SCHEDULES))
        for optimizer in PEAKS:
            cells = [differences(optimizer, kind, dtype) for kind in SCHEDULES]
            print(f"{optimizer:<10}" + "".join(f"{w:>10.1e}{r:>9.1e}" for w, r in cells))


def without_torchvision() -> None:
    """Let timm's optimizers be imported where torchvision is not installed: they do not use it."""

    class Anything(type):
        def __getattr__(cls, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return name

    class Stub(types.ModuleType):
        __path__ = ()

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything(name, (), {})

    parts = ("", ".transforms", ".transforms.functional", ".datasets", ".ops", ".ops.misc")
    for part in (*parts, ".models", ".models.feature_extraction"):
        name = f"torchvision{part}"
        sys.modules[name] = module = Stub(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


if __name__ == "__main__":
    try:
        import torch  # noqa: F401

        if importlib.util.find_spec("torchvision") is None:
            without_torchvision()
        import timm  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error}: this comparison needs torch and timm (pip install torch timm)")
    main()
