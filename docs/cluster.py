"""Tables of the guide to several GPUs and hosts: `python docs/cluster.py [IMAGES_PER_S]`.

What training on ImageNet needs of disks, networks and processors. The page calls `data`, `rates`,
`checkpoints` and `failures` with markdown-exec; the command prints all, for another speed of a GPU.
"""

from __future__ import annotations

import runpy
import sys

from rezoo.registry import architectures

GPUS, GPUS_OF_A_HOST = (1, 8, 64), 8
IMAGES_PER_S = 2_500  # of one GPU; assumed
PER_GPU = 256  # images per step
IMAGES = {"ImageNet-1k": 1_281_167, "ImageNet-21k": 14_197_122}
IMAGE_BYTES = 110_000  # of a JPEG, mean
CORE_IMAGES_PER_S = 448  # decoded and augmented, docs/concepts/input.md
COPY_BYTES_PER_S = 25e9 / 8  # of a network of 25 Gbit/s
SAVE_EVERY_S = 600
PARAMETERS = architectures.get("resnet50").params
STATES = {"SGD with momentum": 2, "AdamW and an average of the weights": 4}  # times the parameters


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds > 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def data(images_per_s: float = IMAGES_PER_S) -> str:
    """Return the sizes of the datasets, and the time of an epoch."""
    rows = []
    for name, count in IMAGES.items():
        size = count * IMAGE_BYTES
        epochs = [_time(count / images_per_s / gpus) for gpus in GPUS]
        rows.append((name, f"{count:,}", _bytes(size), _time(size / COPY_BYTES_PER_S), *epochs))
    ofs = [f"an epoch on {gpus} GPU{'s'[: gpus > 1]}" for gpus in GPUS]
    return _table(("", "images", "TFRecords", "copied to a host", *ofs), rows)


def rates(images_per_s: float = IMAGES_PER_S) -> str:
    """Return what the GPUs of a run need; it is the same for both datasets."""
    rows: list[list[str]] = [[] for _ in range(7)]
    for gpus in GPUS:
        hosts = -(-gpus // GPUS_OF_A_HOST)
        of_all, of_host = gpus * images_per_s, gpus * images_per_s / hosts
        # each host sends and receives so much of the gradients, float32, in each step
        ring = 2 * (hosts - 1) / hosts * 4 * PARAMETERS * images_per_s / PER_GPU
        values = (
            f"{hosts}",
            f"{of_all:,.0f} images/s",
            f"{of_host:,.0f} images/s",
            f"{of_host / CORE_IMAGES_PER_S:.0f}",
            f"{_bytes(of_host * IMAGE_BYTES)}/s",
            f"{of_host * IMAGE_BYTES * 8 / 1e9:.3g} Gbit/s",
            f"{ring * 8 / 1e9:.3g} Gbit/s" if ring else "none",
        )
        for row, value in zip(rows, values, strict=True):
            row.append(value)
    names = (
        "hosts",
        "images needed, all together",
        "reads from the disks of a host",
        "processor cores of a host",
        "bytes from the disks of a host",
        "the same over a network, per host",
        "gradients, each way, per host",
    )
    head = ("", *(f"{gpus} GPU{'s'[: gpus > 1]}" for gpus in GPUS))
    return _table(head, [(name, *row) for name, row in zip(names, rows, strict=True)])


def checkpoints() -> str:
    """Return the traffic of the checkpoints of a ResNet-50."""
    most = max(GPUS) // GPUS_OF_A_HOST
    rows = []
    for name, times in STATES.items():
        size = 4 * times * PARAMETERS
        sent = f"{_bytes((most - 1) * size)}"
        rows.append((name, _bytes(size), f"{_bytes(size / SAVE_EVERY_S)}/s", sent))
    head = ("", "state", "written, by the first host", f"sent when {most} hosts start")
    return _table(head, rows)


def failures() -> str:
    """Return the simulated time lost; see `examples/simulate_failures.py`."""
    rows = []
    for days, nodes, mtbf, best, rule, least, default in _simulated():
        often = "1 day" if days == 1 else f"{days:.0f} days"
        intervals = f"{_time(best)}", f"{_time(rule)}"
        rows.append((often, f"{nodes}", _time(mtbf), *intervals, f"{least:.1%}", f"{default:.1%}"))
    head = ("a node fails every", "nodes", "a failure every", "best interval", "Daly's rule")
    return _table((*head, "lost then", "lost with 10 min"), rows)


def _simulated() -> list[tuple[float, int, float, float, float, float, float]]:
    rows: list[tuple[float, int, float, float, float, float, float]]
    rows = runpy.run_path("examples/simulate_failures.py")["table"]()
    return rows


if __name__ == "__main__":
    speed = float(sys.argv[1]) if len(sys.argv) > 1 else IMAGES_PER_S
    print(data(speed), rates(speed), checkpoints(), failures(), sep="\n\n")
