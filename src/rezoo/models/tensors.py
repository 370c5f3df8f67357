"""Conversion between Keras variables and tensors with PyTorch's names and layout.

| PyTorch                  | Keras                  | layout                          |
|--------------------------|------------------------|---------------------------------|
| convolution `.weight`    | kernel                 | OIHW, here HWIO                 |
| the same along one axis  | kernel                 | OIW, here WIO                   |
| linear `.weight`         | kernel                 | (out, in), here (in, out)       |
| convolution as a head    | kernel_1x1             | (out, in, 1, 1), here (in, out) |
| linear `.bias`           | bias                   | the same                        |
| BN `.weight`, `.bias`    | gamma, beta            | the same                        |
| BN `.running_mean`, `.running_var` | moving_mean, moving_variance | the same        |
| layer scale `.gamma`     | layer_scale            | the same                        |
| BN `.num_batches_tracked`| none                   | ignored; written as int64 zero  |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError
from rezoo.models.settings import require_backend
from rezoo.utils.names import listed

require_backend()  # whatever fills or writes a network imports this module, before any work

_NAMES = {
    "kernel": "weight",
    "kernel_1x1": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "layer_scale": "gamma",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_TO_TORCH = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0)}
_TO_KERAS = {4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0)}
COUNTER = "num_batches_tracked"


def named_variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield `(tensor name, Keras variable)` for every weight of the model.

    Variables without a counterpart in the table above keep Keras's name.
    """
    for variable in model.weights:
        *prefix, kind = variable.path.split("/")
        yield ".".join([*prefix, _NAMES.get(kind, kind)]), variable


def _in_torch(value: Any, variable: Any) -> Any:
    """Return an array in the layout of PyTorch."""
    if variable.path.endswith("/kernel_1x1"):
        return value.T[:, :, None, None]
    if variable.path.endswith("/kernel") and value.ndim in _TO_TORCH:
        return value.transpose(_TO_TORCH[value.ndim])
    return value


def _in_keras(value: Any, variable: Any) -> Any:
    """Return an array in the layout of a variable."""
    if variable.path.endswith("/kernel_1x1"):
        return value[:, :, 0, 0].T
    if variable.path.endswith("/kernel") and value.ndim in _TO_KERAS:
        return value.transpose(_TO_KERAS[value.ndim])
    return value


def to_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Return PyTorch name → weight as a C-ordered NumPy array in PyTorch's layout."""
    tensors: dict[str, np.ndarray] = {}
    for name, variable in named_variables(model):
        value = _in_torch(keras.ops.convert_to_numpy(variable), variable)
        # safetensors writes arrays that are not C-ordered in the wrong order.
        # np.ascontiguousarray would turn 0-d arrays into 1-d ones.
        tensors[name] = np.asarray(value, order="C")
        if name.endswith(".running_var"):
            counter = name.removesuffix("running_var") + COUNTER
            tensors[counter] = np.zeros((), np.int64)
    return tensors


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Return PyTorch name → shape in PyTorch's layout, without the step counters."""
    return {
        name: _in_torch(np.broadcast_to(np.float32(0), variable.shape), variable).shape
        for name, variable in named_variables(model)
    }


def check(
    model: keras.Model,
    found: Mapping[str, tuple[int, ...]],
    *,
    origin: str,
    skip: tuple[str, ...] = (),
) -> None:
    """Check that tensors have the names and shapes of the model's.

    Args:
        model: The network to load the tensors into.
        found: Tensor name → shape in the file.
        origin: Name of the file, for messages.
        skip: Prefixes of tensors that are not checked: `naming.HEAD_PREFIXES` for a new head.

    Raises:
        IncompatibleError: Tensors are missing, unexpected or of another shape. The message has all
            differences.
    """
    wanted = {n: s for n, s in shapes(model).items() if not n.startswith(skip)}
    present = {n: s for n, s in found.items() if not n.endswith(COUNTER) and not n.startswith(skip)}
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


def assign(
    model: keras.Model, read: Callable[[str], np.ndarray], *, skip: tuple[str, ...] = ()
) -> None:
    """Copy tensors in PyTorch's layout into the model; `check` has accepted them.

    Args:
        model: The network to load the tensors into.
        read: Returns a tensor by its name; floats of another width are cast.
        skip: Prefixes of tensors that are not copied.
    """
    # The largest first: each freed buffer has room for all that follow. In the order of the
    # layers, most buffers are too small to reuse, and peak memory is 1.5 times as high.
    ordered = sorted(named_variables(model), key=lambda pair: -math.prod(pair[1].shape))
    for name, variable in ordered:
        if name.startswith(skip):
            continue
        value = read(name).astype(variable.dtype, copy=False)
        variable.assign(_in_keras(value, variable))


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is floating-point, including bfloat16, which NumPy excludes."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _some(items: list[str], most: int = 10) -> str:
    return listed([ascii(item)[1:-1] for item in items], most)
