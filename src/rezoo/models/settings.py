"""The settings of Keras with which rezoo builds networks and computes, whatever the user's are.

`keras.json`, the environment, `keras.config` and a global dtype policy set the backend, the layout
of images and the dtype of new layers. Networks of rezoo are the same under all of them.

Loads without Keras.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from rezoo.errors import IncompatibleError, MissingExtraError, SpecError
from rezoo.utils import nvidia
from rezoo.utils.gpu_faults import missing_library
from rezoo.utils.paths import cache_dir

BACKENDS = ("tensorflow", "jax")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"  # no atomics, no choice by time
_CODE_BYTES = 2**32 - 1  # the most that the driver allows


@contextmanager
def keras_settings(precision: str = "float32") -> Iterator[None]:
    """Build layers, and compute, with channels last, float32 and a precision.

    Layers keep the settings that they were built with. The user's settings are restored at the end
    of the block.

    Args:
        precision: Dtype policy of the layers that are built inside the block, one of `PRECISIONS`.

    Raises:
        SpecError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise SpecError(f"precision: {precision!r}; allowed are {', '.join(PRECISIONS)}")
    from keras import config

    layout, floatx, policy = config.image_data_format(), config.floatx(), config.dtype_policy()
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")
    config.set_dtype_policy(precision)
    try:
        yield
    finally:
        config.set_image_data_format(layout)
        config.set_floatx(floatx)
        config.set_dtype_policy(policy)


def require_backend() -> None:
    """Check that rezoo supports the backend of Keras, which need not be imported yet.

    Raises:
        IncompatibleError: Keras is set to another backend than those of `BACKENDS`.
        MissingExtraError: Keras is set to JAX, which is not installed.
    """
    name = _backend()
    if name not in BACKENDS:
        raise IncompatibleError(
            f"Keras's backend is {name!r}; rezoo computes on {' or '.join(BACKENDS)}",
            hint="set KERAS_BACKEND to one of them; it takes precedence over keras.json.",
        )
    if name == "jax" and find_spec("jax") is None:
        raise MissingExtraError(
            "Keras's backend is 'jax', which is not installed",
            hint="pip install 'rezoo[jax]', or set KERAS_BACKEND=tensorflow.",
        )


def choose_jax() -> None:
    """Let Keras compute on JAX, whatever its settings are; it must not be imported yet.

    Raises:
        SpecError: Keras computes on another backend already.
        MissingExtraError: JAX is not installed.
    """
    if "keras" in sys.modules and (name := _backend()) != "jax":
        raise SpecError(
            f"several devices are for JAX; Keras computes on {name} already",
            hint="start Python with KERAS_BACKEND=jax.",
        )
    os.environ["KERAS_BACKEND"] = "jax"
    require_backend()


def choose_device(name: str) -> None:
    """Leave one kind of device, or one GPU, to the backend; it must not be imported yet.

    Args:
        name: `cpu`, `gpu`, or `gpu:N` for number N, from 0, of those that `CUDA_VISIBLE_DEVICES`
            leaves.

    Raises:
        SpecError: The backend is imported already.
        IncompatibleError: There is no such GPU, or the backend lacks the libraries for it.
    """
    if imported := {"tensorflow", "jax"} & sys.modules.keys():
        raise SpecError(f"device: {min(imported)} is imported already", hint="choose before that.")
    kind, _, number = name.partition(":")
    if kind == "cpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
        return
    gpus, backend = nvidia.visible_gpus(), _backend()
    if not gpus:
        raise IncompatibleError(
            f"--device {name}: there is no GPU here",
            hint="nvidia-smi must list it; without --device, the processor computes.",
        )
    if backend in BACKENDS and (remedy := missing_library(backend)):
        raise IncompatibleError(f"--device {name}: {backend} cannot use a GPU", hint=f"{remedy}.")
    if number and int(number) >= len(gpus):
        known = ", ".join(f"gpu:{place} {gpu.name}" for place, gpu in enumerate(gpus))
        raise IncompatibleError(f"--device {name}: there is no such GPU", hint=f"here: {known}.")
    if number:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(number)].uuid


def share_gpus() -> None:
    """Leave the GPUs to JAX if it is the backend; else let TensorFlow reserve memory as needed.

    Otherwise TensorFlow reserves all memory of every GPU, also where it only reads data. Devices
    that TensorFlow uses already stay as they are, and so does what the user has set. Does nothing
    to a library that is not imported. What JAX compiles for a GPU is kept for later processes.
    """
    # code for a new GPU is compiled once and kept: TensorFlow's exceeds the usual size of 1 GB
    os.environ.setdefault("CUDA_CACHE_MAXSIZE", str(_CODE_BYTES))
    # threads of their own start TensorFlow's kernels, so that the input pipeline delays none
    os.environ.setdefault("TF_GPU_THREAD_MODE", "gpu_private")
    if "jax" in sys.modules and _backend() == "jax":
        _keep_compiled()
    if "tensorflow" not in sys.modules:
        return
    from tensorflow import config

    with suppress(RuntimeError):  # TensorFlow uses its devices
        if _backend() == "jax":
            config.set_visible_devices([], "GPU")
            return
        gpus = config.list_physical_devices("GPU")
        growths = [config.experimental.get_memory_growth(gpu) for gpu in gpus]
        parts = [config.get_logical_device_configuration(gpu) for gpu in gpus]
        if not any(value is not None for value in (*growths, *parts)):  # TensorFlow refuses a mix
            for gpu in gpus:
                config.experimental.set_memory_growth(gpu, True)


def _keep_compiled() -> None:
    """Keep below rezoo's cache what JAX compiles for a GPU, so that later processes read it.

    It must come before JAX compiles anything. Nothing is kept for a CPU: other machines may share
    the folder and lack its instructions. What the user has set stays.
    """
    import jax

    if jax.config.jax_compilation_cache_dir or os.environ.get("JAX_PLATFORMS") == "cpu":
        return
    if not missing_library("jax") and nvidia.visible_gpus():
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "jax"))


def compute_deterministically() -> None:
    """Choose kernels of GPUs that give the same bits in every process; they are slower.

    CPUs do so anyway. On JAX, it must come before JAX is imported.

    Raises:
        SpecError: JAX is imported, with other flags.
    """
    if _backend() == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        if _DETERMINISTIC in flags.split():
            return
        if "jax" in sys.modules:
            raise SpecError(
                "deterministic: JAX is imported already, and has read its flags",
                hint=f"start Python with XLA_FLAGS={_DETERMINISTIC}.",
            )
        os.environ["XLA_FLAGS"] = f"{flags} {_DETERMINISTIC}".strip()
        return
    from tensorflow import config

    if config.list_physical_devices("GPU"):  # it would only slow down a CPU
        config.experimental.enable_op_determinism()


def _backend() -> str:
    """Return the name of the backend that Keras has, or will have when it is imported."""
    if "keras" in sys.modules:
        from keras import config

        return str(config.backend())
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    path = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"
    try:
        return str(json.loads(path.read_text("utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return BACKENDS[0]  # as Keras
