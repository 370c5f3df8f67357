"""The NVIDIA GPUs of this machine as the driver reports them; imports no backend.

All is asked of `nvidia-smi`, which comes with the driver. Without it there are no GPUs here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import NamedTuple

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_TIMEOUT_S = 20


class Gpu(NamedTuple):
    """A GPU.

    Attributes:
        number: Number in the order of the PCI bus.
        uuid: Unique identifier, `GPU-…`.
        name: Name of the product.
        free_bytes: Memory that no process has reserved; None if the driver does not report it.
    """

    number: int
    uuid: str
    name: str
    free_bytes: int | None


def all_gpus() -> list[Gpu]:
    """Return every GPU of the machine."""
    found = []
    for row in _ask(["--query-gpu=index,uuid,name,memory.free"]):
        with suppress(ValueError):  # an error message
            number, uuid, name, free = row
            size = int(free) * 2**20 if free.isdecimal() else None
            found.append(Gpu(int(number), uuid, name, size))
    return found


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` leaves to this process.

    Its numbers are taken as those of `nvidia-smi`; CUDA may number GPUs of several models in
    another order unless `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    """
    found, names = all_gpus(), os.environ.get(_VISIBLE)
    if names is None:
        return found
    chosen = []
    for name in names.split(","):
        gpu = next((g for g in found if _matches(g, name.strip())), None)
        if gpu is None:  # as CUDA: this entry and the rest are ignored
            break
        chosen.append(gpu)
    return chosen


def gpu_named(name: str) -> Gpu | None:
    """Return the GPU that a backend computes on.

    Args:
        name: Name of the product, as the backend reports it. It decides only where CUDA's numbers
            may differ from the driver's. Of several such GPUs, the one with the least free memory
            is returned.
    """
    visible, by_number = visible_gpus(), os.environ.get(_VISIBLE, "0")[:1].isdecimal()
    known = all_gpus() if by_number else visible
    in_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or not by_number
    if in_order or len({g.name for g in known}) == 1:
        return visible[0] if visible else None
    return min((g for g in known if g.name == name), key=lambda g: g.free_bytes or 0, default=None)


def reserved_bytes(gpu: Gpu) -> int:
    """Return the memory that this process has reserved; 0 if the driver does not report it."""
    total = 0
    for row in _ask(["--query-compute-apps=gpu_uuid,pid,used_memory"]):
        with suppress(ValueError):  # "[N/A]" if the platform hides it
            uuid, pid, used = row
            if uuid == gpu.uuid and int(pid) == os.getpid():
                total += int(used) * 2**20
    return total


def _matches(gpu: Gpu, name: str) -> bool:
    return str(gpu.number) == name or (name.startswith("GPU-") and gpu.uuid.startswith(name))


def _ask(query: list[str]) -> list[list[str]]:
    """Return the fields of each line with which `nvidia-smi` answers; none without it."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    command = [tool, *query, "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
        return [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    return []
