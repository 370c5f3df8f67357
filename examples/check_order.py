"""Show that batches depend on the seed, the epoch and the step alone: `python check_order.py DATA`.

DATA is a dataset reference (`folder:PHOTOS`). A thousand steps are drawn with one and with four
parallel calls, from step 700 on, and as two hosts draw them; the SHA-256 of every example must be
the same. Then the cost of starting at 90 % of an epoch is measured on a TFRecord dataset with as
many records as ImageNet has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import rezoo
from rezoo.data import pipeline
from rezoo.data.examples import Examples
from rezoo.data.records import open_records
from rezoo.data.tfds import RecordSource
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

STEPS, BATCH, START = 1000, 4, 700
IMAGENET = 1_281_167
SMALL = Preprocessing(input_size=(3, 64, 64))
RECIPE = Recipe(
    name="order",
    batch_size=BATCH,
    auto_augment="ta_wide",
    random_erase=0.1,
    mixup_alpha=0.2,
    cutmix_alpha=1.0,
    repeated_augmentation=2,
)


def hashes(batches: Iterable[Any]) -> list[list[str]]:
    """Return the hash of each example, a list for each batch."""
    return [
        [
            hashlib.sha256(image.tobytes() + target.tobytes()).hexdigest()
            for image, target in zip(images, targets, strict=True)
        ]
        for images, targets in batches
    ]


def check(reference: str) -> bool:
    """Print and return whether all ways give the same examples."""
    data = rezoo.load_dataset(reference)
    examples, classes = data.examples("train"), len(data.class_names)
    recipe = dataclasses.replace(RECIPE, epochs=-(-STEPS // (len(examples) // BATCH)))
    each = len(examples) // BATCH

    def draw(threads: int, first: int = 0, **where: int) -> list[list[str]]:
        stream = pipeline.train_batches(
            examples,
            SMALL,
            recipe,
            classes=classes,
            first_epoch=first // each,
            first_step=first % each,
            **where,
        )
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.autotune.enabled = False
        return hashes(stream.with_options(options).take(STEPS - first).as_numpy_iterator())

    whole = draw(1)
    hosts = [draw(2, host=host, hosts=2) for host in range(2)]
    found = {
        "4 parallel calls": draw(4) == whole,
        f"start at step {START}": draw(4, START) == whole[START:],
        "2 hosts together": [a + b for a, b in zip(*hosts, strict=True)] == whole,
    }
    distinct = len({text for batch in whole for text in batch})
    print(f"{STEPS} steps of {BATCH}, {recipe.epochs} epochs; {distinct} different examples")
    for what, same in found.items():
        print(f"  {what:20} {'the same' if same else 'OTHERS'}")
    total = hashlib.sha256("".join(text for batch in whole for text in batch).encode())
    print(f"  SHA-256 over all: {total.hexdigest()}")
    return all(found.values())


def measure(folder: Path) -> None:
    """Print what it costs to open as many records as ImageNet has, and to start in the middle."""
    shards = 1024
    picture = tf.io.encode_jpeg(np.full((64, 64, 3), 99, np.uint8)).numpy()
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    paths = [folder / f"{number:04d}.tfrecord" for number in range(shards)]
    for number, path in enumerate(paths):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for _ in range(IMAGENET // shards + (number < IMAGENET % shards)):
                writer.write(record)
    for what in ("first", "again"):
        begun = time.perf_counter()
        records = open_records(paths)
        print(f"  opening {len(records):,} records, {what}: {time.perf_counter() - begun:.2f} s")
    examples = Examples(RecordSource(records, "data", "image", "label"))
    recipe = Recipe(name="order", batch_size=256)
    steps = len(records) // recipe.batch_size
    spent: dict[int, list[float]] = {0: [], steps * 9 // 10: []}
    for _ in range(5):
        for first in spent:
            begun = time.perf_counter()
            next(iter(pipeline.train_batches(examples, SMALL, recipe, first_step=first)))
            spent[first].append(time.perf_counter() - begun)
    for first, seconds in spent.items():
        print(f"  first batch at step {first:,} of {steps:,}: {statistics.median(seconds):.2f} s")


def main() -> int:
    """Run from the command line."""
    same = check(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REZOO_CACHE"] = folder
        measure(Path(folder))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
