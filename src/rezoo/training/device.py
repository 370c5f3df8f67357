"""What is best on the device that computes: one table, filled by measurement.

| | CPU, TensorFlow | CPU, JAX | GPU, TensorFlow | GPU, JAX |
|---|---|---|---|---|
| batch normalization | fused kernel | Keras's | fused kernel | Keras's |
| gradients of convolutions, ReLUs | `rezoo.models.cpu_kernels` | Keras's | Keras's | Keras's |
| XLA for the step | off | on | off, not measured yet | on |
| layout | channels last | channels last | channels last | channels last |
| steps in one call | 1 | 1 | 1 | 1 |
| precision `auto` | bfloat16 where it is fast | as TensorFlow | 16 bits | 16 bits |

docs/concepts/speed.md has the figures. On a CPU, XLA for the whole step is 0.6 times as fast, as
its convolutions are slower; more steps in one call gain nothing. On a GPU, bfloat16 needs compute
capability 8.0 (Ampere), older ones take float16 with a loss scale.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import keras

STEP_WITH_XLA = False  # of TensorFlow; JAX always compiles with it


def precision(wanted: str = "auto") -> str:
    """Return the precision to train in: the wanted one, or for `auto` this device's."""
    if wanted != "auto":
        return wanted
    capability = _compute_capability()
    if capability is not None:
        return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"
    return "mixed_bfloat16" if cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether this processor is faster in bfloat16; False where the system does not tell."""
    with suppress(OSError):
        return fast_in_bfloat16(Path("/proc/cpuinfo").read_text("utf-8", "replace"))
    return False


def fast_in_bfloat16(description: str) -> bool:
    """Say it of a processor as Linux describes it.

    Intel's AMX and AMD's AVX-512 are. Intel's AVX-512 without AMX is not: ResNet-50's convolutions
    take 1.6 times as long as in float32 there. Other processors were not measured.
    """
    words = set(description.split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def _compute_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU; None where the CPU computes."""
    if keras.config.backend() == "jax":
        import jax

        first = jax.devices()[0]
        if first.platform != "gpu":
            return None
        major, _, minor = str(getattr(first, "compute_capability", "8.0")).partition(".")
        return int(major), int(minor or 0)
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return tuple(details.get("compute_capability", (8, 0)))
