"""Why a backend does not compute on a GPU of this machine, or does so badly."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from rezoo.errors import DeviceWarning
from rezoo.utils import device, nvidia

_NEWEST = (12, 0)  # compute capability that TensorFlow 2.21's wheels are not built for
_BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
# what an extra installs, and the extra
_LIBRARIES = {
    "tensorflow": (("nvidia-cudnn-cu12",), "cuda"),
    "jax": (("jax-cuda12-plugin", "jax-cuda13-plugin"), "jax-cuda"),
}


def gpu_faults() -> list[str]:
    """Return a sentence for each; empty where there is no NVIDIA GPU."""
    return [*_unused(), *_too_new(), *_mixed_libraries()]


def warn_of_gpu_faults() -> None:
    """Warn of each by a `DeviceWarning`."""
    for text in gpu_faults():
        warnings.warn(DeviceWarning(text), stacklevel=2)


def missing_library(backend: str) -> str:
    """Return how to install what a backend needs for a GPU; empty if it is installed."""
    packages, extra = _LIBRARIES[backend]
    if any(map(_installed, packages)):
        return ""
    return f"pip install 'rezoo[{extra}]' adds {packages[0]}"


def _unused() -> Iterator[str]:
    if device.on_gpu() or os.environ.get("JAX_PLATFORMS") == "cpu":
        return
    gpus = nvidia.visible_gpus()
    if not gpus:
        return
    name = device.backend()
    cause = "TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's reason"
    if name == "jax":
        cause = "JAX_PLATFORMS=cuda shows JAX's reason"
    cause = missing_library(name) or cause
    yield (
        f"the driver lists {', '.join(g.name for g in gpus)}, and {_BACKENDS[name]} finds no GPU: "
        f"it computes on the CPU; {cause}, and CUDA_VISIBLE_DEVICES=-1 chooses the CPU"
    )


def _too_new() -> Iterator[str]:
    capability = device.compute_capability()
    if capability is None or capability < _NEWEST:
        return
    text = f"the GPU has compute capability {capability[0]}.{capability[1]}"
    if device.backend() == "tensorflow":
        yield (
            f"{text}, for which TensorFlow's wheels are not built: steps may fail or end the "
            "process; KERAS_BACKEND=jax computes there"
        )
    else:
        yield f"{text}: JAX may take minutes to compile the first step"


def _mixed_libraries() -> Iterator[str]:
    if _installed("nvidia-cudnn-cu12") and _installed("nvidia-cudnn-cu13"):
        yield (
            "the libraries of CUDA 12 and 13 are both installed, and some overwrite the other's "
            "files: TensorFlow needs those of CUDA 12; install one kind in a new environment"
        )


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
