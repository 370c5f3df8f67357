"""How much memory a training run takes, predicted; how much there is; which batch fits.

What a step keeps until its gradients are computed grows with the batch: the outputs of convolutions
(batch normalization needs them), of activations and pooling (the next convolution needs them), and
padded copies. All else grows with the network. The constants were measured on a CPU with
TensorFlow 2.21 (ResNet-18 and 50, 8 to 32 images, float32 and bfloat16: within 8 %); on a GPU the
rule is the same and not measured yet.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras

from rezoo.models.profile import Profile
from rezoo.recipes.recipe import Recipe

_KEPT = ("Conv2D", "ReLU", "Activation", "MaxPooling2D", "AveragePooling2D", "ZeroPadding2D")
_KEPT_FACTOR = 1.12  # gradients of the largest layers stand beside what is kept
_WORK_FACTOR = 4.5  # of the parameters: gradients, reordered filters, updates
_WORK_BYTES = 230_000_000  # threads, compiled graphs, input batches
_SLOTS = {"sgd": 1, "lars": 1, "adamw": 2, "lamb": 2}
FREE_PART = 0.8  # of the free memory that an automatic batch may take


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a training run takes on its device, beside what the process has already.

    Attributes:
        activations: What a step keeps of one micro-batch.
        optimizer: State of the optimizer, and the average of the weights.
        work: Gradients, buffers, compiled graphs.
    """

    activations: int
    optimizer: int
    work: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.optimizer + self.work


def predict(profile: Profile, recipe: Recipe) -> Memory:
    """Predict what training takes; the weights themselves are there already.

    Args:
        profile: Of the network at the largest size of training images.
        recipe: Batch, precision, optimizer.
    """
    element = 2 if recipe.precision.startswith("mixed") else 4
    kept = sum(math.prod(x.output_shape) for x in profile.layers if x.kind in _KEPT)
    kept += math.prod(profile.input_shape)
    parameters = 4 * profile.params
    slots = _SLOTS[recipe.optimizer] + bool(recipe.ema_decay) + (recipe.accumulation > 1)
    return Memory(
        activations=round(_KEPT_FACTOR * kept * element * recipe.micro_batch_size),
        optimizer=slots * parameters,
        work=round(_WORK_FACTOR * parameters) + _WORK_BYTES,
    )


def largest_part(profile: Profile, recipe: Recipe, free: int) -> int:
    """Return the smallest `accumulation` with which a step fits into free memory.

    The batch of a step, and therefore what is learned, stays as it is; only its parts get smaller.
    Where not even one image fits, each part is one image (two, where neighbours are mixed).

    Args:
        profile: As for `predict`.
        recipe: Its `accumulation` is not looked at.
        free: Bytes.
    """
    least = 2 if recipe.mixes else 1
    parts = [
        n
        for n in range(1, recipe.batch_size // least + 1)
        if recipe.batch_size % n == 0 and (n == 1 or recipe.batch_size // n % least == 0)
    ]
    for n in parts:
        if predict(profile, dataclasses.replace(recipe, accumulation=n)).total <= FREE_PART * free:
            return n
    return parts[-1]


def free_bytes() -> int | None:
    """Return the memory that is free on the device that computes; None where nobody tells."""
    return _free_on_gpu() if _on_gpu() else _free_on_host()


def peak_bytes() -> int | None:
    """Return the most memory that this process has taken so far, on the device that computes."""
    if not _on_gpu():
        with suppress(ImportError):  # on Windows
            import resource

            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return None
    if keras.config.backend() == "jax":
        import jax

        found = jax.devices()[0].memory_stats() or {}
        return found.get("peak_bytes_in_use")
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def used_bytes() -> int:
    """Return what this process has in the machine's memory now; 0 where nobody tells.

    What it has freed is given back first, where the C library can: a step would use it again.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _on_gpu() -> bool:
    if keras.config.backend() == "jax":
        import jax

        return bool(jax.devices()[0].platform != "cpu")
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _free_on_host() -> int | None:
    limits = [_first_number(Path("/proc/meminfo"), "MemAvailable:", 1024), _free_in_group()]
    return min((x for x in limits if x is not None), default=None)


def _first_number(path: Path, key: str, unit: int) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * unit
    return None


def _free_in_group() -> int | None:
    """Return what a container's limit leaves (cgroup version 2)."""
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text("ascii"))  # "max" is no number: no limit
        used = int((folder / "memory.current").read_text("ascii"))
        cached = _first_number(folder / "memory.stat", "inactive_file", 1) or 0
        return max(limit - used + cached, 0)
    return None


def _free_on_gpu() -> int | None:
    """Ask the driver; JAX and TensorFlow take memory in advance and would call it used."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        totals: Sequence[str] = told.stdout.split()
        return int(totals[0]) * 2**20
    return None
