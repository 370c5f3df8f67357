"""The machine: its processors, GPUs, memory and disk, and which precision is fastest there.

| | CPU, TensorFlow | CPU, JAX | GPU, TensorFlow | GPU, JAX |
|---|---|---|---|---|
| batch normalization | fused kernel | Keras's | fused kernel | Keras's |
| gradients of convolutions, ReLUs | `rezoo.models.cpu_kernels` | Keras's | Keras's | Keras's |
| XLA for the step | off | on | off, not measured yet | on |
| layout | channels last | channels last | channels last | channels last |
| steps in one call | 1 | 1 | 1 | 1 |
| precision `auto` | bfloat16 if it is fast | as TensorFlow | by capability | by capability |

docs/concepts/speed.md has the measurements. On a CPU, XLA for the whole step is 0.6 times as fast,
because its convolutions are slower. On a GPU, bfloat16 needs compute capability 8.0 (Ampere).
GPUs from 7.0 (Volta) on use float16 with loss scaling, and all others float32.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

from rezoo.utils import nvidia

STEP_WITH_XLA = False  # on TensorFlow; JAX always compiles with XLA


def backend() -> str:
    """Return the name of the Keras backend."""
    import keras

    return str(keras.config.backend())


def on_gpu() -> bool:
    """Return whether the Keras backend computes on a GPU."""
    if backend() == "jax":
        import jax

        return bool(jax.devices()[0].platform == "gpu")
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def names() -> list[str]:
    """Return the name of each device that the Keras backend computes on."""
    if backend() == "jax":
        import jax

        return [str(d.device_kind) for d in jax.devices()]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    found = [tf.config.experimental.get_device_details(g).get("device_name", g.name) for g in gpus]
    return found or [cpu_name()]


def cpu_name() -> str:
    """Return the processor's name, or its architecture if the platform does not report a name."""
    for line in _cpu_description().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine()


def usable_threads() -> int:
    """Return the number of CPU threads that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def precision(wanted: str = "auto") -> str:
    """Return the precision to train in: `wanted`, or for `auto` the fastest on this device."""
    if wanted != "auto":
        return wanted
    if on_gpu():
        return fastest_on_gpu(compute_capability())
    return "mixed_bfloat16" if cpu_has_bfloat16() else "float32"


def fastest_on_gpu(capability: tuple[int, int] | None) -> str:
    """Return the fastest precision on a GPU of a compute capability; None if it has none.

    Tensor cores compute bfloat16 from 8.0 and float16 from 7.0. Other GPUs were not measured.
    """
    if capability is None or capability < (7, 0):
        return "float32"
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"


def cpu_has_bfloat16() -> bool:
    """Return whether bfloat16 is fast on this CPU; False if the platform does not report it."""
    return fast_in_bfloat16(_cpu_description())


def fast_in_bfloat16(description: str) -> bool:
    """Return whether bfloat16 is fast on a CPU, from its text in `/proc/cpuinfo`.

    It is with Intel's AMX and with AMD's AVX-512. With Intel's AVX-512 alone it is not: the
    convolutions of ResNet-50 take 1.6 times as long as in float32. Other CPUs were not measured.
    """
    words = set(description.split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def compute_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU; None without one from NVIDIA."""
    if not on_gpu():
        return None
    if backend() == "jax":
        import jax

        return parse_capability(str(getattr(jax.devices()[0], "compute_capability", "")))
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    found = details.get("compute_capability")
    return (int(found[0]), int(found[1])) if found else None


def parse_capability(text: str) -> tuple[int, int] | None:
    """Return a compute capability from its text, `"9.0"`; None for AMD's `"gfx90a"` and others."""
    major, _, minor = text.partition(".")
    if not major.isdecimal() or not minor.isdecimal():
        return None
    return int(major), int(minor)


def free_bytes() -> int | None:
    """Return the memory that a computation of this process may still use on its device.

    On a CPU it is `free_host_bytes`. On a GPU it is what other processes and this one leave; what
    the backend has reserved and not used is free. None if it cannot be determined.
    """
    if not on_gpu():
        return free_host_bytes()
    used = used_bytes() or 0
    if backend() == "jax" and (limit := _of_gpu("bytes_limit", "")) is not None:
        return max(int(limit) - used, 0)
    return free_gpu_bytes(names()[0], used=used)


def free_gpu_bytes(name: str, *, used: int) -> int | None:
    """Return the free memory of the GPU that this process computes on, as the driver reports it.

    Args:
        name: Of the GPU, as the backend reports it.
        used: Bytes in use by this process. If the driver lists how much the process has reserved,
            the rest of it counts as free.

    Returns:
        Bytes; None if the driver does not report it.
    """
    gpu = nvidia.gpu_named(name)
    if gpu is None or gpu.free_bytes is None:
        return None
    return gpu.free_bytes + max(nvidia.reserved_bytes(gpu) - used, 0)


def free_host_bytes() -> int:
    """Return the bytes of main memory that this process may still use.

    This is the smaller of the machine's free memory and what a container's limit leaves.
    """
    import psutil

    available = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")  # version 2; "max" is not a number and means no limit
    with suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        cached = _number(group / "memory.stat", "inactive_file") or 0
        available = min(available, limit - used + cached)
    return max(available, 0)


def used_bytes() -> int | None:
    """Return the memory that this process uses now on the device that computes.

    None if it cannot be determined on this platform.
    """
    return _of_gpu("bytes_in_use", "current") if on_gpu() else resident_bytes()


def resident_bytes() -> int:
    """Return the main memory that this process uses now.

    Memory that was freed is returned to the system first if the C library can do so.
    """
    import psutil

    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int | None:
    """Return the most memory that this process has used on the device that computes.

    None if it cannot be determined on this platform.
    """
    return _of_gpu("peak_bytes_in_use", "peak") if on_gpu() else peak_host_bytes()


def _of_gpu(of_jax: str, of_tensorflow: str) -> int | None:
    """Return a figure of the backend's allocator, by its name in JAX and in TensorFlow."""
    if backend() == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get(of_jax)
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")[of_tensorflow])


def peak_host_bytes() -> int | None:
    """Return the most main memory that this process has used; imports no backend.

    None if it cannot be determined on this platform.
    """
    # getrusage would count the parent process that started this one, so Linux is asked first
    if (high_water := _number(Path("/proc/self/status"), "VmHWM:")) is not None:
        return high_water * 1024
    import psutil

    with suppress(AttributeError):  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    with suppress(ImportError):  # macOS
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def free_disk_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, or will hold it."""
    return shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.is_dir())).free


def _cpu_description() -> str:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text("utf-8", "replace")
    return ""


def _number(path: Path, key: str) -> int | None:
    """Return the first number behind `key` in a file of the kernel."""
    with suppress(OSError, ValueError, IndexError):
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return None
