"""Photographs to batches: rezoo's input against a PyTorch DataLoader with Pillow.

    python examples/benchmarks/input_pipeline.py PHOTOS [--rounds 7] [--threads 2] [--profile]

PHOTOS is a folder of JPEGs. The two take turns in one process group, so a noisy machine disturbs
both; each round reads every photograph once, the first one is not counted, and the table gives
the median of the others. Processor seconds count the loader's workers, too. Pillow's side is what
torchvision's `RandomResizedCrop(224)` + flip and `Resize(256)` + `CenterCrop(224)` do with PIL
images, written out, since torchvision has no build for every machine. Needs torch and Pillow.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch
from PIL import Image

from rezoo.data import crops, images, pipeline, transforms
from rezoo.data.examples import Examples
from rezoo.data.image_files import ENDINGS
from rezoo.data.image_sources import FileSource
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

SIZE, BATCH = 224, 32
PREPROCESSING = Preprocessing(input_size=(3, SIZE, SIZE))


class Photos(torch.utils.data.Dataset):
    """What a PyTorch user has."""

    def __init__(self, paths: list[Path], *, train: bool) -> None:
        self.paths, self.train = paths, train

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with open(self.paths[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        image = self._augmented(image) if self.train else self._centre(image)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), 0

    def _augmented(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        for _ in range(10):
            area = random.uniform(0.08, 1.0) * width * height
            ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                break
        else:
            w = h = min(width, height)
        left, top = random.randint(0, width - w), random.randint(0, height - h)
        image = image.crop((left, top, left + w, top + h)).resize((SIZE, SIZE), Image.BILINEAR)
        return image.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image

    def _centre(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        scale = 256 / min(width, height)
        image = image.resize((int(width * scale), int(height * scale)), Image.BILINEAR)
        left, top = round((image.width - SIZE) / 2), round((image.height - SIZE) / 2)
        return image.crop((left, top, left + SIZE, top + SIZE))


def torch_batches(paths: list[Path], threads: int, *, train: bool) -> Iterable[object]:
    """Return one pass of the DataLoader; its workers live for one pass."""
    torch.set_num_threads(1)
    return torch.utils.data.DataLoader(
        Photos(paths, train=train), batch_size=BATCH, shuffle=train, num_workers=threads
    )


def rezoo_passes(paths: list[Path], rounds: int, *, train: bool) -> Iterator[Iterable[object]]:
    """Yield passes of rezoo's input, out of one pipeline as a run has it."""
    names = [str(p) for p in paths]
    examples = Examples(FileSource(Path("/"), names, np.zeros(len(names), np.int32)))
    if train:
        recipe = Recipe(name="benchmark", batch_size=BATCH, epochs=rounds)
        source = iter(pipeline.train_batches(examples, PREPROCESSING, recipe))
        for _ in range(rounds):
            yield islice(source, len(paths) // BATCH)
    batches = pipeline.test_batches(examples, PREPROCESSING, batch_size=BATCH)
    for _ in range(rounds):
        yield batches


def processor_seconds() -> float:
    """Return the time that this process and its finished children have computed."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(batches: Iterable[object], count: int) -> tuple[float, float]:
    """Return images per second, and per second of a processor."""
    wall, busy = time.perf_counter(), processor_seconds()
    for _ in batches:
        pass
    return count / (time.perf_counter() - wall), count / (processor_seconds() - busy)


def compare(paths: list[Path], rounds: int, threads: int) -> None:
    """Print the table."""
    print(
        f"{len(paths)} photographs, {BATCH} a batch, {threads} threads or workers, {rounds} rounds"
    )
    print("| transform | input | images/s | per core-second | ratio per core-second |")
    print("|---|---|---:|---:|---:|")
    for train in (True, False):
        passes = rezoo_passes(paths, rounds + 1, train=train)
        sides = {
            "DataLoader + Pillow": lambda train=train: torch_batches(paths, threads, train=train),
            "rezoo": lambda passes=passes: next(passes),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for turn in range(rounds + 1):
            for name, batches in sides.items():
                result = measure(batches(), len(paths))
                if turn:  # the first warms up
                    found[name].append(result)
        base = statistics.median(busy for _, busy in found["DataLoader + Pillow"])
        for name, results in found.items():
            wall, busy = (statistics.median(r[i] for r in results) for i in (0, 1))
            what = "train" if train else "test"
            print(f"| {what} | {name} | {wall:.0f} | {busy:.0f} | {busy / base:.2f} |")


def profile(paths: list[Path]) -> None:
    """Print where the time of one photograph goes, in milliseconds of one core."""
    contents = [p.read_bytes() for p in paths]
    recipe = Recipe(name="benchmark")
    parts: dict[str, Callable[..., object]] = {
        "call of a graph": lambda c, s: s,
        "+ look at the header": lambda c, s: images.plain_jpeg(c)[1],
        "+ draw the crop": lambda c, s: tf.stack(
            crops.random_crop(images.plain_jpeg(c)[1], recipe, s)
        ),
        "+ decode it": lambda c, s: crops.read_crop(c, 3, recipe, (SIZE, SIZE), s),
        "+ resize, flip": transforms.train_transform(PREPROCESSING, recipe, encoded=True),
        "test: decode": lambda c, s: images.decode(c, 3),
        "test: all": lambda c, s: transforms.test_levels(PREPROCESSING, encoded=True)(c),
    }
    signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((2,), tf.int64)]
    graphs = {k: tf.function(f, input_signature=signature) for k, f in parts.items()}
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(6):
        for name, graph in graphs.items():
            begun = time.process_time()
            for index, content in enumerate(contents):
                graph(tf.constant(content), tf.constant([7, index], tf.int64))
            spent[name].append((time.process_time() - begun) / len(contents) * 1e3)
    for name, values in spent.items():
        print(f"{name:28} {statistics.median(values[1:]):.2f} ms")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    paths = sorted(p.resolve() for p in arguments.photos.rglob("*") if p.suffix.lower() in ENDINGS)
    paths = [p for p in paths if p.read_bytes()[:2] == b"\xff\xd8"]
    compare(paths, arguments.rounds, arguments.threads)
    if arguments.profile:
        profile(paths[:200])


if __name__ == "__main__":
    main()
