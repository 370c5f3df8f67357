"""What `rezoo.evaluate` costs beyond the forward pass, and whether its memory grows.

    python examples/benchmarks/evaluate_cost.py MODEL PHOTOS [--images 1000] [--batch-size 32]

PHOTOS is a folder of JPEGs whose names begin with their class and `_`, as in `n02129165_lion.JPEG`;
they are repeated up to the number of images. MODEL is a reference with weights that has these
classes. Seconds are those of the processor, all threads together, so that a noisy machine disturbs
little. The forward pass alone gets batches that are ready in memory.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

import rezoo
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.sources.any_model import source_of


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repeat(given.photos, Path(folder), given.images)
        run(given.model, f"folder:{folder}", given.images, given.batch_size)


def repeat(photos: Path, folder: Path, count: int) -> None:
    """Copy photographs to a folder for each class, again and again until there are enough."""
    files = itertools.cycle(sorted(photos.glob("*.JPEG")))
    for number, file in enumerate(itertools.islice(files, count)):
        place = folder / file.name.partition("_")[0]
        place.mkdir(exist_ok=True)
        shutil.copy(file, place / f"{number:05d}.jpg")


def run(reference: str, data: str, count: int, batch_size: int) -> None:
    """Measure and print."""
    source = source_of(reference)
    model = rezoo.load(reference)
    opened = rezoo.load_dataset(data)
    process, memory = psutil.Process(), {}

    def watch(done: int, total: int) -> None:
        memory[done] = process.memory_info().rss / 1e6

    begun, wall = time.process_time(), time.perf_counter()
    result = rezoo.evaluate(model, opened, split="all", batch_size=batch_size, progress=watch)
    figures = {figure.name: figure.shown for figure in result.shown.values()}
    whole, wall = time.process_time() - begun, time.perf_counter() - wall
    preprocessing = source.config.preprocessing.for_test()
    forward = compiled_forward(network_of(model, source), preprocessing)
    shape = (batch_size, *preprocessing.size, preprocessing.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    forward(images)
    begun = time.process_time()
    batches, rest = divmod(count, batch_size)
    for _ in range(batches):
        forward(images)
    if rest:
        forward(images[:rest])
    alone = time.process_time() - begun
    print(f"{count} images, batches of {batch_size}, {figures}")
    print(f"evaluate: {whole:.1f} s of processor time, {wall:.1f} s of wall time")
    print(f"forward pass alone: {alone:.1f} s of processor time")
    print(f"outside the forward pass: {1 - alone / whole:.1%}")
    done = sorted(memory)
    marks = [done[len(done) * part // 5] for part in range(5)] + [done[-1]]
    print("memory in MB after images:", {mark: round(memory[mark]) for mark in marks})


if __name__ == "__main__":
    main()
