"""Keras variables under PyTorch's names and in PyTorch's layout, and back.

| PyTorch                  | Keras                  | layout                          |
|--------------------------|------------------------|---------------------------------|
| convolution `.weight`    | kernel                 | OIHW, here HWIO                 |
| linear `.weight`         | kernel                 | (out, in), here (in, out)       |
| linear `.bias`           | bias                   | the same                        |
| BN `.weight`, `.bias`    | gamma, beta            | the same                        |
| BN `.running_mean`, `.running_var` | moving_mean, moving_variance | the same        |
| BN `.num_batches_tracked`| none                   | ignored; written as int64 zero  |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError

_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0)}
COUNTER = "num_batches_tracked"


def named_variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield `(tensor name, Keras variable)` for every weight of the model.

    Kinds of variables that PyTorch's layers here do not have keep Keras's name.
    """
    for variable in model.weights:
        *prefix, kind = variable.path.split("/")
        yield ".".join([*prefix, _NAMES.get(kind, kind)]), variable


def _permuted(value: Any, variable: Any, axes: Mapping[int, tuple[int, ...]]) -> Any:
    rank = len(variable.shape)
    if variable.path.endswith("/kernel") and rank in axes:
        return value.transpose(axes[rank])
    return value


def to_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Return every weight as a C-ordered NumPy array under its PyTorch name and layout."""
    tensors: dict[str, np.ndarray] = {}
    for name, variable in named_variables(model):
        value = _permuted(keras.ops.convert_to_numpy(variable), variable, _TO_TORCH)
        # Not np.ascontiguousarray: that makes 0-d arrays 1-d. safetensors writes
        # permuted values for arrays that are not in C order.
        tensors[name] = np.asarray(value, order="C")
        if name.endswith(".running_var"):
            counter = name.removesuffix("running_var") + COUNTER
            tensors[counter] = np.zeros((), np.int64)
    return tensors


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return PyTorch name → shape in PyTorch's layout, without the step counters."""
    return {
        name: _permuted(np.broadcast_to(np.float32(0), variable.shape), variable, _TO_TORCH).shape
        for name, variable in named_variables(model)
    }


def check(
    model: keras.Model, found: Mapping[str, tuple[int, ...]], *, origin: str, skip: str = ""
) -> None:
    """Compare names and shapes with the model's; all differences are named at once.

    Args:
        model: The network that is to be filled.
        found: Tensor name → shape, as the file has them.
        origin: The file, for messages.
        skip: Prefix of tensors that need not fit (`"fc."`: a new head).

    Raises:
        IncompatibleError: Tensors are missing, unexpected or of another shape.
    """
    wanted = {n: s for n, s in shapes(model).items() if not skip or not n.startswith(skip)}
    present = {
        n: s
        for n, s in found.items()
        if not n.endswith(COUNTER) and (not skip or not n.startswith(skip))
    }
    missing = sorted(wanted.keys() - present.keys())
    unexpected = sorted(present.keys() - wanted.keys())
    misshapen = [
        f"{n} is {present[n]}, not {wanted[n]}"
        for n in sorted(wanted.keys() & present.keys())
        if wanted[n] != present[n]
    ]
    problems = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if problems:
        raise IncompatibleError(
            f"{origin} does not fit {model.name}: {'; '.join(problems)}",
            hint="nothing was loaded. Check that config.json names the right architecture.",
        )


def assign(model: keras.Model, read: Callable[[str], np.ndarray], *, skip: str = "") -> None:
    """Copy tensors in PyTorch's layout into the model; names and shapes were checked before.

    Args:
        model: The network that is to be filled.
        read: Returns a tensor by its name; floats of another width are cast.
        skip: Prefix of tensors that are left as they are.
    """
    # The largest first: what is freed then has room for all that follow. In the order of the
    # layers, each finds the gaps too small, and the memory needed is a half more.
    ordered = sorted(named_variables(model), key=lambda pair: -math.prod(pair[1].shape))
    for name, variable in ordered:
        if skip and name.startswith(skip):
            continue
        value = read(name).astype(variable.dtype, copy=False)
        variable.assign(_permuted(value, variable, _TO_KERAS))


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of floats, bfloat16 included, which NumPy does not count."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _some(items: list[str], most: int = 10) -> str:
    shown = ", ".join(ascii(i)[1:-1] for i in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
